"""States of several arrays, in three libraries: one vector inside, the user's structure outside."""

from collections import namedtuple

import numpy as np
import pytest

from eigenloop.loops import LoopedMap, diagnose
from eigenloop.loops.trees import Tree, rebuilt, taken
from eigenloop.system.errors import InputError

Pair = namedtuple("Pair", "z h")
RNG = np.random.default_rng(0)
MATRIX = 0.6 * RNG.standard_normal((7, 7)) / np.sqrt(7)
X0 = {"z": np.ones(4), "h": np.full((1, 3), 0.5)}
"""h comes first: keys are sorted."""


def step(library, concatenate):
    def run(state, matrix):
        whole = concatenate([state["h"].reshape(-1), state["z"]])
        y = library.tanh(matrix @ whole + 0.1)
        return {"z": y[3:], "h": y[:3].reshape(1, 3)}

    return run


def flat_step(x):
    return np.tanh(MATRIX @ x + 0.1)


@pytest.mark.parametrize("kind", ["numpy", "jax", "torch"])
def test_a_dictionary_is_the_same_map_as_its_vector(kind):
    if kind == "numpy":
        looped = LoopedMap.numpy(step(np, np.concatenate), X0, context={"matrix": MATRIX})
    elif kind == "jax":
        from jax import numpy as jnp

        looped = LoopedMap.jax(step(jnp, jnp.concatenate), X0, context={"matrix": MATRIX})
    else:
        torch = pytest.importorskip("torch", reason="torch is missing: pip install '.[lens]'")
        start = {name: torch.tensor(value) for name, value in X0.items()}
        looped = LoopedMap.torch(
            step(torch, torch.cat), start, context={"matrix": torch.tensor(MATRIX)}
        )
    assert (looped.size, looped.shape) == (7, (7,))
    np.testing.assert_array_equal(looped.start, [0.5] * 3 + [1.0] * 4)
    x, v = RNG.standard_normal((2, 7))
    np.testing.assert_allclose(looped.step(x), flat_step(x), atol=1e-14)
    jacobian = (1 - flat_step(x) ** 2)[:, None] * MATRIX
    np.testing.assert_allclose(looped.at(x).push(v), jacobian @ v, atol=1e-9)
    if kind != "numpy":
        np.testing.assert_allclose(looped.at(x).reverse(v), jacobian.T @ v, atol=1e-12)
    state = looped.state(x)
    assert sorted(state) == ["h", "z"]
    np.testing.assert_array_equal(state["h"], x[:3].reshape(1, 3))
    np.testing.assert_array_equal(looped.flat(state), x)
    found = diagnose(looped, loops=8, readout=lambda s: float(np.sum(s["h"] ** 2) + s["z"][0]))
    assert found.verdict.word == "contracts"
    assert found.readout[0] == pytest.approx(1.75)
    assert found.states.shape == (9, 7)


def test_products_of_a_dictionary_take_dictionaries():
    def product(x, v, sign=1.0):
        return {"a": 0.5 * v["a"], "b": [sign * 0.25 * v["b"][0]]}

    looped = LoopedMap.numpy(
        lambda x: product(x, x), {"a": np.ones(2), "b": [np.ones(1)]}, jvp=product, vjp=product
    )
    np.testing.assert_allclose(looped.at(looped.start).dense(), np.diag([0.5, 0.5, 0.25]))


def test_registered_trees_of_jax_keep_their_type():
    import jax
    from jax import numpy as jnp

    @jax.tree_util.register_pytree_node_class
    class Own:
        def __init__(self, *parts):
            self.parts = parts

        def tree_flatten(self):
            return self.parts, None

        @classmethod
        def tree_unflatten(cls, aux, parts):
            return cls(*parts)

    own = LoopedMap.jax(
        lambda p: Own(0.5 * p.parts[0], jnp.tanh(p.parts[1])), Own(np.ones(2), np.ones(1))
    )
    assert isinstance(own.state(own.start), Own)
    np.testing.assert_allclose(own.step(np.ones(3)), [0.5, 0.5, np.tanh(1)])
    looped = LoopedMap.jax(
        lambda p: Pair(z=0.5 * p.z, h=jnp.tanh(p.h)), Pair(z=np.ones(2), h=np.ones(1))
    )
    assert isinstance(looped.state(looped.start), Pair)
    np.testing.assert_allclose(looped.step(np.ones(3)), [0.5, 0.5, np.tanh(1)])


@pytest.mark.parametrize(
    "state",
    [
        np.ones((2, 3)),
        (np.ones(2), np.zeros((1, 1))),
        [np.ones(2), {"a": np.ones(1), "b": (np.ones(3),)}],
        Pair(np.ones(1), np.ones(2)),
    ],
)
def test_trees_come_back(state):
    leaves, structure = taken(state)
    again, other = taken(rebuilt(structure, leaves))
    assert other == structure
    assert all(a is b for a, b in zip(leaves, again, strict=True))
    tree = Tree.of(state)
    vector = np.arange(float(tree.size))
    joined = np.concatenate([np.ravel(each) for each in tree.leaves(tree.unflat(vector))])
    np.testing.assert_array_equal(joined, vector)


def test_lists_of_numbers_are_one_array():
    assert Tree.of([1.0, 2.0]).shape == (2,)
    assert Tree.of([[1, 2], [3, 4]]).shapes == ((2, 2),)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (
            lambda x: {"a": x["a"]},
            r"returns a state of \{'a': \(2,\)\}, but the state has \{'a': \(2,\), 'b'",
        ),
        (lambda x: {"a": x["a"], "b": x["a"]}, r"'b': \(2,\)\}, but"),
        (lambda x: (x["a"], x["b"]), r"returns a state of \(\(2,\), \(1,\)\)"),
        (lambda x: x["a"], "returns a state of"),
    ],
)
def test_another_structure_is_refused(returned, message):
    with pytest.raises(InputError, match=message):
        LoopedMap.numpy(returned, {"a": np.ones(2), "b": np.ones(1)})


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": np.ones(1), "k": np.array([3])}, "whole numbers"),
        ({"a": np.array(["x"])}, "real numbers"),
        ({}, "holds no number"),
        ({"a": np.array([np.inf])}, "not finite"),
    ],
)
def test_states_of_no_numbers_are_refused(state, message):
    with pytest.raises(InputError, match=message):
        LoopedMap.numpy(lambda x: x, state)
