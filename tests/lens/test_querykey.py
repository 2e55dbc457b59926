"""QK beside OV: every number against dense matrices, for every architecture."""

import json

import numpy as np
import pytest
from naive import leading_mode, reading_mode
from small_models import CONFIGS, build

from eigenloop import lens
from eigenloop.lens.weights.querykey import OVERLAPS, SHARE, QueryKeys, query_key
from eigenloop.numerics.spectrum import random_orthogonal
from eigenloop.system.errors import InputError


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_number_is_that_of_dense_matrices(kind):
    stack = lens.locate(build(kind).double())
    found = lens.query_keys(stack, layers=[1])
    assert [each.head for each in found.heads] == list(range(4))
    circuit = lens.circuits(stack, 1)
    (queries, query_bias), (keys, key_bias) = (
        stack.projection(1, "query"),
        stack.projection(1, "key"),
    )
    for each in found.heads:
        group = each.head * len(keys) // 4
        m = queries[each.head].T @ keys[group]
        u, s, vh = np.linalg.svd(m)
        k = len(each.singular)
        np.testing.assert_allclose(each.singular, s[:k], rtol=1e-9)
        np.testing.assert_allclose(
            each.query * each.singular @ each.key.T,
            m,
            rtol=0,
            atol=1e-12 * np.abs(m).max() * len(m),
        )
        assert abs(each.mode.eigenvalue) == pytest.approx(
            np.abs(np.linalg.eigvals(m)).max(), rel=1e-9
        )
        symmetric = (m + m.T) / 2
        assert each.symmetric == pytest.approx(
            np.linalg.norm(symmetric) ** 2 / np.linalg.norm(m) ** 2, rel=1e-10
        )
        shares = np.cumsum(s**2) / np.sum(s**2)
        assert shares[each.rank - 1] >= SHARE > (shares[each.rank - 2] if each.rank > 1 else 0)
        value, writes = leading_mode(circuit.head(each.head))
        assert each.ov.eigenvalue == pytest.approx(value, rel=1e-8)
        for name, plane in (
            ("write", writes),
            ("read", reading_mode(circuit.head(each.head), value)),
        ):
            for side, basis in (("query", u[:, : each.rank]), ("key", vh[: each.rank].T)):
                expected = np.linalg.norm(basis.T @ plane) ** 2 / plane.shape[1]
                assert each.overlaps[f"{name}_{side}"] == pytest.approx(
                    expected, rel=1e-6, abs=1e-12
                )
        bias = np.linalg.norm(keys[group].T @ query_bias[each.head])
        bias += np.linalg.norm(queries[each.head].T @ key_bias[group])
        assert each.bias == pytest.approx(bias, rel=1e-12)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
def test_m_gives_the_models_own_scores(kind):
    """x_i^T M x_j + biases, scaled, through a softmax over the keys, is the pattern of two equal
    positions.
    """
    torch = pytest.importorskip("torch")
    model = build(kind).double()
    stack = lens.locate(model)
    found = lens.query_keys(stack, layers=[0])
    head_dim = stack.head_dim
    seen = {}
    block = model.get_submodule(stack.blocks[0])
    query = block.get_submodule(stack.layout.query)
    hook = query.register_forward_pre_hook(
        lambda module, inputs: seen.update(x=inputs[0][0].detach().numpy())
    )
    with torch.no_grad():
        inputs = {"input_ids": torch.arange(2, 8)[None]}
        if kind == "llama":  # every token at the same place: the rotation cancels
            inputs["position_ids"] = torch.zeros(1, 6, dtype=torch.long)
        patterns = model(**inputs, output_attentions=True).attentions[0][0].numpy()
    hook.remove()
    (queries, query_bias), (keys, key_bias) = (
        stack.projection(0, "query"),
        stack.projection(0, "key"),
    )
    for each in found.heads:
        group = each.head * len(keys) // 4
        x, m = seen["x"], each.query * each.singular @ each.key.T
        scores = x @ m @ x.T + (x @ queries[each.head].T @ key_bias[group])[:, None]
        scores = scores + (x @ keys[group].T @ query_bias[each.head])[None, :]
        scores = scores / np.sqrt(head_dim)
        if kind != "bert":
            scores = np.where(np.tri(6, dtype=bool), scores, -np.inf)
        weights = np.exp(scores - scores.max(1, keepdims=True))
        np.testing.assert_allclose(
            weights / weights.sum(1, keepdims=True), patterns[each.head], atol=2e-5
        )


def test_the_symmetric_share_has_its_ends_and_its_middle():
    rng = np.random.default_rng(0)
    ov = lens.layer_spectra(lens.planted(np.diag(np.arange(1.0, 13.0)))).modes["modulus"]
    w = rng.standard_normal((4, 12))
    turn = np.kron(np.eye(2), [[0.0, 1.0], [-1.0, 0.0]])
    assert query_key(w, w, ov).symmetric == pytest.approx(1)
    assert query_key(w, turn @ w, ov).symmetric == pytest.approx(0, abs=1e-12)
    draws = [
        query_key(rng.standard_normal((4, 12)), rng.standard_normal((4, 12)), ov).symmetric
        for _ in range(300)
    ]
    expected = 0.5 + 0.5 / 12  # E tr(M M) = k d and E ||M||^2 = k d^2
    assert abs(np.mean(draws) - expected) < 4 * np.std(draws) / np.sqrt(300)


def test_random_directions_overlap_by_chance():
    """400 random OV lines against one QK circuit: the mean overlap is rank / d to 4 standard
    errors.
    """
    rng = np.random.default_rng(1)
    query, key = rng.standard_normal((2, 4, 24))
    found = []
    for _ in range(400):
        q = random_orthogonal(rng, 24)
        matrix = q @ np.diag([2.0, *np.zeros(23)]) @ q.T
        ov = lens.layer_spectra(lens.planted(matrix), rules=["modulus"]).modes["modulus"]
        found.append(query_key(query, key, ov))
    for name in OVERLAPS:
        ratios = [each.overlaps[name] / each.chance for each in found]
        assert abs(np.mean(ratios) - 1) < 4 * np.std(ratios) / np.sqrt(400)


def test_a_head_without_scores():
    ov = lens.layer_spectra(lens.planted(np.eye(3))).modes["modulus"]
    found = query_key(np.zeros((2, 3)), np.zeros((2, 3)), ov)
    assert (found.symmetric, found.rank, found.mode.eigenvalue) == (0.5, 2, 0)


def test_notes_say_what_is_left_out():
    llama, gpt2 = (
        " ".join(lens.query_keys(build(kind), layers=[0]).notes()) for kind in ("llama", "gpt2")
    )
    assert "rotary positions are not included" in llama
    assert "4 heads share the keys of 2 groups" in llama
    assert "biases of queries and keys are not included" not in llama
    assert "rotary" not in gpt2
    assert "biases of queries and keys are not included" in gpt2
    for kind in ("gpt_neox", "mistral", "qwen2", "gemma"):
        assert lens.query_keys(build(kind), layers=[0]).rotary


def test_rotary_is_said_of_the_models_that_rotate():
    for kind in CONFIGS:
        names = [name for name, _ in build(kind).named_modules()]
        assert lens.query_keys(build(kind), layers=[0]).rotary == any(
            "rotary" in name for name in names
        ), kind


def test_tables_files_sentences_and_plain_values(tmp_path):
    found = lens.query_keys(build("bert"), rule="layernorm")
    assert tuple(found.table().columns) == QueryKeys.COLUMNS
    assert len(found.rows()) == 3 * 4
    assert found.save(tmp_path).name == "querykey.csv"
    assert len(found.sentences()) == 1 + len(OVERLAPS)
    plain = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert plain["heads"][5]["symmetric"] == found.heads[5].symmetric
    with pytest.raises(InputError, match="rule 'best' does not exist"):
        lens.query_keys(build("bert"), rule="best")
