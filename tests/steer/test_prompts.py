"""Windows of a text, and texts that calibration and evaluation may not share."""

import numpy as np
import pytest
from steer_models import tokenizer

from eigenloop.steer import check_disjoint, cut, shipped
from eigenloop.steer.prompts import RUN, SHINGLE, encode, read_text
from eigenloop.system.errors import InputError


@pytest.fixture(scope="module")
def words():
    return tokenizer()


def test_windows_are_consecutive_tokens_with_special_ones_around(words):
    text = shipped()[0]
    prompts = cut(words, text, count=10, length=12)
    ids = np.array(words(text, add_special_tokens=False, verbose=False)["input_ids"])
    assert prompts.ids.shape == (10, 14)
    assert np.all(prompts.ids[:, 0] == 2)
    assert np.all(prompts.ids[:, -1] == 3)
    inner = prompts.ids[:, prompts.words]
    starts = [
        i
        for i in range(0, len(ids) - 12, 12)
        if any(np.array_equal(ids[i : i + 12], row) for row in inner)
    ]
    assert len(starts) == len({row.tobytes() for row in inner}) == 10
    assert starts[0] == 0
    assert starts[-1] > 0.9 * len(ids) - 12


def test_a_short_text_gives_fewer_windows_and_a_shorter_one_none(words):
    assert len(cut(words, "the king and the queen " * 20, count=50, length=24)) < 50
    with pytest.raises(
        InputError, match=r"the evaluation text has \d tokens, enough for 0 prompts of 24"
    ):
        cut(words, "the king", count=5, name="evaluation text")
    with pytest.raises(InputError, match="has no token"):
        encode(words, "")


def test_the_packaged_parts_share_nothing():
    check_disjoint(*shipped())


def test_texts_that_share_words_are_refused():
    first = " ".join(f"word{i}" for i in range(40))
    shared = " ".join(f"word{i}" for i in range(10, 10 + SHINGLE))
    with pytest.raises(InputError, match='share "word10 word11'):
        check_disjoint(first, f"quite another text {shared.upper()}, and more of it")
    check_disjoint(
        first,
        " ".join(f"word{i}" for i in range(10, 10 + SHINGLE - 1)) + " and then something else",
    )
    with pytest.raises(InputError, match="share"):
        check_disjoint(first, first)


def test_texts_without_spaces_between_words_are_told_apart_too():
    rng = np.random.default_rng(0)
    first, second = ("".join(chr(0x4E00 + i) for i in rng.integers(0, 2000, 400)) for _ in range(2))
    check_disjoint(first, second)
    for evaluation in (first, f"x{first}y", second + first[100 : 100 + 2 * RUN - 1]):
        with pytest.raises(InputError, match="share"):
            check_disjoint(first, evaluation)
    check_disjoint(first, second + first[100 : 100 + RUN - 1])
    symbols = "!!! ??? ... " * 30
    with pytest.raises(InputError, match="share"):
        check_disjoint(symbols, symbols)


def test_files_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "latin").write_bytes("Stra\xdfe".encode("latin-1"))
    (tmp_path / "empty").write_text(" \n")
    with pytest.raises(InputError, match="is no UTF-8 text"):
        read_text(tmp_path / "latin")
    with pytest.raises(InputError, match="is empty"):
        read_text(tmp_path / "empty")
    with pytest.raises(InputError, match="cannot read"):
        read_text(tmp_path / "missing")
