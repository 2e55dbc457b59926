"""Maps from NumPy, JAX and PyTorch: one map in three libraries, and what is refused or
qualified.
"""

import numpy as np
import pytest

from eigenloop.loops import Linear, LoopedMap, diagnose, spectrum
from eigenloop.loops.linear import DENSE, difference
from eigenloop.system.errors import InputError

RNG = np.random.default_rng(0)
SIZE = 12
MATRIX = 0.7 * RNG.standard_normal((SIZE, SIZE)) / np.sqrt(SIZE)
SHIFT = RNG.standard_normal(SIZE)
X0 = RNG.standard_normal((3, 4))


def numpy_step(x, shift=SHIFT):
    return np.tanh(MATRIX @ x.ravel() + shift).reshape(x.shape)


def exact() -> LoopedMap:
    def slope(x):
        return 1 - numpy_step(x).ravel() ** 2

    return LoopedMap.numpy(
        numpy_step,
        X0,
        jvp=lambda x, v: (slope(x) * (MATRIX @ v.ravel())).reshape(x.shape),
        vjp=lambda x, u: (MATRIX.T @ (slope(x) * u.ravel())).reshape(x.shape),
    )


def in_jax() -> LoopedMap:
    from jax import numpy as jnp

    return LoopedMap.jax(
        lambda x, m, b: jnp.tanh(m @ x.ravel() + b).reshape(x.shape),
        X0,
        context={"m": MATRIX, "b": SHIFT},
    )


def in_torch() -> LoopedMap:
    torch = pytest.importorskip("torch", reason="torch is missing: pip install '.[lens]'")
    context = {"m": torch.tensor(MATRIX), "b": torch.tensor(SHIFT)}
    return LoopedMap.torch(
        lambda x, m, b: torch.tanh(m @ x.reshape(-1) + b).reshape(x.shape),
        torch.tensor(X0),
        context=context,
    )


@pytest.mark.parametrize("make", [in_jax, in_torch])
def test_one_map_in_three_libraries(make):
    one, other = exact(), make()
    x, v = RNG.standard_normal(SIZE), RNG.standard_normal(SIZE)
    np.testing.assert_allclose(other.step(x), one.step(x), atol=1e-13)
    mine, its = one.at(x), other.at(x)
    np.testing.assert_allclose(its.forward(v), mine.forward(v), atol=1e-12)
    np.testing.assert_allclose(its.reverse(v), mine.reverse(v), atol=1e-12)
    np.testing.assert_allclose(its.dense(), mine.dense(), atol=1e-12)
    values = [np.array([mode.value for mode in diagnose(each).modes]) for each in (one, other)]
    np.testing.assert_allclose(values[0], values[1], atol=1e-10)
    assert other.notes == ()


def test_products_are_those_of_the_jacobian_and_of_its_transpose():
    """<u, J v> = <J^T u, v>, and J v is the central difference."""
    looped = exact()
    x, u, v = RNG.standard_normal((3, SIZE))
    linear = looped.at(x)
    assert u @ linear.forward(v) == pytest.approx(linear.reverse(u) @ v, rel=1e-13)
    h = 1e-6
    np.testing.assert_allclose(
        linear.forward(v), (looped.step(x + h * v) - looped.step(x - h * v)) / (2 * h), atol=1e-8
    )


def test_differences_stand_in_for_a_derivative_and_are_said():
    looped, x, v = LoopedMap.numpy(numpy_step, X0), X0.ravel(), RNG.standard_normal(SIZE)
    np.testing.assert_allclose(looped.at(x).forward(v), exact().at(x).forward(v), atol=1e-9)
    assert looped.at(x).reverse is None
    assert any("differences" in note for note in looped.notes)
    assert 1e-14 < looped.at(x).noise < 1e-8
    found = [diagnose(each).modes[0].value for each in (looped, exact())]
    assert abs(found[0] - found[1]) < 1e-6


def test_the_difference_formula_is_exact_to_degree_four():
    x, v = np.array([0.7]), np.array([1.3])
    for power in range(1, 5):
        assert difference(lambda x, p=power: x**p, x, 0.1)(v)[0] == pytest.approx(
            power * 0.7 ** (power - 1) * 1.3
        )


def test_context_is_held_fixed_and_only_the_state_varies():
    shift = SHIFT.copy()
    looped = LoopedMap.numpy(lambda x, shift: numpy_step(x, shift), X0, context={"shift": shift})
    np.testing.assert_allclose(looped.step(X0.ravel()), numpy_step(X0).ravel())
    assert looped.size == SIZE
    np.testing.assert_array_equal(shift, SHIFT)


def test_a_state_is_in_the_users_shape_and_flat_inside():
    looped = exact()
    assert looped.shape == (3, 4)
    np.testing.assert_array_equal(looped.flat(X0), X0.ravel())
    with pytest.raises(InputError, match=r"shape \(4, 3\).*\(3, 4\)"):
        looped.flat(X0.T)
    assert diagnose(looped, loops=5).states.shape == (6, 3, 4)


@pytest.mark.parametrize(
    ("x0", "message"),
    [
        (np.array([1.0, np.nan]), "not finite"),
        (np.zeros(0), "holds no number"),
        (np.array(["a"]), "real numbers"),
        (np.array([1j]), "real numbers"),
    ],
)
def test_starts_that_are_no_states_are_refused(x0, message):
    with pytest.raises(InputError, match=message):
        LoopedMap.numpy(lambda x: x, x0)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda x: x[:-1], r"returns shape \(3,\), but the state has \(4,\)"),
        (lambda x: x + np.random.default_rng().standard_normal(4), "two answers for one state"),
        (lambda x: np.round(3 * x), "piecewise constant"),
        (lambda x: np.log(x - 10), "not finite"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_maps_that_no_derivative_describes_are_refused(step, message):
    with pytest.raises(InputError, match=message):
        LoopedMap.numpy(step, np.array([0.1, 0.7, -0.4, 1.2]))


def test_a_wrong_derivative_is_refused():
    with pytest.raises(InputError, match="disagrees with its differences"):
        LoopedMap.numpy(np.tanh, np.ones(3), jvp=lambda x, v: v)
    with pytest.raises(InputError, match="disagrees with its differences"):
        # not the transpose
        LoopedMap.numpy(lambda x: MATRIX @ x, X0.ravel(), vjp=lambda x, u: MATRIX @ u)


def test_a_constant_map_is_a_map():
    found = diagnose(LoopedMap.numpy(np.zeros_like, np.ones(3)))
    assert str(found.verdict) == "contracts"
    assert found.modes[0].value == 0


def test_rounding_in_float32_is_measured_and_said():
    def step(x):
        return np.tanh(0.5 * x.astype(np.float32) + 1).astype(np.float64)

    looped = LoopedMap.numpy(step, np.ones(5), jvp=lambda x, v: 0.5 * v / np.cosh(0.5 * x + 1) ** 2)
    assert 1e-9 < looped.noise < 1e-6
    assert any("float64" in note for note in looped.notes)
    assert str(diagnose(looped).verdict) == "contracts"


def test_jax_traces_the_step_a_fixed_number_of_times():
    traced = []

    def step(x):
        traced.append(1)
        return 0.9 * x

    looped = LoopedMap.jax(step, np.ones(DENSE + 2))
    diagnose(looped, loops=20)
    assert len(traced) <= 4


def test_jax_that_cannot_be_traced_is_refused():
    with pytest.raises(InputError, match="cannot trace"):
        LoopedMap.jax(lambda x: np.tanh(np.asarray(x)), np.ones(3))


def test_jax_stop_gradient_is_noticed():
    import jax

    with pytest.raises(InputError, match="cut from the graph"):
        LoopedMap.jax(lambda x: 0.5 * x + 0.3 * jax.lax.stop_gradient(x), np.ones(3))


def test_the_jax_setting_is_left_alone():
    import jax

    before = jax.config.read("jax_enable_x64")
    in_jax()
    assert jax.config.read("jax_enable_x64") == before


class TestTorch:
    @pytest.fixture(autouse=True)
    def _torch(self):
        self.torch = pytest.importorskip("torch", reason="torch is missing: pip install '.[lens]'")

    def test_attention_has_products_in_both_directions(self):
        torch = self.torch
        generator = torch.Generator().manual_seed(0)
        weights = torch.randn(3, 8, 8, generator=generator, dtype=torch.float64) / 3

        def step(x):
            q, k, v = (x @ w for w in weights)
            return (
                torch.nn.functional.scaled_dot_product_attention(q[None], k[None], v[None])[0]
                + 0.2 * x
            )

        looped = LoopedMap.torch(step, torch.randn(5, 8, generator=generator, dtype=torch.float64))
        u, v = RNG.standard_normal((2, 40))
        linear = looped.at(looped.start)
        assert u @ linear.forward(v) == pytest.approx(linear.reverse(u) @ v, rel=1e-10)

    def test_a_float32_model_runs_in_float32_and_says_so(self):
        torch = self.torch
        layer = torch.nn.Linear(6, 6)
        looped = LoopedMap.torch(lambda x: torch.tanh(0.5 * layer(x)), torch.ones(6))
        assert 1e-9 < looped.noise < 1e-5
        assert any("float64" in note for note in looped.notes)

    def test_dropout_is_refused_and_eval_mode_is_not(self):
        torch = self.torch
        layer = torch.nn.Sequential(torch.nn.Linear(6, 6), torch.nn.Dropout(0.5)).double()
        with pytest.raises(InputError, match="eval mode"):
            LoopedMap.torch(layer, torch.ones(6, dtype=torch.float64))
        LoopedMap.torch(layer.eval(), torch.ones(6, dtype=torch.float64))

    @pytest.mark.parametrize(
        ("step", "message"),
        [
            (lambda x: x.detach() * 0.5, "autograd cannot follow"),
            (lambda x: 0.5 * x + 0.3 * x.detach(), "cut from the graph"),
            (lambda x: x.round(), "piecewise constant"),
            (lambda x: x[:2], r"returns shape \(2,\)"),
            (lambda x: [x], r"returns a state of \[\(3,\)\]"),
        ],
    )
    def test_steps_without_a_derivative_are_refused(self, step, message):
        with pytest.raises(InputError, match=message):
            LoopedMap.torch(step, self.torch.tensor([0.3, 1.2, -0.7], dtype=self.torch.float64))

    def test_a_step_that_writes_into_its_argument_leaves_the_state_alone(self):
        looped = LoopedMap.torch(lambda x: x.mul(0.5), self.torch.ones(3, dtype=self.torch.float64))
        x = np.ones(3)
        looped.step(x)
        np.testing.assert_array_equal(x, 1)


def test_a_matrix_as_its_products():
    linear = Linear.of(MATRIX)
    np.testing.assert_array_equal(linear.dense(), MATRIX)
    np.testing.assert_allclose(linear.reverse(SHIFT), MATRIX.T @ SHIFT)


def test_a_large_map_with_reverse_products_only_has_modes_and_no_norms():
    matrix = np.diag(np.linspace(-0.5, 0.9, DENSE + 50))
    linear = Linear(len(matrix), reverse=lambda u: matrix.T @ u)
    found = spectrum(linear)
    assert found.modes[0].value == pytest.approx(0.9, abs=1e-10)
    assert found.modes[0].condition is None
    assert found.modes[0].as_dict()["reason"]
    with pytest.raises(InputError, match="forward products"):
        linear.push(np.ones(len(matrix)))


def test_a_step_that_raises_later_is_one_line():
    def late(x):
        if np.abs(x).max() < 0.3:
            raise RuntimeError("no more")
        return 0.5 * x

    looped = LoopedMap.numpy(late, np.array([1.0, 0.7]), name="late")
    with pytest.raises(InputError, match=r"late raises RuntimeError at a later state: no more"):
        diagnose(looped, loops=8)


def test_a_state_that_stops_being_a_number_ends_the_search_for_a_fixed_point():
    looped = LoopedMap.numpy(lambda x: np.where(np.abs(x) < 0.3, np.nan, 0.5 * x), np.array([1.0]))
    found = diagnose(looped, loops=8)
    assert found.verdict.word == "blows up"
