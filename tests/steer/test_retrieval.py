"""Similarity and retrieval against naive loops; pooling against padded batches under a mask."""

import itertools
import json

import numpy as np
import pytest
from steer_models import speaking, tokenizer

from eigenloop.lens.model.loaded import load
from eigenloop.steer.embedding import MODES, Pooling, embed, pooling_of
from eigenloop.steer.retrieval import (
    Outcome,
    by_chance,
    order,
    packaged,
    pair_changes,
    pseudo_values,
    ranks,
    sign_test,
)
from eigenloop.system.errors import InputError

torch = pytest.importorskip("torch", reason="torch is missing: pip install '.[lens]'")


def table(seed: int, queries: int = 7, sentences: int = 11) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (queries, sentences))


def test_the_packaged_set_has_one_right_sentence_for_each_query():
    library = packaged()
    assert len(library.queries) == len(library.right) == len(set(library.right)) == 24
    assert len(set(library.sentences)) == len(library.sentences) == 48
    assert len(set(library.topics)) == 6
    assert not {*library.queries} & {*library.sentences}
    assert all(text == text.strip() and text for text in (*library.queries, *library.sentences))


def test_ranks_against_a_naive_loop_and_ties_count_against():
    cosines, right = table(0), np.arange(7)
    cosines[3, 5] = cosines[3, 3]
    for q, rank in enumerate(ranks(cosines, right)):
        assert rank == 1 + sum(cosines[q, s] >= cosines[q, q] for s in range(11) if s != q)
    assert ranks(np.full((2, 48), 0.5), np.array([0, 47])).tolist() == [48, 48]


def test_order_is_spearmans_rho():
    from scipy.stats import spearmanr

    before, after = table(0), table(1)
    after[2] = np.round(after[2], 1)  # ties
    expected = [float(spearmanr(*rows)[0]) for rows in zip(before, after, strict=True)]  # pyright: ignore
    np.testing.assert_allclose(order(before, after), expected, atol=1e-12)
    np.testing.assert_allclose(order(before, np.exp(3 * before)), 1.0, atol=1e-12)
    assert order(before[:1], np.zeros((1, 11)))[0] == 0.0


def test_tests_are_sums_over_all_outcomes():
    for lost, gained in itertools.product(range(6), range(6)):
        ways = [sum(draw) for draw in itertools.product((0, 1), repeat=lost + gained)]
        tail = np.mean([way <= min(lost, gained) for way in ways])
        assert sign_test(lost, gained) == pytest.approx(min(1.0, 2 * tail), abs=1e-15)
    draws = list(
        itertools.product(range(3), repeat=4)
    )  # four queries, three sentences, the first is right
    for hits in range(5):
        share = np.mean([sum(each == 0 for each in draw) >= hits for draw in draws])
        assert by_chance(hits, 4, 3) == pytest.approx(share, abs=1e-12)


def test_pair_changes_and_their_pseudo_values():
    rng = np.random.default_rng(0)
    before, after = (x @ x.T for x in (rng.standard_normal((9, 4)), rng.standard_normal((9, 4))))
    changes = pair_changes(before, after)
    pairs = list(itertools.combinations(range(9), 2))
    whole = np.mean([abs(after[i, j] - before[i, j]) for i, j in pairs])
    assert changes.mean() == pytest.approx(whole, abs=1e-12)
    for text, value in enumerate(pseudo_values(changes)):
        without = np.mean([abs(after[i, j] - before[i, j]) for i, j in pairs if text not in (i, j)])
        assert value == pytest.approx(9 * whole - 8 * without, abs=1e-12)


def test_an_outcome_against_naive_loops():
    before, after, right = table(0), table(1), np.array([0, 1, 2, 3, 4, 5, 6])
    before[0, 0] = before[1, 1] = after[1, 1] = after[4, 4] = after[5, 5] = 2.0
    found = Outcome(before, after, right)
    hit = [[cosines[q, q] == max(cosines[q]) for q in range(7)] for cosines in (before, after)]
    assert found.lost_and_gained == (
        sum(was and not now for was, now in zip(*hit, strict=True)),
        sum(now and not was for was, now in zip(*hit, strict=True)),
    )
    assert found.lost_and_gained == (1, 2)
    assert found.hits.tolist() == hit[1]
    assert found.moved == sum(before[q].argmax() != after[q].argmax() for q in range(7))
    change = [np.mean([abs(after[q, s] - before[q, s]) for s in range(11)]) for q in range(7)]
    np.testing.assert_allclose(found.values["change"], change, atol=1e-12)
    assert found.mean("shift") == pytest.approx(after.mean() - before.mean(), abs=1e-12)
    low, high = found.interval("change")
    assert low < found.mean("change") < high
    said = found.summary()
    assert said["hits"] == 3
    assert said["p_lost"] == 1.0
    assert json.loads(json.dumps(said)) == said
    same = Outcome(before, before, right).summary()
    assert (same["change"], same["order"], same["lost"], same["nearest_moved"]) == (
        0.0,
        pytest.approx(1.0),
        0,
        0,
    )


def test_pooled_vectors_are_those_of_a_padded_batch_under_its_mask():
    model = load(speaking("bert"), tokenizer=tokenizer())
    texts = ["the king", "the queen sat on the bank", "a", "the rabbit ran", "what"]
    batch = model.tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = model.trunk(**batch).last_hidden_state.double().numpy()
    mask = batch["attention_mask"].numpy()[..., None]
    lengths = mask.sum(1)
    spots = np.arange(1, mask.shape[1] + 1)[None, :, None] * mask
    ends = states[np.arange(len(texts)), lengths[:, 0] - 1]
    expected = {
        "cls": states[:, 0],
        "max": np.where(mask == 1, states, -np.inf).max(1),
        "mean": (states * mask).sum(1) / lengths,
        "mean_sqrt_len_tokens": (states * mask).sum(1) / np.sqrt(lengths),
        "weightedmean": (states * spots).sum(1) / spots.sum(1),
        "lasttoken": ends,
    }
    assert set(expected) == {*MODES.values()}
    for mode, vectors in {
        **expected,
        "both": np.concatenate([expected["cls"], expected["mean"]], 1),
    }.items():
        pooling = Pooling(("cls", "mean") if mode == "both" else (mode,))
        found, cut = embed(model, texts, pooling)
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        np.testing.assert_allclose(found, unit, atol=1e-5, err_msg=mode)
        assert cut == 0


def test_long_texts_are_cut_and_counted_and_nothing_is_similar_to_an_empty_one():
    model = load(speaking("gpt2"), tokenizer=tokenizer())
    bare = model.tokenizer
    bare._tokenizer.post_processor = None  # no special tokens: an empty text has no token at all
    vectors, cut = embed(model, ["the king " * 40, "", "the king"], Pooling())
    assert cut == 1
    assert np.linalg.norm(vectors, axis=1).round(12).tolist() == [1.0, 0.0, 1.0]


def test_a_checkpoint_says_how_it_pools(tmp_path):
    assert pooling_of(tmp_path) is None
    (tmp_path / "1_Pooling").mkdir()
    config = tmp_path / "1_Pooling" / "config.json"
    for key, mode in MODES.items():
        config.write_text(json.dumps({**dict.fromkeys(MODES, False), key: True}))
        found = pooling_of(tmp_path)
        assert found is not None
        assert found.modes == (mode,)
    config.write_text(json.dumps({"pooling_mode": "lasttoken", "embedding_dimension": 32}))
    assert pooling_of(tmp_path) == Pooling(
        ("lasttoken",), "1_Pooling/config.json of the checkpoint"
    )
    config.write_text(
        json.dumps({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True})
    )
    modules = [
        {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
        {"idx": 3, "path": "3_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    found = pooling_of(tmp_path)
    assert found is not None
    assert found.modes == ("cls", "mean")
    assert found.left_out == ("Dense",)
    assert "Dense" in found.words
    config.write_text(json.dumps({"pooling_mode_cls_token": False}))
    assert pooling_of(tmp_path) is None
    for content, says in {
        "{": "is no JSON",
        "[]": "holds no JSON object",
        '{"pooling_mode": "hope"}': "names the pooling 'hope'",
    }.items():
        config.write_text(content)
        with pytest.raises(InputError, match=says):
            pooling_of(tmp_path)
