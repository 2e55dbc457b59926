"""What goes further than arXiv 2606.00605, as claims: sharpness, chaos, finite samples.

Task 2 (d = 16, n = 32, the default multiplicities), so that every expectation is exact.
"""

import math
from collections.abc import Sequence

import numpy as np

from eigenloop.claims import Curve, Effort, Finding, Ledger, Plot, every, within
from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES
from eigenloop.theory.claims.theorems import LOOPED, LOOPS, RATE
from eigenloop.theory.dynamics import long_run, recursion
from eigenloop.theory.stability import hessian, sharpness

ledger = Ledger("arXiv 2606.00605")

TRANSIENT, BLOCK = 50, 10
"""Steps in which a random difference turns into the one that grows most, left out; steps to a
block.
"""


# --- sharpness and chaos


@ledger.claim(
    "beyond.sharpness.population",
    "At learning rate 0.1 the largest population Hessian eigenvalue stays below 2/learning rate"
    " along the whole path.",
    place="cf. Section 5",
    provenance="ours",
)
def population_sharpness(effort: Effort) -> Finding:
    path = long_run(LOOPED, learning_rate=RATE, steps=effort.pick(1_000, 1_000_000))
    values = [
        sharpness(hessian(LOOPED, a=float(a), b=float(b)))
        for a, b in zip(path.a, path.b, strict=True)
    ]
    top = max(values)
    return Finding(
        "holds" if top < 2 / RATE else "fails",
        top,
        f"below {2 / RATE:g}",
        None,
        "exact integrals, error below 1e-9",
        numbers={"largest stable learning rate on this path": 2 / top},
        plot=Plot(
            [
                Curve("sharpness", path.steps[1:], values[1:]),
                Curve("2 / learning rate", [1, float(path.steps[-1])], [2 / RATE] * 2),
            ],
            "step",
            "sharpness",
        ),
    )


@ledger.claim(
    "beyond.chaos",
    "At learning rate 0.1 SGD on batches of 128 is chaotic, far as population gradient descent is"
    " from the edge of stability: under the same batches a difference in a last digit grows from"
    " step to step.",
    place="cf. Section 5",
    provenance="ours",
)
def chaos(effort: Effort) -> Finding:
    logs = _growth_of_a_difference((0.1, 0.01), effort)
    growth = {rate: math.exp(float(found.mean())) for rate, found in logs.items()}
    blocks = logs[RATE].reshape(-1, BLOCK).mean(1)
    error = float(blocks.std(ddof=1) / math.sqrt(len(blocks)))
    curvature, of_population = _batch_curvature(effort), sharpness(hessian(LOOPED, a=1.05, b=0.43))
    chaotic = blocks.mean() > 4 * error and of_population < 2 / RATE
    return Finding(
        "holds" if chaotic else "fails",
        growth[0.1],
        "above 1",
        None,
        f"a geometric mean over the steps, to 4 standard errors of its logarithm, {error:.2g}, from"
        f" blocks of {BLOCK}",
        numbers={
            "growth per step at 0.1": growth[0.1],
            "growth per step at 0.01": growth[0.01],
            "median |curvature| of a batch of 128 near step 100": curvature,
            "population's": of_population,
            "2 / learning rate": 2 / RATE,
        },
    )


@ledger.claim(
    "beyond.chaos.exponent",
    "Chaotic as it is at learning rate 0.1, SGD on L loops grows gamma like the t^(1/2) of Theorem"
    " 4.1, and not like the t^(1/3) of one layer.",
    place="cf. Thm 4.1",
    provenance="ours",
)
def chaos_exponent(effort: Effort) -> Finding:
    from eigenloop.lab.config import TrainConfig
    from eigenloop.lab.training import train

    steps = effort.pick(1_000, 10_000)
    config = TrainConfig.create(
        task="planted", fresh=True, test_size=100, steps=steps, learning_rate=RATE, seed=effort.seed
    )
    run, plain = train(config), recursion(LOOPED, learning_rate=RATE, steps=steps)
    late = np.asarray(run.steps) >= steps // 10
    at, found = (
        np.asarray(run.steps, np.float64)[late],
        np.asarray(run.metrics["gamma"], np.float64)[late, 0],
    )
    beside = np.exp(np.interp(np.log(at), np.log(plain.steps[1:]), np.log(plain.gamma[1:])))
    slopes = [
        float(np.polyfit(np.log(at), np.log(np.abs(gamma)), 1)[0]) for gamma in (found, beside)
    ]
    return within(
        measured=slopes[0],
        expected=1 / 2,
        tolerance=(1 / 2 - 1 / 3) / 2,
        relative=False,
        justification=(
            "half of what separates the two exponents, so that one is accepted and the other"
            " refused; one run, over the last decade of its steps"
        ),
        numbers={
            "steps": steps,
            "gamma at the end over the population's": float(found[-1] / beside[-1]),
            "exponent of the population over the same steps": slopes[1],
        },
        plot=Plot(
            [Curve("SGD", at, found, points=True), Curve("population", at, beside)], "step", "gamma"
        ),
    )


# --- finite samples


@ledger.claim(
    "beyond.finite_samples",
    "Trained on finitely many samples the training loss ends under f_inf and the test loss above"
    " it; their gap narrows with more samples.",
    place="cf. Thm 4.1",
    provenance="ours",
)
def finite_samples(effort: Effort) -> Finding:
    from eigenloop.lab.config import TrainConfig
    from eigenloop.lab.training import train

    sizes = (640, 5_120) if effort.quick else (640, 1_280, 2_560, 5_120, 10_240)
    limit, rows, earlier = float(LOOPED.limit_loss().value), [], []
    for size in sizes:
        config = TrainConfig.create(
            task="planted",
            train_size=size,
            test_size=4_000,
            steps=effort.pick(3_000, 20_000),
            learning_rate=RATE,
            seed=effort.seed,
        )
        run = train(config)
        rows.append(
            (float(run.metrics["train_loss"][-1, 0]), float(run.metrics["test_loss"][-1, 0]))
        )
        at = [
            int(np.argmin(abs(np.asarray(run.steps) - run.steps[-1] / share)))
            for share in (100, 10)
        ]
        earlier.append(
            [float(run.metrics["test_loss"][i, 0] - run.metrics["train_loss"][i, 0]) for i in at]
        )
    training, test = np.array(rows).T
    gaps = test - training
    exponent = float(np.polyfit(np.log(sizes), np.log(gaps), 1)[0]) if min(gaps) > 0 else None
    checks = [*(training < limit), *(test > limit), *(np.diff(gaps) < 0)]
    return every(
        int(np.sum(checks)),
        len(checks),
        justification="inequalities; the losses differ from f_inf by many standard errors",
        numbers={
            "f_inf": limit,
            "samples": list(sizes),
            "training loss": training.tolist(),
            "test loss": test.tolist(),
            "exponent of the gap in the number of samples": exponent,
            "steps": effort.pick(3_000, 20_000),
            "gap after a hundredth of the steps": [gap for gap, _ in earlier],
            "after a tenth": [gap for _, gap in earlier],
            "at the end": gaps.tolist(),
        },
        plot=Plot(
            [
                Curve("training", sizes, training, points=True),
                Curve("test", sizes, test, points=True),
                Curve("f_inf", sizes, [limit] * len(sizes)),
            ],
            "training samples",
            "loss",
        ),
    )


# --- what several share


def _growth_of_a_difference(rates: Sequence[float], effort: Effort) -> dict[float, np.ndarray]:
    """Logarithms, step by step, of what a tiny difference of A, B grows by under the same
    batches, for each learning rate (float64).
    """
    import jax
    import jax.numpy as jnp

    with jax.enable_x64(True):
        loss, draw = _batch_loss()

        @jax.jit
        def step(pair: jax.Array, key: jax.Array, rate: jax.Array) -> tuple[jax.Array, jax.Array]:
            """Both by one step; the second is then pulled back to a distance of 1e-10 from the
            first.
            """
            pair = pair - rate * jax.vmap(jax.grad(loss), (0, None))(pair, draw(key))
            apart = pair[1] - pair[0]
            size = jnp.linalg.norm(apart)
            return pair.at[1].set(pair[0] + apart * (1e-10 / size)), jnp.log(size / 1e-10)

        start = jnp.concatenate([jnp.eye(16).ravel(), jnp.zeros(256)])
        push = jnp.asarray(effort.generator(9).standard_normal(512))
        begin = jnp.stack([start, start + 1e-10 * push / jnp.linalg.norm(push)])
        logs: dict[float, list[float]] = {rate: [] for rate in rates}
        for rate, grown in logs.items():
            pair = begin
            for k in range(TRANSIENT + effort.pick(7, 45) * BLOCK):
                key = jax.random.fold_in(jax.random.key(effort.seed), k)
                pair, by = step(pair, key, jnp.asarray(rate))
                grown.append(float(by))
    return {rate: np.array(grown[TRANSIENT:]) for rate, grown in logs.items()}


def _batch_curvature(effort: Effort) -> float:
    """Median over batches of |largest eigenvalue| of the batch loss's Hessian, a hundred steps
    into training.
    """
    import jax
    import jax.numpy as jnp

    with jax.enable_x64(True):
        batch_loss, draw = _batch_loss()
        flat = jnp.concatenate([(1.05 * jnp.eye(16)).ravel(), (0.43 * jnp.eye(16)).ravel()])

        @jax.jit
        def curvature(key: jax.Array) -> jax.Array:
            batch = draw(key)

            def product(u: jax.Array) -> jax.Array:
                return jax.jvp(jax.grad(lambda v: batch_loss(v, batch)), (flat,), (u,))[1]

            u = jax.lax.fori_loop(
                0,
                40,
                lambda _, u: product(u) / jnp.linalg.norm(product(u)),
                jnp.ones(512) + jnp.arange(512) / 512,
            )
            return jnp.abs(u @ product(u))

        keys = jax.random.split(jax.random.key(effort.seed + 1), effort.pick(9, 31))
        return float(np.median([float(curvature(key)) for key in keys]))


def _batch_loss():
    """(flat A, B; batch) -> mean loss, and key -> batch of 128."""
    import jax.numpy as jnp

    from eigenloop.lab import problems
    from eigenloop.lab.blocks import TwoBlock
    from eigenloop.lab.objectives import EndToEnd as Looped

    task, objective = (
        problems.Rotated.planted(DEFAULT_MULTIPLICITIES, dim=16, samples=32),
        Looped(LOOPS),
    )

    def loss(flat, batch):
        a, b = flat.reshape(2, 16, 16)
        return jnp.mean(objective(TwoBlock(a=a, b=b, norm=True), batch))

    return loss, lambda key: problems.draw(task, key, 128)
