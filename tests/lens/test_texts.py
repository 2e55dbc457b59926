"""Texts become sentences, sentences become batches: nothing lost, nothing of the padding
counted, limits said.
"""

import time

import numpy as np
import pytest
from small_models import build
from words import sentences as some
from words import tokenizer

from eigenloop.lens.model.loaded import load
from eigenloop.lens.text.texts import (
    SAMPLE,
    TOKENS_PER_BATCH,
    Passages,
    encode,
    passages,
    sentences,
)
from eigenloop.system.errors import InputError


def model(model_type="bert", **options):
    return load(build(model_type), tokenizer=tokenizer(**options))


def test_a_hard_wrapped_text_is_cut_at_the_ends_of_sentences():
    text = (
        'The light,\nwhich St. John saw, rose at 9. It fell!\n\n"Who?" asked\nMr. E. Low. (No one.)'
        " So i.e. nobody\n"
    )
    assert sentences(text) == (
        "The light, which St. John saw, rose at 9.",
        "It fell!",
        '"Who?" asked Mr. E. Low.',
        "(No one.)",
        "So i.e. nobody",
    )


def test_a_text_without_blank_lines_is_read_line_by_line():
    assert sentences("one two. Three\n---\nfour\n") == ("one two. Three", "four")
    assert passages("one\ntwo").notes == (
        "the text was divided into 2 lines (it has no blank lines)",
    )


def test_other_scripts_and_a_byte_order_mark(tmp_path):
    file = tmp_path / "text.txt"
    file.write_bytes("\ufeff\u706f\u53f0\u3002\u5149\uff01\n\nsecond".encode())
    found = passages(file)
    assert found.texts == ("\u706f\u53f0\u3002", "\u5149\uff01", "second")
    assert found.source == str(file)


def test_files_that_are_no_text_are_refused(tmp_path):
    cases = {
        "empty.txt": (b" \n", "is empty; give a text"),
        "latin.txt": (b"caf\xe9 x", "is not UTF-8 text; save it"),
        "zero.txt": (b"a\0b", "holds binary data"),
        "marks.txt": (b"* *\n\n--", "has no words"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            passages(tmp_path / name)
    with pytest.raises(InputError, match="does not exist; give a UTF-8 text file"):
        passages(tmp_path / "absent.txt")
    with pytest.raises(InputError, match="is a directory; give a UTF-8 text file"):
        passages(tmp_path)
    for hostile in ("a\0b", "a\nb", "x" * 5000):
        with pytest.raises(InputError) as caught:
            passages(tmp_path / hostile)
        assert str(caught.value).isprintable()
    with pytest.raises(InputError, match="no ordinary file"):
        passages(type(tmp_path)("/dev/zero"))
    with pytest.raises(InputError, match="a passage is of type int; give strings"):
        passages(["a", 3])
    with pytest.raises(InputError, match="the text is empty"):
        passages([" "])


def test_many_abbreviations_are_cut_in_a_time_that_grows_with_the_text():
    """Looked for in the whole paragraph at every point, this text took minutes."""
    text = "He said:\n\n" + "Mr. A " * 100_000
    began = time.process_time()
    assert len(sentences(text)) == 2
    assert time.process_time() - began < 10
    assert sentences("A\n\nI met prof Dr. Low. And xMr. Low") == (
        "A",
        "I met prof Dr. Low.",
        "And xMr.",
        "Low",
    )


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("eigenloop.lens.text.texts.LARGEST", 10)
    (tmp_path / "long.txt").write_text("eleven bytes")
    with pytest.raises(InputError, match="has 12 bytes; at most 10 are read"):
        passages(tmp_path / "long.txt")


def test_every_token_is_counted_once_and_padding_never():
    text = some(60)
    found = encode(model(), passages(text))
    counted = {}
    for batch in found.batches:
        ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"].astype(bool)
        assert batch.counted is not None
        assert ids.size <= TOKENS_PER_BATCH
        assert (ids[~mask] == 0).all()
        assert not batch.counted[~mask].any()
        np.testing.assert_array_equal(batch.counted, ids >= 5)
        for row, number, keep in zip(ids, batch.passage, batch.counted, strict=True):
            counted[int(number)] = " ".join(f"w{i}" for i in row[keep])
    assert [counted[i] for i in range(60)] == text
    assert found.passages == 60
    assert found.tokens == sum(len(passage.split()) for passage in text)
    assert "the 120 special tokens are in the input but not counted" in found.notes


def test_special_tokens_are_counted_where_asked_for():
    text = some(5)
    without, with_them = (
        encode(model(), passages(text), special=special) for special in (False, True)
    )
    assert with_them.tokens == without.tokens + 10
    assert "the 10 special tokens are counted" in with_them.notes
    assert not any(
        "special" in note for note in encode(model("gpt2", ends=False), passages(text)).notes
    )


def test_what_is_longer_than_the_context_is_split_with_its_ends_around_each_piece():
    words = [f"w{5 + i % 45}" for i in range(70)]
    # context 32: 30 words and two ends
    found = encode(model(), passages([" ".join(words), "w5 w6"]))
    assert "1 of 2 passages are longer than the context of 32 tokens and were split" in found.notes
    rows = {}
    for batch in found.batches:
        for i, (number, piece) in enumerate(zip(batch.passage, batch.piece, strict=True)):
            rows[int(number), int(piece)] = batch.inputs["input_ids"][i][
                batch.inputs["attention_mask"][i] == 1
            ]
    assert rows.keys() == {(0, 0), (0, 1), (0, 2), (1, 0)}
    assert all(row[0] == 2 and row[-1] == 3 and len(row) <= 32 for row in rows.values())
    assert [f"w{i}" for piece in range(3) for i in rows[0, piece][1:-1]] == words
    assert found.tokens == 72


def test_the_models_own_padding_token_is_used():
    text = passages(["w5", "w5 w6 w7"])
    (batch,) = encode(
        model("roberta"), text
    ).batches  # RoBERTa numbers positions by what is not padding
    assert batch.inputs["input_ids"][1, -1] == 1


def test_passages_without_a_token_are_left_out_and_said():
    found = encode(model(ends=False), Passages(("w5", "\u200b \t", "w6"), "mine", ("said before",)))
    # as the tokenizer's white space has it
    assert (found.passages, found.tokens) in {
        (2, 2),
        (3, 3),
    }
    assert found.notes[0] == "said before"
    with pytest.raises(InputError, match="mine has no tokens to count"):
        encode(model(), Passages((" ",), "mine"))


def test_models_that_read_no_text_say_so():
    with pytest.raises(InputError, match=r"ViTModel \(vit\) reads images, not text"):
        encode(load(build("vit")), passages(["a"]))
    with pytest.raises(
        InputError, match="BertModel has no tokenizer: pass tokenizer= with the model"
    ):
        encode(load(build("bert")), passages(["a"]))


def test_the_packaged_text_has_enough_sentences():
    found = passages(SAMPLE)
    assert len(found.texts) >= 100
    assert all(passage.isprintable() and passage.isascii() for passage in found.texts)
    assert max(len(passage.split()) for passage in found.texts) < 150
