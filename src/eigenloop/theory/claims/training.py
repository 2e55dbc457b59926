"""What goes further than arXiv 2606.00605, as claims: sharpness, chaos, other optimisers, finite samples.

Task 2 (d = 16, n = 32, the default multiplicities), so that every expectation is exact.
"""

import math
from collections.abc import Callable

import numpy as np

from eigenloop.claims import Curve, Effort, Finding, Ledger, Plot, every, within
from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES
from eigenloop.theory.claims.theorems import LOOPED, LOOPS, RATE, SINGLE
from eigenloop.theory.dynamics import START, long_run, recursion, slope_function
from eigenloop.theory.population import EndToEnd, LayerwiseNorm
from eigenloop.theory.stability import hessian, sharpness

ledger = Ledger("beyond arXiv 2606.00605")


# --- sharpness and chaos


@ledger.claim(
    "beyond.sharpness.population",
    "At learning rate 0.1 the largest population Hessian eigenvalue stays below 2/learning rate along the whole path.",
    place="cf. Section 5",
    provenance="ours",
)
def population_sharpness(effort: Effort) -> Finding:
    path = long_run(LOOPED, learning_rate=RATE, steps=effort.pick(1_000, 1_000_000))
    values = [sharpness(hessian(LOOPED, a=float(a), b=float(b))) for a, b in zip(path.a, path.b, strict=True)]
    top = max(values)
    return Finding(
        "holds" if top < 2 / RATE else "fails", top, f"below {2 / RATE:g}", None, "exact integrals, error below 1e-9",
        numbers={"largest stable learning rate on this path": 2 / top},
        plot=Plot([Curve("sharpness", path.steps[1:], values[1:]),
                   Curve("2 / learning rate", [1, float(path.steps[-1])], [2 / RATE] * 2)], "step", "sharpness"),
    )  # fmt: skip


@ledger.claim(
    "beyond.chaos",
    "At learning rate 0.1 SGD on batches of 128 is not chaotic: two runs that differ in a last digit stay together.",
    place="cf. Section 5",
    provenance="ours",
    expected_verdict="fails",
)
def chaos(effort: Effort) -> Finding:
    growth = {rate: _growth_of_a_difference(rate, effort) for rate in (0.1, 0.01)}
    curvature, of_population = _batch_curvature(effort), sharpness(hessian(LOOPED, a=1.05, b=0.43))
    kind = "holds" if growth[0.1] < 1 else "fails"
    return Finding(
        kind, growth[0.1], "at most 1", None, "a geometric mean over the steps; 1 is neither growth nor decay",
        note="" if kind == "holds" else f"a difference grows by {growth[0.1]:.2f} a step; near step 100 the "
        f"median |curvature| of a batch is {curvature:.0f}, the population's {of_population:.2f}",
        numbers={
            "growth per step at 0.1": growth[0.1], "growth per step at 0.01": growth[0.01],
            "median |curvature| of a batch of 128 near step 100": curvature,
            "population's": of_population, "2 / learning rate": 2 / RATE,
        },
    )  # fmt: skip


@ledger.claim(
    "beyond.chaos.exponent",
    "Chaotic as it is at learning rate 0.1, SGD grows gamma with the exponent of population gradient descent over the "
    "same steps.",
    place="cf. Thm 4.1",
    provenance="ours",
)
def chaos_exponent(effort: Effort) -> Finding:
    from eigenloop.lab.training import TrainConfig, train

    steps = effort.pick(1_000, 10_000)
    config = TrainConfig.create(
        task="planted", fresh=True, test_size=100, steps=steps, learning_rate=RATE, seed=effort.seed
    )
    run, plain = train(config), recursion(LOOPED, learning_rate=RATE, steps=steps)
    late = np.asarray(run.steps) >= steps // 10
    at, found = np.asarray(run.steps, np.float64)[late], np.asarray(run.metrics["gamma"], np.float64)[late, 0]
    beside = np.exp(np.interp(np.log(at), np.log(plain.steps[1:]), np.log(plain.gamma[1:])))
    slope, expected = _late_exponent(np.column_stack([at, found])), _late_exponent(np.column_stack([at, beside]))
    return within(
        measured=slope, expected=expected, tolerance=(1 / 2 - 1 / 3) / 2, relative=False,
        justification="half of what separates the exponent 1/2 of L loops from the 1/3 of one layer; one run",
        numbers={"steps": steps, "gamma at the end over the population's": float(found[-1] / beside[-1]),
                 "exponent for t to infinity": 0.5},
        plot=Plot([Curve("SGD", at, found, points=True), Curve("population", at, beside)], "step", "gamma"),
    )  # fmt: skip


# --- optimisers


@ledger.claim(
    "beyond.momentum",
    "Heavy-ball momentum beta only shifts the clock of plain gradient descent at learning rate eta/(1 - beta): their "
    "relative difference falls like 1/t.",
    place="cf. Thms 4.1 and 4.3",
    provenance="ours",
)
def momentum(effort: Effort) -> Finding:
    steps, beta = 200_000, 0.9
    falls, slopes, shifts, curves = [], [], [], []
    for name, setting in (("looped", LOOPED), ("one layer", SINGLE)):
        path = _path_of(setting, _heavy_ball(RATE, beta), steps)
        plain = _path_of(setting, _heavy_ball(RATE / (1 - beta), 0.0), steps)
        apart = abs(path[:, 1] / plain[:, 1] - 1)
        falls.append(_late_exponent(np.column_stack([path[:, 0], apart])))
        slopes += [_late_exponent(path), _late_exponent(plain)]
        shifts.append(float(apart[-1] * steps / slopes[-1]))
        curves.append(Curve(name, path[:, 0], apart))
    return within(
        measured=max(falls, key=lambda fall: abs(fall + 1)), expected=-1.0, tolerance=0.1,
        justification="the shift may still change by a quarter over the decade, 10^0.1, as the power laws settle",
        numbers={
            "exponent of the difference, looped and one layer": falls, "shift of the clock, steps": shifts,
            "exponents over the last decade, momentum and plain, looped": slopes[:2], "one layer": slopes[2:],
        },
        plot=Plot(curves, "step", "relative difference of gamma^(1/2)"),
    )  # fmt: skip


@ledger.claim(
    "beyond.adam",
    "Adam keeps the exponents 1/4 and 1/6 of a and b.",
    place="cf. Thms 4.1 and 4.3",
    provenance="ours",
    expected_verdict="fails",
)
def adam(effort: Effort) -> Finding:
    steps = effort.pick(20_000, 200_000)
    slopes = [_late_exponent(_path_of(setting, _adam(1e-3), steps)) for setting in (LOOPED, SINGLE)]
    off = max(abs(slopes[0] - 1 / 4) * 4, abs(slopes[1] - 1 / 6) * 6)
    return Finding(
        "holds" if off < 0.2 else "fails", slopes, [1 / 4, 1 / 6], 0.2, "the relative deviation of either exponent",
        note="" if off < 0.2 else f"over the last decade of {steps:,} steps at 0.001 they are {slopes[0]:.2f} and "
        f"{slopes[1]:.2f}: a step of Adam does not shrink with the gradient",
        numbers={"steps": steps},
    )  # fmt: skip


# --- finite samples


@ledger.claim(
    "beyond.finite_samples",
    "Trained on finitely many samples the training loss ends under f_inf and the test loss above it; their gap narrows "
    "with more samples.",
    place="cf. Thm 4.1",
    provenance="ours",
)
def finite_samples(effort: Effort) -> Finding:
    from eigenloop.lab.training import TrainConfig, train

    sizes = (640, 5_120) if effort.quick else (640, 1_280, 2_560, 5_120, 10_240)
    limit, rows, earlier = float(LOOPED.limit_loss().value), [], []
    for size in sizes:
        config = TrainConfig.create(
            task="planted", train_size=size, test_size=4_000, steps=effort.pick(3_000, 20_000), learning_rate=RATE,
            seed=effort.seed,
        )  # fmt: skip
        run = train(config)
        rows.append((float(run.metrics["train_loss"][-1, 0]), float(run.metrics["test_loss"][-1, 0])))
        at = [int(np.argmin(abs(np.asarray(run.steps) - run.steps[-1] / share))) for share in (100, 10)]
        earlier.append([float(run.metrics["test_loss"][i, 0] - run.metrics["train_loss"][i, 0]) for i in at])
    training, test = np.array(rows).T
    gaps = test - training
    exponent = float(np.polyfit(np.log(sizes), np.log(gaps), 1)[0])
    checks = [*(training < limit), *(test > limit), *(np.diff(gaps) < 0)]
    return every(
        int(np.sum(checks)), len(checks),
        justification="inequalities; the losses differ from f_inf by many standard errors",
        numbers={
            "f_inf": limit, "samples": list(sizes), "training loss": training.tolist(), "test loss": test.tolist(),
            "exponent of the gap in the number of samples": exponent, "steps": effort.pick(3_000, 20_000),
            "gap after a hundredth of the steps": [gap for gap, _ in earlier],
            "after a tenth": [gap for _, gap in earlier], "at the end": gaps.tolist(),
        },
        plot=Plot([Curve("training", sizes, training, points=True), Curve("test", sizes, test, points=True),
                   Curve("f_inf", sizes, [limit] * len(sizes))], "training samples", "loss"),
    )  # fmt: skip


# --- what several share


def _growth_of_a_difference(rate: float, effort: Effort) -> float:
    """Geometric mean, per step, by which a tiny difference of A, B grows under the same batches (float64)."""
    import jax
    import jax.numpy as jnp

    with jax.enable_x64(True):
        loss, draw = _batch_loss()

        @jax.jit
        def step(pair: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
            """Both by one step; the second is then pulled back to a distance of 1e-10 from the first."""
            pair = pair - rate * jax.vmap(jax.grad(loss), (0, None))(pair, draw(key))
            apart = pair[1] - pair[0]
            size = jnp.linalg.norm(apart)
            return pair.at[1].set(pair[0] + apart * (1e-10 / size)), jnp.log(size / 1e-10)

        start = jnp.concatenate([jnp.eye(16).ravel(), jnp.zeros(256)])
        push = jnp.asarray(effort.generator(9).standard_normal(512))
        pair, logs = jnp.stack([start, start + 1e-10 * push / jnp.linalg.norm(push)]), []
        for k in range(effort.pick(120, 500)):
            pair, grown = step(pair, jax.random.fold_in(jax.random.key(effort.seed), k))
            logs.append(float(grown))
    return math.exp(float(np.mean(logs[50:])))


def _batch_curvature(effort: Effort) -> float:
    """Median over batches of |largest eigenvalue| of the batch loss's Hessian, a hundred steps into training."""
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
                0, 40, lambda _, u: product(u) / jnp.linalg.norm(product(u)), jnp.ones(512) + jnp.arange(512) / 512
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

    task, objective = problems.Rotated.planted(DEFAULT_MULTIPLICITIES, dim=16, samples=32), Looped(LOOPS)

    def loss(flat, batch):
        a, b = flat.reshape(2, 16, 16)
        return jnp.mean(objective(TwoBlock(a=a, b=b, norm=True), batch))

    return loss, lambda key: problems.draw(task, key, 128)


Step = Callable[[float, float, int], tuple[float, float]]


def _path_of(setting: EndToEnd | LayerwiseNorm, move: Step, steps: int) -> np.ndarray:
    """(step, gamma^{1/2}) along the last decade of a path with another optimiser."""
    slope, (a, b), rows = slope_function(setting), START, []
    for step in range(1, steps + 1):
        g = slope(a * b) / setting.dim
        change = move(b * g, a * g, step)
        a, b = a + change[0], b + change[1]
        if step >= steps // 10 and step % (steps // 100) == 0:
            rows.append((step, math.sqrt(a * b)))
    return np.array(rows)


def _late_exponent(path: np.ndarray) -> float:
    logs = np.log(path)
    return float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])


def _heavy_ball(rate: float, beta: float) -> Step:
    velocity = [0.0, 0.0]

    def move(of_a: float, of_b: float, step: int) -> tuple[float, float]:
        velocity[0], velocity[1] = beta * velocity[0] - rate * of_a, beta * velocity[1] - rate * of_b
        return velocity[0], velocity[1]

    return move


def _adam(rate: float, first: float = 0.9, second: float = 0.999, epsilon: float = 1e-8) -> Step:
    """Kingma and Ba's rule; every diagonal entry moves alike."""
    m, v = [0.0, 0.0], [0.0, 0.0]

    def move(of_a: float, of_b: float, step: int) -> tuple[float, float]:
        out = []
        for i, g in enumerate((of_a, of_b)):
            m[i] = first * m[i] + (1 - first) * g
            v[i] = second * v[i] + (1 - second) * g * g
            scale = math.sqrt(v[i] / (1 - second**step)) + epsilon
            out.append(-rate * m[i] / (1 - first**step) / scale)
        return out[0], out[1]

    return move
