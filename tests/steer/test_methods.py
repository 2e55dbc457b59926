"""Every method changes F by what it says, and by nothing else; orientation, optimality, spectra
and refusals.
"""

from dataclasses import replace

import numpy as np
import pytest
from small_models import CONFIGS
from steer_models import site, unit, white

from eigenloop.lens import planted
from eigenloop.steer import METHODS, Site, brauer, room, signed, swap, swap_heads, symmetric
from eigenloop.steer.methods import members
from eigenloop.system.errors import InputError

DENSE = np.array(
    [[0.4, 0.3, 0.0, 0.1], [0.0, 0.5, 0.2, 0.0], [0.1, 0.0, -0.6, 0.0], [0.0, 0.1, 0.0, 1.7]]
)


def one_head(matrix: np.ndarray = DENSE) -> Site:
    """F = matrix, with biases."""
    rng = np.random.default_rng(4)
    circuit = planted(matrix)
    d = circuit.width
    circuit = replace(
        circuit, value_bias=rng.standard_normal((1, d)), output_bias=rng.standard_normal(d)
    )
    return Site(circuit=circuit, reading=white(circuit))


def made(name: str, model_type: str, strength: float = 0.3):
    """An edit of a small model; where a real leading eigenvalue is needed, of the first seed
    that has one.
    """
    for seed in range(40):
        where = site(model_type, seed=seed)
        try:
            return METHODS[name](where, unit(where.circuit.width), strength=strength)
        except InputError as error:
            if "leading eigenvalue" not in str(error):
                raise
    raise AssertionError("no seed has a real leading eigenvalue")


MODELS = ["gpt2", "gpt_neo", "bert", "llama", "qwen2", "gemma"]
PAIRS = [
    (name, kind)
    for name in METHODS
    for kind in MODELS
    if name != "bias" or kind in ("gpt2", "gpt_neo", "bert")
]


@pytest.mark.parametrize(("name", "model_type"), PAIRS)
def test_the_weights_give_the_change_that_is_said(model_type, name):
    edit = made(name, model_type)
    old, new = edit.before, edit.after
    total = np.zeros((old.width, old.width))
    for head in range(old.heads):
        left, right = edit.change.get(head, (np.zeros((old.width, 1)), np.zeros((1, old.width))))
        scale = np.abs(old.head(head)).max() + np.abs(left @ right).max()
        np.testing.assert_allclose(
            new.head(head), old.head(head) + left @ right, rtol=0, atol=1e-11 * scale
        )
        total += left @ right
    np.testing.assert_allclose(
        edit.joint()[0] @ edit.joint()[1], total, rtol=0, atol=1e-12 * max(np.abs(total).max(), 1)
    )
    bias = edit.after.effective_bias() - edit.before.effective_bias()
    assert edit.bias is not None
    np.testing.assert_allclose(bias, edit.bias, rtol=0, atol=1e-11 * (1 + np.abs(bias).max()))
    assert not edit.is_identity
    assert {h for h in range(old.heads) if not np.array_equal(new.output[h], old.output[h])} == set(
        edit.heads
    )


@pytest.mark.parametrize("name", METHODS)
def test_strength_zero_is_the_identity(name):
    where = site("bert")
    edit = METHODS[name](where, unit(32), strength=0.0)
    assert edit.is_identity
    np.testing.assert_array_equal(edit.joint()[0] @ edit.joint()[1], np.zeros((32, 32)))


@pytest.mark.parametrize("model_type", ["gpt2", "bert"])
def test_with_white_inputs_the_room_costs_the_smallest_singular_value(model_type):
    where = site(model_type)
    for group in range(len(where.circuit.value)):
        values = np.linalg.svd(where.circuit.head(group), compute_uv=False)
        expected = values[where.circuit.value.shape[1] - 1]
        assert room(where, group).loss == pytest.approx(expected, rel=1e-6)


def test_no_component_costs_less_than_the_room():
    rng = np.random.default_rng(0)
    where = site("gpt2")
    factor = rng.standard_normal((32, 32))
    where = replace(where, reading=replace(where.reading, covariance=factor @ factor.T))
    found = room(where, 0)
    assert found.q @ found.p == pytest.approx(1.0)
    output, value = where.circuit.factors(0)
    seen = value @ where.reading.covariance @ value.T
    losses = []
    for _ in range(2000):
        p, q = rng.standard_normal((2, 8))
        losses.append(np.linalg.norm(output @ p) * np.sqrt(q @ seen @ q) / abs(q @ p))
    assert found.loss == pytest.approx(
        np.linalg.norm(output @ found.p) * np.sqrt(found.q @ seen @ found.q)
    )
    assert found.loss < min(losses)
    least = np.linalg.svd(output @ np.linalg.cholesky(seen), compute_uv=False)[-1]
    assert found.loss == pytest.approx(least, rel=1e-6)
    nearby = [found.p + 1e-3 * rng.standard_normal(8) for _ in range(50)]
    around = [
        np.linalg.norm(output @ p) * np.sqrt(found.q @ seen @ found.q) / abs(found.q @ p)
        for p in nearby
    ]
    assert found.loss <= min(around) * (1 + 1e-9)


def test_the_head_that_loses_least_is_edited():
    where = site("bert")
    losses = [room(where, group).loss for group in range(4)]
    assert signed(where, unit(32), strength=0.1).heads == (int(np.argmin(losses)),)


@pytest.mark.parametrize("model_type", ["gpt2", "llama", "qwen2"])
def test_a_signed_edit_pushes_every_token_by_what_was_asked(model_type):
    """o' - o = kappa u sum_j A_ij mu . x_j - what is lost + its mean, for patterns of every
    head.
    """
    where = site(model_type)
    u, d = unit(32), 32
    edit = signed(where, u, strength=0.1)
    rng = np.random.default_rng(1)
    x = where.reading.mean + rng.standard_normal((6, d))
    patterns = rng.dirichlet(np.ones(6), (where.circuit.heads, 6))
    moved = edit.after.attend(x, patterns) - edit.before.attend(x, patterns)
    found = room(where, where.circuit.group(edit.heads[0]))
    read = where.circuit.value[found.group].astype(float)
    expected = np.zeros_like(moved)
    for head in edit.heads:
        out = where.circuit.output[head].astype(float) @ found.p
        lost = (x @ read.T + where.circuit.value_bias[found.group]) @ found.q
        if where.output_bias:
            lost = (
                lost - (read @ where.reading.mean + where.circuit.value_bias[found.group]) @ found.q
            )
        push = edit.kappa / len(edit.heads) * (patterns[head] @ (x @ where.reading.mu))
        expected += np.outer(push, u) - np.outer(patterns[head] @ lost, out)
    np.testing.assert_allclose(moved, expected, rtol=0, atol=1e-10 * np.abs(moved).max())
    assert edit.kappa == pytest.approx(0.1 * 10.0 / where.reading.push)


def test_a_negative_strength_pushes_away():
    where = site("gpt2")
    toward, away = (signed(where, unit(32), strength=c) for c in (0.1, -0.1))
    assert toward.kappa == -away.kappa > 0


def test_grouped_queries_are_edited_as_a_group():
    where = site("llama")
    assert where.circuit.value.shape[0] == 2
    edit = signed(where, unit(32), strength=0.1)
    group = where.circuit.group(edit.heads[0])
    assert edit.heads == members(where.circuit, group) == (2 * group, 2 * group + 1)
    other = 1 - group
    np.testing.assert_array_equal(edit.after.value[other], where.circuit.value[other])
    for head in members(where.circuit, other):
        np.testing.assert_array_equal(edit.after.output[head], where.circuit.output[head])


def test_the_swap_keeps_every_eigenvalue_and_the_left_vector():
    where = one_head()
    u = unit(4)
    edit = swap(where, u, strength=1.0)
    new, old = edit.after.matrix(), where.circuit.matrix()
    np.testing.assert_allclose(
        np.sort(np.linalg.eigvals(new)), np.sort(np.linalg.eigvals(old)), atol=1e-9
    )
    values, vectors = np.linalg.eig(old.T)
    leader = np.argmax(np.abs(1 + values))
    value, left = values[leader].real, np.real(vectors[:, leader])
    np.testing.assert_allclose(new @ u, value * u, atol=1e-12)
    np.testing.assert_allclose(left @ new, value * left, atol=1e-12)
    np.testing.assert_allclose(
        edit.after.effective_bias(), where.circuit.effective_bias(), atol=1e-12
    )
    half = swap(where, u, strength=0.5).after.matrix()
    np.testing.assert_allclose(half, (new + old) / 2, atol=1e-12)


def test_the_swap_by_heads_keeps_each_heads_eigenvalues():
    edit = made("swap-heads", "bert", 1.0)
    for head in edit.heads:
        values = [
            np.linalg.eigvals(c.factors(head)[1] @ c.factors(head)[0])
            for c in (edit.before, edit.after)
        ]
        np.testing.assert_allclose(
            np.sort_complex(values[0]), np.sort_complex(values[1]), atol=1e-6
        )
        largest = values[0][np.argmax(np.abs(values[0]))].real
        np.testing.assert_allclose(edit.after.head(head) @ unit(32), largest * unit(32), atol=1e-8)


def test_brauer_takes_the_principal_eigenvalue_away_first():
    where = one_head()
    # what is planted is negligible; what makes room is not
    edit = brauer(where, unit(4), strength=1e-9)
    d, u = 4, unit(4)
    left, right = edit.change[0]
    removed = where.circuit.matrix() + np.outer(left[:, 0], right[0])
    values = np.linalg.eigvals(where.circuit.matrix())
    kept = np.delete(values, np.argmax(np.abs(1 + values)))
    np.testing.assert_allclose(
        np.sort(np.linalg.eigvals(removed)), np.sort(np.append(kept, 0.0)), atol=1e-9
    )
    assert left.shape == (d, 3)
    assert abs(left[:, 2] @ u) == pytest.approx(np.linalg.norm(left[:, 2]))


def test_the_unsigned_edit_pushes_both_ways_and_the_signed_one_does_not():
    """Tokens around a common mean, a direction across it: u u^T goes with the sign of u . x."""
    where = site("bert")
    mean = where.reading.mean
    rng = np.random.default_rng(5)
    u = unit(32) - (unit(32) @ mean) * mean / (mean @ mean)
    u = u / np.linalg.norm(u)
    x = 3 * mean + rng.standard_normal((400, 32))
    own = np.broadcast_to(np.ones((1, 1)), (400, where.circuit.heads, 1, 1))
    pushes = {}
    for method in (signed, symmetric):
        edit = method(where, u, strength=5.0)
        moved = edit.after.attend(x[:, None], own) - edit.before.attend(x[:, None], own)
        pushes[method.__name__] = np.mean(moved[:, 0] @ u > 0)
    assert pushes["signed"] == 1.0
    # a half, 5 standard errors are 0.125; the mean has no part in u
    assert 0.4 < pushes["symmetric"] < 0.6


def test_predicted_and_measured_spectra_are_of_the_same_matrix():
    where = site("gpt2")
    edit = signed(where, unit(32), strength=0.5)
    values = np.linalg.eigvals(edit.after.matrix())
    expected = values[np.argmax(np.abs(1 + values))]
    assert abs(edit.predicted().eigenvalue - expected) < 1e-8 * abs(expected) or abs(
        edit.predicted().eigenvalue - expected.conjugate()
    ) < 1e-8 * abs(expected)
    sizes = edit.sizes()
    whole = np.linalg.norm(edit.after.matrix() - where.circuit.matrix()) / np.linalg.norm(
        where.circuit.matrix()
    )
    assert sizes["layer"] == pytest.approx(whole, rel=1e-9)
    (head,) = edit.heads
    change = np.linalg.norm(edit.after.output[head] - where.circuit.output[head])
    assert sizes["output"] == pytest.approx(
        change / np.linalg.norm(where.circuit.output[head]), rel=1e-6
    )


def test_what_cannot_be_done_is_refused():
    where = site("llama")
    with pytest.raises(InputError, match="no output bias to write to"):
        METHODS["bias"](where, unit(32), strength=0.1)
    with pytest.raises(InputError, match=r"mu . x > 0 for 47 % of the calibration tokens"):
        signed(
            replace(where, reading=replace(where.reading, positive=0.47)), unit(32), strength=0.1
        )
    with pytest.raises(InputError, match="it is from 0 to 1"):
        swap(one_head(), unit(4), strength=1.5)
    rotation = np.array([[1.0, -2.0], [2.0, 1.0]])
    with pytest.raises(InputError, match="is complex, so it has no eigenvector to replace"):
        swap(
            Site(circuit=planted(rotation), reading=white(planted(rotation))), unit(2), strength=0.5
        )
    with pytest.raises(InputError, match="has a real leading eigenvalue"):
        swap_heads(
            Site(circuit=planted(rotation), reading=white(planted(rotation))), unit(2), strength=0.5
        )
    diagonal = Site(circuit=planted(np.diag([2.0, 1.0])), reading=white(planted(np.eye(2))))
    with pytest.raises(InputError, match="does not read the direction"):
        swap(diagonal, np.array([0.0, 1.0]), strength=1.0)
    narrow = site("bert", num_attention_heads=32)
    with pytest.raises(InputError, match="have 1 component each"):
        signed(narrow, unit(32), strength=0.1)


def test_every_architecture_of_the_lens_can_be_edited():
    for model_type in CONFIGS:
        where = site(model_type)
        assert signed(where, unit(where.circuit.width), strength=0.1).heads
