"""The statistics of alignment on planted states: exact power steps, chance, and what only looks
like alignment.
"""

import numpy as np
import pytest
from scipy import stats

from eigenloop.lens import align
from eigenloop.lens import planted as any_planted
from eigenloop.lens.cases.dynamics import Layer
from eigenloop.lens.cases.generators import plain_norm, with_spectrum
from eigenloop.lens.text.estimates import ALIKE, Estimate
from eigenloop.lens.text.gain import energies, gains, log_growth, modes_of, relation, rotated_gains
from eigenloop.lens.text.measure import resampled
from eigenloop.lens.text.nulls import from_copy, from_draws, max_statistic
from eigenloop.lens.text.projections import Subspaces, random_planes, spanned
from eigenloop.lens.text.tokens import States
from eigenloop.lens.weights.circuits import Norm
from eigenloop.lens.weights.modes import principal
from eigenloop.lens.weights.operators import Growth, Operator

DIM = 16


def planted(matrix, *, norm=None):
    """A post-LN layer unless a norm is given, so that F itself acts on the stream."""
    return any_planted(matrix, norm=norm or plain_norm(len(matrix), placement="post"))


def number(found: Estimate) -> tuple[float, float, float]:
    """Value and interval, which must be there."""
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    return found.value, found.low, found.high


def state(layer, before, written, passage):
    count = np.arange(len(before))
    return States(
        layer=layer,
        block=layer,
        passage=np.asarray(passage),
        piece=0 * count,
        position=count,
        before=before,
        written=written,
        normed=None,
        output=before + written,
    )


def played(*given):
    """A run over states that are already there."""
    return lambda visit: [visit(each) for each in given]


def general(seed, *, scale=0.4, angle=1.5):
    """A non-normal F with complex pairs; a small angle makes one of them lead."""
    rng = np.random.default_rng(seed)
    pairs = scale * rng.uniform(0.2, 1, DIM // 4) * np.exp(1j * rng.uniform(0.3, 2.8, DIM // 4))
    pairs[0] = 1.6 * scale * np.exp(1j * angle)
    values = np.concatenate([pairs, pairs.conj(), scale * rng.uniform(-1, 1.5, DIM // 2)])
    return with_spectrum(rng, values, condition=10.0)


def passages_of(seed, *, count=30, longest=9):
    """(passage of each token, tokens)."""
    rng = np.random.default_rng(seed)
    passage = np.repeat(np.arange(count), rng.integers(1, longest + 1, count))
    return passage, rng.standard_normal((len(passage), DIM)) + rng.standard_normal((count, DIM))[
        passage
    ]


def uniform(matrix, passage, x):
    """What full attention within each passage adds."""
    layer = Layer(heads=matrix[None])
    return np.concatenate([layer.attend(x[passage == s]) for s in np.unique(passage)])


def test_a_power_step_has_slope_one_and_another_layers_basis_has_none():
    passage, x = passages_of(0)
    first, second = general(1), general(2)
    found = align(
        [planted(first), planted(second)],
        played(
            state(0, x, uniform(first, passage, x), passage),
            state(1, x, uniform(second, passage, x), passage),
        ),
        passages=30,
        resamples=99,
        draws=99,
    )
    modes = len(modes_of(Operator(left=first, right=np.eye(DIM))).values)
    assert modes < DIM
    for layer in found.layers:
        assert layer["gain_slope"].value == pytest.approx(1, abs=1e-9)
        assert layer["gain_rho"].value == pytest.approx(1, abs=1e-9)
        assert layer["gain_slope"].low == pytest.approx(1, abs=1e-9)
        for kind in ("other_layers", "random"):
            null = layer["gain_rho"].nulls[kind]
            # Spearman's rho has variance 1/(m - 1)
            assert abs(null.mean) < 4 / np.sqrt((modes - 1) * null.count)
        assert layer["gain_rho"].nulls["random"].p == 0.01


@pytest.mark.parametrize("rule", ["consensus", "layernorm"])
def test_before_a_pre_ln_sublayer_growth_is_divided_by_the_tokens_scale(rule):
    """All tokens have sigma = 4.5; with sigma = 1 in its place the slope is far from 1."""
    rng = np.random.default_rng(3)
    norm = Norm(
        gain=rng.uniform(0.5, 2, DIM), bias=np.zeros(DIM), eps=0.0, kind="layer", placement="pre"
    )
    passage, x = passages_of(4)
    x = x - x.mean(1, keepdims=True)
    x *= 4.5 / x.std(1, keepdims=True)
    matrix = 3 * general(5)
    circuit = planted(matrix, norm=norm)
    run = played(state(0, x, uniform(matrix, passage, norm(x)), passage))
    (layer,) = align([circuit], run, passages=30, rule=rule, resamples=99, draws=99).layers
    assert layer.sigma == pytest.approx(4.5, rel=1e-12)
    assert layer["gain_slope"].value == pytest.approx(1, abs=1e-8)
    folded = matrix * norm.gain
    folded -= folded.mean(1, keepdims=True)
    target, factor = (folded, Growth(1.0, 4.5)) if rule == "layernorm" else (matrix, Growth(1.0))
    assert layer.eigenvalue == pytest.approx(
        principal(Operator(left=target, right=np.eye(DIM)), factor).eigenvalue
    )


def ranked(values, leader):
    return 100 * np.mean(np.delete(values, leader) < values[leader])


def bare_share(tokens, q):
    """The share in Q of what is left of the directions of tokens when their mean is subtracted,
    token by token.
    """
    units = [t / np.sqrt(t @ t) for t in tokens]
    mean = sum(units) / len(units)
    return sum(np.sum((q.T @ (u - mean)) ** 2) for u in units) / sum(
        np.sum((u - mean) ** 2) for u in units
    )


def naive(matrix, passage, x, y):
    """Every statistic from its definition, token by token and mode by mode."""
    values, right = np.linalg.eig(matrix)
    left = np.linalg.inv(right).conj().T
    kept = np.flatnonzero(np.imag(values) >= 0)
    planes = []
    for i in kept:
        columns = (
            np.stack([np.real(right[:, i]), np.imag(right[:, i])], 1)
            if np.imag(values[i])
            else np.real(right[:, [i]])
        )
        planes.append(np.linalg.qr(columns)[0])
    leader = int(np.argmax(np.abs(1 + values[kept])))
    share = [
        [[np.sum((q.T @ t) ** 2) / (t @ t) for t in tokens] for q in planes] for tokens in (x, y)
    ]
    enrichment = np.mean(share, axis=2) * DIM / np.array([q.shape[1] for q in planes])
    ratio = enrichment[1] / enrichment[0]
    means = [
        np.stack([tokens[passage == s].mean(0) for s in np.unique(passage)]) for tokens in (x, y)
    ]
    energy = [[np.mean(np.abs(mean @ left[:, i].conj()) ** 2) for i in kept] for mean in means]
    gain = 0.5 * np.log(np.divide(energy[1], energy[0]))
    bare = np.array(
        [[bare_share(tokens, q) * DIM / q.shape[1] for q in planes] for tokens in (x, y)]
    )
    growth = np.log(np.abs(1 + values[kept]))
    return {
        "cosine_before": np.mean(np.sqrt(share[0][leader])),
        "cosine_after": np.mean(np.sqrt(share[1][leader])),
        "enrichment_before": enrichment[0, leader],
        "enrichment_after": enrichment[1, leader],
        "ratio": ratio[leader],
        "percentile": ranked(ratio, leader),
        "share_percentile_before": ranked(enrichment[0], leader),
        "share_percentile_after": ranked(enrichment[1], leader),
        "centred_before": bare[0, leader],
        "centred_after": bare[1, leader],
        "centred_percentile": ranked(bare[1], leader),
        "participation": planes[leader].shape[1] / np.sum(np.sum(planes[leader] ** 2, 1) ** 2),
        "gain_rho": stats.spearmanr(gain, growth)[0],
        "gain_slope": np.polyfit(growth, gain, 1)[0],
    }


@pytest.mark.parametrize("seed", range(6))
def test_every_statistic_is_its_definition(seed):
    passage, x = passages_of(seed)
    matrix = general(10 + seed)
    written = uniform(matrix, passage, x) + 0.5 * np.random.default_rng(seed).standard_normal(
        x.shape
    )
    # order of tokens and batches do not matter
    shuffled = np.random.default_rng(seed).permutation(len(x))
    parts = np.array_split(shuffled, 3)
    run = played(*(state(0, x[part], written[part], passage[part]) for part in parts))
    still = played(state(0, x[::-1], 0 * x, passage[::-1]))  # a control, in another order
    (layer,) = align(
        [planted(matrix)], run, passages=30, resamples=99, draws=99, controls={"no_values": still}
    ).layers
    for name, expected in naive(matrix, passage, x, x + written).items():
        assert layer[name].value == pytest.approx(expected, rel=1e-9), name
    for name, same in (
        ("no_values_after", "enrichment_before"),
        ("no_values_centred", "centred_before"),
    ):
        assert layer[name].value == pytest.approx(layer[same].value, rel=1e-9)
        assert (layer[name].low, layer[name].high) == pytest.approx(
            (layer[same].low, layer[same].high), rel=1e-9
        )
    assert layer["no_feed_forward_after"].value is None


def test_random_tokens_have_enrichment_one_within_sigmas():
    """Isotropic tokens: a share is Beta(k/2, (d - k)/2), so enrichment has variance 2 (d - k)/(k
    (d + 2)) / N.
    """
    rng = np.random.default_rng(7)
    count = 4000
    passage, x = np.arange(count) % 50, rng.standard_normal((count, DIM))
    matrices = [general(seed, angle=0.3 if seed < 26 else 2.0) for seed in range(20, 32)]
    found = align(
        [planted(matrix) for matrix in matrices],
        played(*(state(layer, x, rng.standard_normal(x.shape), passage) for layer in range(12))),
        passages=50,
        resamples=99,
        draws=99,
    )
    assert {layer.flag for layer in found.layers} == {"positive", "complex"}
    for layer in found.layers:
        k = 2 if layer.flag == "complex" else 1
        sigma = np.sqrt(2 * (DIM - k) / (k * (DIM + 2)) / count)
        for name in ("enrichment_before", "enrichment_after"):
            assert abs(number(layer[name])[0] - 1) < 4 * sigma, (name, layer[name])
        # one head is the layer
        assert layer["cosine_before"].value == layer.heads[0].statistics["cosine_before"].value


def test_a_vector_that_all_tokens_share_is_in_the_share_and_not_in_the_centred_one():
    """Isotropic tokens plus a constant along the leader, and the null of random directions
    centred likewise.
    """
    rng = np.random.default_rng(21)
    matrix = np.diag([1.0, *np.linspace(-0.5, 0.5, DIM - 1)])
    count = 4000
    x = rng.standard_normal((count, DIM))
    x[:, 0] += 3.0
    run = played(state(0, x, 0 * x, np.arange(count) % 50))
    (layer,) = align([planted(matrix)], run, passages=50, resamples=99, draws=99).layers
    u = x / np.linalg.norm(x, axis=1, keepdims=True)
    assert number(layer["enrichment_after"])[0] > 4
    assert number(layer["centred_after"])[0] == pytest.approx(
        DIM * u[:, 0].var() / u.var(0).sum(), rel=1e-6
    )
    # on the sphere the spread is across the common direction
    assert number(layer["centred_after"])[0] < 1
    drawn = layer["centred_after"].nulls["random"]
    assert abs(drawn.mean - 1) < 0.1
    assert layer["participation"].value == pytest.approx(1)
    assert layer["share_percentile_after"].value == 100


def test_tokens_that_are_all_alike_have_no_centred_share():
    x = np.tile(np.arange(1.0, DIM + 1), (40, 1))
    run = played(state(0, x, 0 * x, np.arange(40) % 10))
    (layer,) = align([planted(general(3))], run, passages=10, resamples=99, draws=99).layers
    assert layer["enrichment_after"].value is not None
    for name in ("centred_before", "centred_after", "centred_percentile"):
        assert (layer[name].value, layer[name].reason) == (None, ALIKE)


def test_participation_counts_coordinates():
    """1 for axes and planes of axes; d/k where all have the same part; (d + 2)/(k + 2) for
    random ones, in the mean.
    """
    axes = Subspaces(np.eye(DIM)[:, :1], np.eye(DIM)[:, 1:2])
    assert axes.participation() == pytest.approx([1])
    assert axes.lines().participation() == pytest.approx([1])
    assert spanned(np.ones((DIM, 1))).participation() == pytest.approx([DIM])
    planes = random_planes(np.random.default_rng(22), DIM, 20000)
    for k, found in ((2, planes), (1, planes.lines())):
        inverse = 1 / found.participation()
        assert abs(inverse.mean() - (k + 2) / (DIM + 2)) < 4 * inverse.std() / np.sqrt(20000)


def test_a_cosine_can_rise_where_enrichment_does_not():
    """One token in 16 along v, then every token with cos^2 = 1/16: mean |cos| goes from 1/16 to
    1/4.
    """
    matrix = np.diag([1.0, *np.zeros(DIM - 1)])
    count = 16 * 10
    rest = np.random.default_rng(8).standard_normal((count, DIM))
    rest[:, 0] = 0
    rest /= np.linalg.norm(rest, axis=1, keepdims=True)
    along = np.eye(DIM)[[0] * count]
    before = np.where(np.arange(count)[:, None] % 16 == 0, along, rest)
    after = np.sqrt(1 / 16) * along + np.sqrt(15 / 16) * rest
    run = played(state(0, before, after - before, np.arange(count) // 16))
    (layer,) = align([planted(matrix)], run, passages=10, resamples=99, draws=99).layers
    assert layer["cosine_before"].value == pytest.approx(1 / 16)
    assert layer["cosine_after"].value == pytest.approx(1 / 4)
    assert layer["enrichment_before"].value == pytest.approx(1)
    assert layer["ratio"].value == pytest.approx(1)


def test_uneven_tokens_are_not_taken_for_alignment():
    """Tokens that collapse onto one direction, and 80 layers that know nothing of it: ratios far
    from 1, p uniform.
    """
    rng = np.random.default_rng(9)
    passage, x = passages_of(9, count=60)
    common, layers = rng.standard_normal(DIM), 80
    found = align(
        [planted(general(100 + seed)) for seed in range(layers)],
        played(*(state(layer, x, 5 * common - 0.8 * x, passage) for layer in range(layers))),
        passages=60,
        resamples=99,
        draws=199,
    )
    ratios = np.array([number(layer["ratio"])[0] for layer in found.layers])
    assert np.mean((ratios > 1.5) | (ratios < 1 / 1.5)) > 0.5
    single = np.array([layer["ratio"].nulls["random"].p for layer in found.layers])
    sigma = np.sqrt(0.05 * 0.95 / layers)
    assert abs(np.mean(single <= 0.05) - 0.05) < 4 * sigma
    assert stats.kstest(single, "uniform").pvalue > 1e-3
    adjusted = np.array([layer["ratio"].nulls["random"].p_adjusted for layer in found.layers])
    assert (adjusted >= single).all()
    assert np.mean(adjusted <= 0.05) <= 2 / layers


def test_intervals_are_those_of_resampled_passages():
    """Against the delta method for a ratio of sums: the width of an interval is 2 x 1.96
    standard errors.
    """
    passage, x = passages_of(11, count=200)
    run = played(state(0, x, np.zeros_like(x), passage))
    (layer,) = align([planted(general(12))], run, passages=200, resamples=4000, draws=99).layers
    q = principal(Operator(left=general(12), right=np.eye(DIM)), Growth(1.0)).plane()
    share = np.sum((x @ q) ** 2, 1) / np.sum(x**2, 1) * DIM / q.shape[1]
    totals, counts = np.bincount(passage, share), np.bincount(passage)
    residual = totals - share.mean() * counts
    error = np.sqrt(np.sum(residual**2)) / len(x)
    _, low, high = number(layer["enrichment_before"])
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert layer["ratio"].low == layer["ratio"].high == 1


def test_resampling_draws_whole_passages():
    weights = resampled(40, seed=0, resamples=5000)
    np.testing.assert_array_equal(weights[0], 1)
    np.testing.assert_array_equal(weights.sum(1), 40)
    assert weights[1:].var() == pytest.approx(1 - 1 / 40, abs=4 * np.sqrt(2 / 2e5))
    np.testing.assert_array_equal(weights, resampled(40, seed=0, resamples=5000))


def test_random_planes_are_uniform():
    """Shares of a fixed vector: mean k/d and variance 2 k (d - k)/(d^2 (d + 2)); planes are
    orthonormal.
    """
    planes = random_planes(np.random.default_rng(13), DIM, 20000)
    np.testing.assert_allclose(np.sum(planes.first * planes.second, 0), 0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(planes.second, axis=0), 1)
    x = np.ones((1, DIM))
    for k, shares in ((2, planes.shares(x)[0]), (1, spanned(planes.first).shares(x)[0])):
        variance = 2 * k * (DIM - k) / (DIM**2 * (DIM + 2))
        assert abs(shares.mean() - k / DIM) < 4 * np.sqrt(variance / 20000)
        assert shares.var() == pytest.approx(variance, rel=0.06)


def test_adjusted_p_values_keep_the_level_over_all_tests():
    """20 true nulls, 400 times: at least one p below 0.05 in 5 % of them (sigma = 1.1 %); single
    ones would be 64 %.
    """
    rng = np.random.default_rng(14)
    hits = 0
    for _ in range(400):
        draws = np.exp(rng.standard_normal((20, 200)))
        hits += max_statistic("ratio", np.exp(rng.standard_normal(20)), draws[:, 1:]).min() <= 0.05
    assert abs(hits / 400 - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 400)


def test_a_null_says_how_far_and_how_often():
    draws = np.linspace(0.5, 1.5, 999)
    null = from_draws("gain_slope", 1.4, draws, kind="random", p_adjusted=0.5)
    assert null is not None
    assert null.p == pytest.approx((1 + np.count_nonzero(draws >= 1.4)) / 1000)
    assert null.sigmas == pytest.approx((1.4 - draws.mean()) / draws.std(ddof=1))
    logarithmic = from_draws("ratio", 1.4, draws, kind="random")
    assert logarithmic is not None
    assert logarithmic.sigmas == pytest.approx(
        (np.log(1.4) - np.log(draws).mean()) / np.log(draws).std(ddof=1)
    )
    few = from_draws("gain_rho", 1.0, np.array([0.1, 0.2]), kind="other_layers")
    assert few is not None
    assert (few.p, few.sigmas, few.low, few.high) == (None, None, 0.1, 0.2)
    assert from_draws("gain_rho", 1.0, np.array([np.nan]), kind="other_layers") is None


def test_a_copy_is_compared_on_the_same_resampled_passages():
    rng = np.random.default_rng(15)
    common = rng.standard_normal(5001)
    model, copy = 2 + common, 1 + common + 0.1 * rng.standard_normal(5001)
    model[0], copy[0] = 2, 1
    null = from_copy("gain_slope", model, copy)
    assert null is not None
    assert null.sigmas == pytest.approx(10, rel=0.05)  # the common part cancels
    assert null.mean == 1


def test_the_null_of_gains_holds_its_level_where_tokens_know_nothing_of_the_layer():
    """Left vectors of a Gaussian F are far from orthogonal; 80 layers of 199 draws, 4 sigmas of
    a binomial.
    """
    rng, below, tried = np.random.default_rng(5), np.zeros(2), 80
    for _ in range(tried):
        modes = modes_of(Operator(left=rng.standard_normal((DIM, DIM)) / 8, right=np.eye(DIM)))
        assert modes is not None
        before = rng.standard_normal((40, DIM)).cumsum(0)
        means = np.stack([before, before @ rng.standard_normal((DIM, DIM))])
        expected = log_growth(modes.values, Growth(shift=1.0, scale=1.0))
        own = relation(gains(energies(modes.left, means), np.ones((1, 40))), expected)
        drawn = relation(rotated_gains(modes.left, means, rng, 199), expected)
        below += [
            np.mean(np.abs(null - np.median(null)) >= abs(one[0] - np.median(null))) < 0.2
            for one, null in zip(own, drawn, strict=True)
        ]
    assert np.all(abs(below / tried - 0.2) < 4 * np.sqrt(0.2 * 0.8 / tried)), below / tried


def test_rotated_gains_at_no_rotation_are_the_gains(monkeypatch):
    rng = np.random.default_rng(6)
    modes = modes_of(Operator(left=rng.standard_normal((DIM, DIM)) / 8, right=np.eye(DIM)))
    assert modes is not None
    means = rng.standard_normal((2, 30, DIM))

    still = {
        "choice": lambda self, values, size: np.ones(size, np.float32),
        "permutation": lambda self, size: np.arange(size),
    }
    monkeypatch.setattr("scipy.stats.ortho_group.rvs", lambda dim, random_state: np.eye(dim))
    found = rotated_gains(
        modes.left, means, type("Still", (np.random.Generator,), still)(np.random.PCG64()), 2
    )
    assert np.allclose(found, gains(energies(modes.left, means), np.ones((1, 30))), atol=1e-4)
