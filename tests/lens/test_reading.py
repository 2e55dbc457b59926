"""The tokens that modes point at: against dense cosines, planted tokens and the law of random
directions.
"""

import json

import numpy as np
import pytest
from small_models import CONFIGS, build

from eigenloop import lens
from eigenloop.lens.model import embeddings
from eigenloop.lens.model.vocabulary import vocabulary
from eigenloop.lens.weights.nearest import chance_cosine, nearest, p_largest
from eigenloop.lens.weights.reading import Reading
from eigenloop.numerics.spectrum import random_orthogonal
from eigenloop.system.errors import InputError

TEXT = [kind for kind in CONFIGS if kind != "vit"]


def point(model, layer: int, matrix: np.ndarray) -> None:
    """Give a GPT-2 layer the F that is asked for."""
    torch = pytest.importorskip("torch")
    with torch.no_grad():
        model.h[layer].attn.c_attn.weight[:, 64:] = torch.eye(32)
        model.h[layer].attn.c_proj.weight.copy_(torch.tensor(matrix.T, dtype=torch.float32))


@pytest.mark.parametrize("block", [None, 3])
@pytest.mark.parametrize("kind", TEXT)
def test_lists_are_those_of_dense_cosines(kind, block, monkeypatch):
    """Every text architecture, lines and planes, in one piece and in blocks of three rows."""
    stack = lens.locate(build(kind))
    into = embeddings.input_embedding(stack)
    rows = into.rows(0, 50)
    kept = np.flatnonzero(np.linalg.norm(rows, axis=1))
    rng = np.random.default_rng(0)
    planes = [random_orthogonal(rng, 32)[:, :rank] for rank in (1, 2, 1)]
    if block:
        monkeypatch.setattr(embeddings, "BLOCK", block * 8 * 32)
    for plane, found in zip(planes, nearest(into, planes, top=5), strict=True):
        cosines = (rows @ plane)[kept] / np.linalg.norm(rows[kept], axis=1, keepdims=True)
        cosines = cosines[:, 0] if plane.shape[1] == 1 else np.linalg.norm(cosines, axis=1)
        order = np.argsort(-cosines)
        np.testing.assert_array_equal(found.tokens, kept[order[:5]])
        np.testing.assert_allclose(found.cosines, cosines[order[:5]], rtol=1e-12)
        assert found.largest == pytest.approx(np.abs(cosines).max(), rel=1e-12)
        assert found.mean == pytest.approx(cosines.mean(), rel=1e-9, abs=1e-12)
        assert found.size == len(kept)
        if plane.shape[1] == 1:
            np.testing.assert_array_equal(found.opposite, kept[order[:-6:-1]])
        else:
            assert found.opposite.size == 0


def test_planted_directions_are_read_as_their_tokens():
    """F = 2 e_7 l^T with l along the row of token 31: it writes token 7 and reads token 31 (tied
    embeddings).
    """
    model = build("gpt2")
    rows = model.wte.weight.detach().numpy().astype(float)
    v, l = (rows[token] / np.linalg.norm(rows[token]) for token in (7, 31))
    point(model, 1, 2 * np.outer(v, l) / (l @ v))
    found = lens.reading(model, layers=[1], top=3)
    right, left = found.directions
    assert (right.vector, right.embedding, left.vector, left.embedding) == (
        "right",
        "output",
        "left",
        "input",
    )
    for direction, token in ((right, 7), (left, 31)):
        assert token in (direction.neighbours.tokens[0], direction.neighbours.opposite[0])
        assert direction.neighbours.largest == pytest.approx(1, abs=1e-6)
        assert direction.p_value < 1e-12
    assert "near the tokens" in found.sentences()[0]
    assert "#7" in found.sentences()[0]


def test_a_complex_pair_is_read_by_its_plane():
    model = build("gpt2")
    rows = model.wte.weight.detach().numpy().astype(float)
    plane = np.linalg.qr(rows[[3, 4]].T)[0]
    point(model, 0, 3 * plane @ np.array([[0.0, -1.0], [1.0, 0.0]]) @ plane.T)
    right, left = lens.reading(model, layers="0", rule="modulus", top=2).directions
    for direction in (right, left):
        assert (direction.flag, direction.rank) == ("complex", 2)
        assert set(direction.neighbours.tokens.tolist()) == {3, 4}
        np.testing.assert_allclose(direction.neighbours.cosines, 1, atol=1e-6)
        assert [side for side, _, _ in direction.sides()] == ["plane"]


def test_the_final_norm_is_folded_in_when_asked():
    model = build("gpt2")
    stack = lens.locate(model)
    gain = model.ln_f.weight.detach().numpy().astype(float)
    v = lens.layer_spectra(lens.circuits(stack, 2), rules=["consensus"]).modes["consensus"].plane()
    raw = model.wte.weight.detach().numpy().astype(float)
    for norm in (False, True):
        rows = raw * gain - (raw * gain).mean(1, keepdims=True) if norm else raw
        cosines = np.linalg.norm(rows @ v, axis=1) / np.linalg.norm(rows, axis=1)
        found = lens.reading(stack, layers=[2], norm=norm)
        assert found.directions[0].neighbours.largest == pytest.approx(cosines.max(), rel=1e-9)
        assert ("with the gain and centring" in " ".join(found.notes())) == norm


# --- the null


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("dim", [3, 24])
def test_the_law_of_the_largest_cosine_is_that_of_random_directions(rank, dim):
    """2,000 draws of the largest of 40 cosines against its distribution function: 4 standard
    errors at 3 levels.
    """
    rng, draws, size = np.random.default_rng(dim + rank), 2000, 40
    tokens = rng.standard_normal((draws, size, dim))
    cosines = np.linalg.norm(tokens[:, :, :rank], axis=2) / np.linalg.norm(tokens, axis=2)
    largest = cosines.max(1)
    for level in (0.5, 0.05, 0.01):
        c = chance_cosine(dim=dim, size=size, rank=rank, level=level)
        assert p_largest(c, dim=dim, size=size, rank=rank) == pytest.approx(level, rel=1e-6)
        assert abs(np.mean(largest > c) - level) < 4 * np.sqrt(level * (1 - level) / draws)


def test_the_p_value_is_no_smaller_where_rows_resemble_one_another():
    """Rows of rank 4 in 24 dimensions, and a random direction: the level is kept (1,000 draws, 4
    standard errors).
    """
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((200, 4)) @ rng.standard_normal((4, 24))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    directions = rng.standard_normal((1000, 24))
    largest = np.abs(rows @ directions.T).max(0) / np.linalg.norm(directions, axis=1)
    rejected = np.mean(largest > chance_cosine(dim=24, size=200))
    assert rejected < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 1000)


def test_small_tails_keep_their_digits_and_ends_are_certain():
    assert 0 < p_largest(0.9, dim=768, size=50_000) < 1e-200
    assert p_largest(0.0, dim=768, size=50_000) == 1
    assert p_largest(1.0, dim=768, size=50_000) == 0


def test_random_directions_are_said_to_be_no_nearer_than_chance():
    model = build("gpt2")
    found = lens.reading(model)
    assert found.level == pytest.approx(0.05 / 6)
    assert all(each.p_value > found.level for each in found.directions)
    assert all(
        "no nearer to any token than a random one" in sentence for sentence in found.sentences()
    )


def test_a_common_direction_of_all_tokens_is_said():
    """Every row leans towards one direction, and so does v: the list is of tokens, and of all of
    them.
    """
    torch = pytest.importorskip("torch")
    model = build("gpt2")
    u = np.full(32, 1 / np.sqrt(32))
    with torch.no_grad():
        model.wte.weight += 5 * torch.tensor(u, dtype=torch.float32)
    point(model, 0, 2 * np.outer(u, u))
    found = lens.reading(model, layers=[0])
    assert abs(found.directions[0].neighbours.mean) > 0.7
    assert "all tokens share a cosine of" in found.sentences()[0]


# --- words


@pytest.fixture
def worded(tmp_path):
    """A saved model beside a tokenizer.json of whole words, the last of 50 rows without one."""
    tokenizers = pytest.importorskip("tokenizers")
    build("gpt2").save_pretrained(tmp_path)
    words = {f"word{i}": i for i in range(48)} | {"[UNK]": 48}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.add_special_tokens(["[UNK]"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_words_come_from_the_tokenizer_beside_the_weights(worded, tmp_path):
    stack = lens.locate(worded)
    words = vocabulary(stack, size=50)
    assert [words.text(i) for i in (0, 47, 48, 49)] == ["word0", "word47", "[UNK]", "#49"]
    assert words.quoted(3) == "'word3'"
    assert words.quoted(49) == "#49"
    assert words.notes() == []
    found = lens.reading(worded, layers=[0], top=2)
    for token, text in zip(found.table()["token_id"], found.table()["token"], strict=True):
        assert text == (f"word{token}" if token < 48 else words.text(token))
    assert vocabulary(stack, worded, size=50).text(5) == "word5"
    assert vocabulary(stack, str(worded / "tokenizer.json"), size=50).text(5) == "word5"


def test_tokens_of_transformers_and_parts_of_characters(worded):
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    given = transformers.PreTrainedTokenizerFast(tokenizer_file=str(worded / "tokenizer.json"))
    assert vocabulary(lens.locate(worded), given, size=50).text(5) == "word5"
    level = tokenizers.Tokenizer(tokenizers.models.BPE({"Ã": 0, "a": 1, "Ġa": 2}, []))
    level.decoder = tokenizers.decoders.ByteLevel()
    words = vocabulary(lens.locate(worded), level, size=50)
    # the first is half of a character
    assert [words.text(i) for i in range(4)] == [
        "Ã",
        "a",
        " a",
        "#3",
    ]


def test_without_words_there_are_numbers_and_a_reason(worded):
    assert lens.reading(build("gpt2"), layers=[0]).notes()[1] == (
        "tokens are numbers: a loaded model brings no tokenizer; pass one"
    )
    (worded / "tokenizer.json").unlink()
    assert "has no tokenizer.json; pass a tokenizer" in lens.reading(worded, layers=[0]).notes()[1]
    with pytest.raises(InputError, match=r"tokenizer\.json does not exist; give a tokenizer\.json"):
        lens.reading(worded, tokenizer=worded)
    with pytest.raises(InputError, match="a int is no tokenizer"):
        lens.reading(worded, tokenizer=3)
    (worded / "tokenizer.json").write_text("{")
    with pytest.raises(InputError, match=r"tokenizer\.json is no tokenizer that can be read"):
        lens.reading(worded)


# --- results


def test_tables_files_and_plain_values(tmp_path):
    found = lens.reading(build("gpt2"), top=4)
    lists = sum(len(each.sides()) for each in found.directions)
    assert tuple(found.table().columns) == Reading.COLUMNS
    assert len(found.rows()) == 4 * lists
    assert found.save(tmp_path).name == "reading.csv"
    assert len((tmp_path / "reading.csv").read_text().splitlines()) == 1 + 4 * lists
    plain = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert plain["directions"][0]["largest"] == found.directions[0].neighbours.largest


def test_bad_input_is_one_line():
    with pytest.raises(InputError, match="top is 0; at least 1 token must be asked for"):
        lens.reading(build("gpt2"), top=0)
    with pytest.raises(InputError, match="rule 'best' does not exist"):
        lens.reading(build("gpt2"), rule="best")
    with pytest.raises(InputError, match="only a text model's directions can be read as tokens"):
        lens.reading(build("vit"))
    assert (
        len(lens.reading(build("gpt2"), layers=[0], top=99).directions[0].neighbours.tokens) == 50
    )
