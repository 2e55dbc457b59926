"""The token simulator against loops over tokens and heads, and the quantities that a run
reports.
"""

import math

import numpy as np
import pytest

from eigenloop.lens.cases.dynamics import FeedForward, Layer, Unit, simulate
from eigenloop.lens.cases.generators import growth_spectrum, plain_norm, split, with_spectrum
from eigenloop.lens.weights.circuits import Norm
from eigenloop.numerics.statistics import Rate, fit_rate
from eigenloop.system.errors import InputError

DIM, COUNT = 5, 4


def naive_norm(norm: Norm | Unit, x: np.ndarray) -> np.ndarray:
    if isinstance(norm, Unit):
        return x / math.sqrt(sum(v * v for v in x))
    mean = sum(x) / len(x) if norm.kind == "layer" else 0.0
    square = sum((v - mean) ** 2 for v in x) / len(x)
    parts = zip(x, norm.gain, norm.bias, strict=True)
    return np.array([g * (v - mean) / math.sqrt(square + norm.eps) + b for v, g, b in parts])


def naive_gelu(z: float) -> float:
    return z / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))


def naive_step(layer: Layer, x: np.ndarray) -> np.ndarray:
    """One layer, a token at a time, as a textbook writes it."""
    pre = layer.norm is not None and layer.norm.placement == "pre"
    read = [naive_norm(layer.norm, row) if pre and layer.norm else row for row in x]
    rows = []
    for i in range(len(x)):
        out = np.zeros(x.shape[1]) if layer.bias is None else layer.bias.copy()
        seen = range(i + 1) if layer.causal else range(len(x))
        for h in range(len(layer.heads)):
            logits = [
                0.0 if layer.scores is None else float(read[i] @ layer.scores[h] @ read[j])
                for j in seen
            ]
            total = sum(math.exp(logit) for logit in logits)
            for j, logit in zip(seen, logits, strict=True):
                out = out + math.exp(logit) / total * (layer.heads[h] @ read[j])
        row = out + x[i] if layer.residual else out
        if layer.norm is not None and not pre:
            row = naive_norm(layer.norm, row)
        forward = layer.feedforward
        if forward is not None:
            before = forward.norm is not None and forward.norm.placement == "pre"
            inside = naive_norm(forward.norm, row) if before and forward.norm else row
            hidden = np.array([naive_gelu(float(z)) for z in forward.up @ inside + forward.up_bias])
            added = forward.down @ hidden + forward.down_bias
            row = row + added if layer.residual else added
            if forward.norm is not None and not before:
                row = naive_norm(forward.norm, row)
        rows.append(row)
    return np.array(rows)


def norms(rng: np.random.Generator) -> list[Norm | Unit | None]:
    random = [
        Norm(
            gain=rng.uniform(0.5, 2, DIM),
            bias=rng.standard_normal(DIM),
            eps=1e-5,
            kind="layer",
            placement=place,
        )
        for place in ("pre", "post")
    ]
    return [
        None,
        Unit(),
        Unit("pre"),
        plain_norm(DIM),
        plain_norm(DIM, kind="rms", placement="pre"),
        *random,
    ]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("heads", [1, 3])
def test_a_layer_is_its_naive_loops(heads: int, softmax: bool, causal: bool) -> None:
    rng = np.random.default_rng([heads, softmax, causal])
    for norm in norms(rng):
        for residual in (True, False):
            for full in (False, True):
                forward = FeedForward(
                    up=rng.standard_normal((7, DIM)),
                    down=rng.standard_normal((DIM, 7)),
                    up_bias=rng.standard_normal(7),
                    down_bias=rng.standard_normal(DIM),
                    norm=norm,
                )
                layer = Layer(
                    heads=rng.standard_normal((heads, DIM, DIM)),
                    causal=causal,
                    norm=norm,
                    residual=residual,
                    scores=rng.standard_normal((heads, DIM, DIM)) if softmax else None,
                    bias=rng.standard_normal(DIM) if full else None,
                    feedforward=forward if full else None,
                )
                x = rng.standard_normal((COUNT, DIM))
                np.testing.assert_allclose(layer(x), naive_step(layer, x), rtol=1e-11, atol=1e-11)


def test_rows_of_a_pattern_sum_to_one_and_causal_ones_look_back() -> None:
    rng = np.random.default_rng(0)
    layer = Layer(
        heads=np.zeros((2, DIM, DIM)), scores=30 * rng.standard_normal((2, DIM, DIM)), causal=True
    )
    found = layer.patterns(30 * rng.standard_normal((COUNT, DIM)))
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-14)
    assert np.all(np.triu(found, 1) == 0)
    uniform = Layer(heads=np.zeros((1, DIM, DIM)), causal=True).patterns(np.zeros((COUNT, DIM)))[0]
    np.testing.assert_allclose(
        np.sort(np.linalg.eigvals(uniform)), 1 / np.arange(COUNT, 0, -1), rtol=1e-14
    )


def test_orientation_is_that_of_columns() -> None:
    shift = np.array([[0.0, 0.0], [1.0, 0.0]])  # F e_1 = e_2
    x = np.array([[1.0, 0.0]])
    np.testing.assert_array_equal(Layer(heads=shift[None])(x), [[1.0, 1.0]])


@pytest.mark.parametrize("condition", [1.0, 20.0])
@pytest.mark.parametrize("angle", [0.0, 1.0, np.pi])
def test_planted_spectra_are_there(angle: float, condition: float) -> None:
    wanted = growth_spectrum(8, gap=0.9, leader=2.0, angle=angle)
    moduli = np.unique(abs(1 + wanted).round(12))[::-1]
    assert moduli[0] == 2.0
    assert moduli[1] == 1.8
    matrix = with_spectrum(np.random.default_rng(1), wanted, condition=condition)
    assert matrix.dtype == np.float64
    for power in range(1, 5):
        np.testing.assert_allclose(
            np.trace(np.linalg.matrix_power(matrix, power)), np.sum(wanted**power).real
        )
    normal = np.allclose(matrix @ matrix.T, matrix.T @ matrix)
    assert normal == (condition == 1)
    if condition == 1 and angle != 1.0:
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
    np.testing.assert_allclose(
        split(np.random.default_rng(2), matrix, heads=3).sum(0), matrix, atol=1e-12
    )


@pytest.mark.parametrize("norm", [None, Unit(), plain_norm(6), plain_norm(6, kind="rms")])
def test_the_mean_map_moves_a_token_in_consensus(norm: Norm | Unit | None) -> None:
    rng = np.random.default_rng(3)
    layer = Layer(heads=rng.standard_normal((2, 6, 6)), norm=norm)
    x = rng.standard_normal((1, 6))
    matrix = layer.mean_map()
    assert matrix is not None
    found, expected = layer(x)[0], matrix @ x[0]
    np.testing.assert_allclose(
        found / np.linalg.norm(found), expected / np.linalg.norm(expected), rtol=1e-12
    )
    leader = layer.leader()
    np.testing.assert_allclose(matrix @ leader.right, leader.eigenvalue * leader.right, atol=1e-12)


@pytest.mark.parametrize("gain", [None, 0.3])
@pytest.mark.parametrize("causal", [False, True])
def test_the_consensus_factor_is_the_spectral_radius_of_the_linearised_loop(
    causal: bool, gain: float | None
) -> None:
    rng = np.random.default_rng(4)
    matrix = with_spectrum(rng, growth_spectrum(6, gap=0.8), condition=3.0)
    norm: Norm | Unit = Unit()
    if gain:
        gains = 1 + gain * rng.standard_normal(6)
        norm = Norm(gain=gains, bias=np.zeros(6), eps=0.0, kind="layer", placement="post")
    layer = Layer(heads=matrix[None], norm=norm, causal=causal)
    v = layer.leader().right
    point = simulate(layer, np.repeat(v[None], 3, axis=0), loops=300).states[-1]
    columns = []
    for i in range(18):  # central differences of the whole loop
        step = np.zeros(18)
        step[i] = 1e-5
        near = [layer(point + sign * step.reshape(3, 6)).ravel() for sign in (1, -1)]
        columns.append((near[0] - near[1]) / 2e-5)
    jacobian = np.stack(columns, axis=1)
    # tokens 2 and 3, seen from the first
    differences = np.kron(np.eye(3)[1:] - np.eye(3)[:1], np.eye(6))
    across = differences @ jacobian @ np.linalg.pinv(differences)
    expected = abs(np.linalg.eigvals(across)).max()
    assert layer.consensus_factor(tokens=3) == pytest.approx(expected, rel=1e-6)


def test_rates_are_fitted_where_they_can_be() -> None:
    loops = np.arange(200.0)
    found = fit_rate(3 * 0.9**loops + 5 * 0.5**loops + 1e-15)
    assert found.converged
    assert found.value == pytest.approx(0.9, rel=1e-5)
    assert found.first > 100
    assert found.stderr < 1e-5
    assert isinstance(fit_rate(np.full(50, 0.5)), Rate)
    assert not fit_rate(np.full(50, 0.5)).converged
    assert math.isnan(fit_rate(0.5 ** np.arange(10.0)).value)
    dipping = np.concatenate([np.full(3, 1e-6), np.ones(3), 0.8 ** np.arange(40, 130)])
    assert fit_rate(dipping).value == pytest.approx(0.8, rel=1e-9)


def test_a_run_measures_what_it_says() -> None:
    rng = np.random.default_rng(5)
    layers = [Layer(heads=with_spectrum(rng, growth_spectrum(4, gap=0.8))[None]) for _ in range(3)]
    run = simulate(layers, rng.standard_normal((3, 4)))
    assert run.states.shape == (4, 3, 4)
    for loop, state in enumerate(run.states):
        mean = np.array(sum(state)) / 3
        np.testing.assert_allclose(run.means[loop], mean)
        spread = math.sqrt(sum(np.sum((row - mean) ** 2) for row in state) / np.sum(state**2))
        assert run.spread[loop] == pytest.approx(spread)
        v = layers[max(loop - 1, 0)].leader().right
        assert run.sines[loop] == pytest.approx(
            math.sqrt(1 - np.dot(v, mean) ** 2 / np.dot(mean, mean))
        )


def test_bad_input_is_refused() -> None:
    rng, layer = np.random.default_rng(0), Layer(heads=np.eye(2)[None], bias=np.ones(2))
    with pytest.raises(InputError, match="loops is None"):
        simulate(layer, np.eye(2))
    with pytest.raises(InputError, match="1 layers and loops = 3"):
        simulate([layer], np.eye(2), loops=3)
    with pytest.raises(InputError, match="0 layers"):
        simulate([], np.eye(2))
    with pytest.raises(InputError, match="no leading eigenvector"):
        layer.leader()
    with pytest.raises(InputError, match="no partner"):
        with_spectrum(rng, [1.0, 1j])
    with pytest.raises(InputError, match=r"condition is 0\.5"):
        with_spectrum(rng, [1.0, 2.0], condition=0.5)
    with pytest.raises(InputError, match="gap 1"):
        growth_spectrum(4, gap=1.0)
