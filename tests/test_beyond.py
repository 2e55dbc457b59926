"""Training beyond the paper: each claim has its recorded verdict, and what it measures agrees
with naive programs.
"""

import math

import numpy as np
import pytest

from documented import REPEATED, compare
from documented import of as repeated_of
from eigenloop.claims import Claim, Effort, Finding
from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES as TASK_2
from eigenloop.theory.claims import optimisers, stability, training
from eigenloop.theory.landscape import Landscape, minimum
from eigenloop.theory.population import LayerwiseLinear
from test_theory_optimisers import MODELS, TABLE, exponent, shift_in_table

QUICK = Effort(quick=True)
CLAIMS = {claim.id: claim for module in (training, optimisers) for claim in module.ledger.claims}
CLAIMS |= {
    claim.id: claim
    for claim in stability.ledger.claims
    if not claim.id.startswith("beyond.stability")
}
FOUND: dict[str, Finding] = {}


def found(id: str) -> Finding:
    """The quick finding, measured once for all tests."""
    if id not in FOUND:
        FOUND[id] = CLAIMS[id].measure(QUICK)
    return FOUND[id]


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=list(CLAIMS))
def test_a_claim_has_its_recorded_verdict(claim: Claim) -> None:
    """Mutants name this test alone, so that what they turn is the verdict."""
    finding = found(claim.id)
    assert finding.kind == claim.expected_verdict, finding
    assert finding.justification


@pytest.mark.parametrize("id", sorted({each.claim for each in REPEATED} & set(CLAIMS)))
def test_the_docs_repeat_what_it_measures(id: str) -> None:
    for each in repeated_of(id):
        compare(each, found(id))


# --- momentum


def test_the_looped_clock_runs_down_by_the_claimed_steps_per_log_t() -> None:
    """Step by step from 2e6 to 2e7 steps, by another program: -2.97 per unit of log t, though
    still ahead.
    """
    early, late = (shift_in_table("looped", step) for step in (2_000_000, 20_000_000))
    assert 45 < late < early < 55
    claimed = float(found("beyond.momentum.clock.looped").expected)  # pyright: ignore[reportArgumentType]
    assert (late - early) / math.log(10) == pytest.approx(claimed, rel=2e-3)


def test_one_layers_clock_changes_its_sign_and_then_falls_like_the_cube_root() -> None:
    shifts = {
        step: shift_in_table("single", step) for step in (20_000, 200_000, 2_000_000, 20_000_000)
    }
    assert list(np.sign(list(shifts.values()))) == [1, -1, -1, -1]
    # t^(1/3) and the log t of inertia, (5/6) beta/(1 - beta) = 7.5; what is left out tends to a
    # constant
    claimed = float(found("beyond.momentum.clock.single").expected)  # pyright: ignore[reportArgumentType]
    predicted = claimed * (20_000_000 ** (1 / 3) - 2_000_000 ** (1 / 3)) + 7.5 * math.log(10)
    assert shifts[20_000_000] - shifts[2_000_000] == pytest.approx(predicted, rel=0.1)


@pytest.mark.parametrize(
    ("model", "kept"), [("looped", (0.0607, 0.9473)), ("single", (0.7565, 0.9863))]
)
def test_momentum_keeps_less_of_a2_minus_b2(model: str, kept: tuple[float, float]) -> None:
    for rule, value in zip(("momentum", "plain"), kept, strict=True):
        a, b = TABLE[model, rule][20_000_000]
        assert a**2 - b**2 == pytest.approx(value, abs=1e-4)


# --- Adam


@pytest.mark.parametrize(
    ("model", "power", "decades", "ends"),
    [
        (
            "looped",
            3,
            {3_000_000: 0.302, 10_000_000: 0.268},
            {3_000_000: 0.2677, 10_000_000: 0.2568},
        ),
        (
            "single",
            5,
            {3_000_000: 0.177, 10_000_000: 0.170},
            {3_000_000: 0.1698, 10_000_000: 0.1677},
        ),
    ],
)
def test_adams_exponents_come_back(
    model: str, power: int, decades: dict[int, float], ends: dict[int, float]
) -> None:
    """The numbers of docs/theory/beyond.md, and (1 + u/(p + 1))/(1 + u), u = eps/|g|: x' = eta
    |g|/(|g| + eps).
    """
    for last, value in decades.items():
        assert exponent(model, "adam", last // 10, last) == pytest.approx(value, abs=1e-3)
    for last, value in ends.items():
        local = exponent(model, "adam", round(0.97 * last), last)
        assert local == pytest.approx(value, abs=2e-4)
        a, b = TABLE[model, "adam"][round(0.97 * last)]
        constant = {"looped": 0.0459631049811908, "single": 2 * 0.0475842379002149}[model] / 16
        u = 1e-8 * math.sqrt(a * b) ** power / constant
        assert local == pytest.approx(
            (1 + u / (power + 1)) / (1 + u), rel=power * math.log(last) * 1_000 / last + 0.005
        )
    assert ends[10_000_000] > 1 / (power + 1)


@pytest.mark.parametrize("model", MODELS)
def test_without_epsilon_adams_steps_tend_to_the_learning_rate(model: str) -> None:
    """Between half and all of 1e5 steps, by another program: what the claim measures."""
    (a, b), (later_a, later_b) = TABLE[model, "adam0"][50_119], TABLE[model, "adam0"][100_000]
    measured = np.array(found("beyond.adam.linear").measured).reshape(2, 2)[MODELS.index(model)]
    np.testing.assert_allclose(
        measured, np.array([later_a - a, later_b - b]) / 49_881 / 1e-3, rtol=1e-6
    )
    latest, last = TABLE[model, "adam0"][970_000][0], TABLE[model, "adam0"][1_000_000][0]
    assert 0.99 < (last - latest) / 3e4 / 1e-3 < 1


# --- chaos


def test_sgd_written_out_is_chaotic_and_grows_gamma_like_the_root() -> None:
    """Batches of 128 at rate 0.1 in float64, with NumPy's draws and the L normalised loops one
    after the other.
    """
    import jax
    import jax.numpy as jnp

    values, dim, steps = np.array(TASK_2, dtype=np.float64), 16, 1_000

    def loss(pair: jax.Array, grams: jax.Array, tops: jax.Array, queries: jax.Array) -> jax.Array:
        q = queries
        for _ in range(10):
            q = q + jnp.einsum("ij,kjl,lm,km->ki", pair[0], grams, pair[1], q)
            q = q / jnp.linalg.norm(q, axis=1, keepdims=True)
        return jnp.mean(1 - jnp.sum(tops * q, axis=1) ** 2)

    with jax.enable_x64(True):

        @jax.jit
        def both(pairs: jax.Array, normal: jax.Array, queries: jax.Array) -> jax.Array:
            frames = jnp.linalg.qr(normal)[0]
            grams = jnp.einsum("kij,j,klj->kil", frames, values, frames)
            q = queries / jnp.linalg.norm(queries, axis=1, keepdims=True)
            return pairs - 0.1 * jax.vmap(jax.grad(loss), (0, None, None, None))(
                pairs, grams, frames[:, :, 0], q
            )

        rng, start = np.random.default_rng(7), np.stack([np.eye(dim), np.zeros((dim, dim))])
        pairs = np.stack([start, start + 1e-9 * rng.standard_normal((2, dim, dim))])
        logs, gammas = [], []
        for _ in range(steps):
            normal, queries = rng.standard_normal((128, dim, dim)), rng.standard_normal((128, dim))
            pairs = np.array(both(jnp.asarray(pairs), jnp.asarray(normal), jnp.asarray(queries)))
            apart = pairs[1] - pairs[0]
            logs.append(math.log(np.linalg.norm(apart) / 1e-9))
            pairs[1] = pairs[0] + apart * (1e-9 / np.linalg.norm(apart))
            gammas.append(np.trace(pairs[0, 0] @ pairs[0, 1]) / dim)
    blocks = np.array(logs[50:]).reshape(-1, 10).mean(1)
    assert blocks.mean() > 4 * blocks.std(ddof=1) / math.sqrt(len(blocks))
    late = np.arange(steps // 10, steps + 1)
    slope = np.polyfit(np.log(late), np.log(gammas[steps // 10 - 1 :]), 1)[0]
    assert abs(slope - 1 / 2) < 1 / 12
    # 0.008 between runs
    assert slope == pytest.approx(found("beyond.chaos.exponent").measured, abs=0.04)


# --- the split


def test_drawn_samples_have_the_split_minimums_loss() -> None:
    """NumPy's draws and the loss written out, 4 standard errors; f* is many more away."""
    setting = LayerwiseLinear(TASK_2)
    best, values, size = (
        minimum(Landscape.of(setting), starts=4),
        np.array(TASK_2, dtype=np.float64),
        50_000,
    )
    rng = np.random.default_rng(3)
    frames, q = (
        np.linalg.qr(rng.standard_normal((size, 16, 16)))[0],
        rng.standard_normal((size, 16)),
    )
    q /= np.linalg.norm(q, axis=1, keepdims=True)

    def image(x: np.ndarray) -> np.ndarray:
        return np.einsum("kij,kj->ki", frames, values * np.einsum("kji,kj->ki", frames, x))

    v = image(q)
    losses = np.sum(
        (q + image(q @ best.b.T) @ best.a.T - v / np.linalg.norm(v, axis=1, keepdims=True)) ** 2,
        axis=1,
    )
    error = losses.std() / math.sqrt(size)
    assert abs(losses.mean() - best.loss) < 4 * error
    assert losses.mean() + 20 * error < float(setting.floor().value)
    for matrix in (best.a, best.b):
        eigenvalues = np.sort(np.linalg.eigvalsh((matrix + matrix.T) / 2))
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-5)
        assert (
            max(np.ptp(eigenvalues[:8]), np.ptp(eigenvalues[8:])) < 1e-5 < np.diff(eigenvalues)[7]
        )
