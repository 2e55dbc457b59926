"""Formulas to break under the claims of theory.claims; python tests/theory_breaks.py writes docs/theory/mutants.md.

Each `Break` replaces one function of the code under a claim, never one of theory.claims, by a wrong one.
"""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eigenloop.lab import problems, transformer
from eigenloop.numerics.power import normalize, sine_bounds
from eigenloop.theory import dynamics
from eigenloop.theory.claims import power_method, tested, theorems
from eigenloop.theory.claims.lemmas import auxiliary, data, layerwise, looped
from eigenloop.theory.claims.lemmas import ledger as lemmas_ledger
from eigenloop.theory.integrals import Estimate
from eigenloop.theory.population import EndToEnd, LayerwiseLinear, LayerwiseNorm

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "theory" / "mutants.md"
CLAIMS = {
    claim.id: claim
    for ledger in (theorems.ledger, power_method.ledger, lemmas_ledger)
    for claim in ledger.claims
}  # fmt: skip
MOST_CLAIMS = 3
"""That one break may stand for."""


class Break(NamedTuple):
    """One replacement: `place.name` becomes `wrong`."""

    place: Any
    name: str
    wrong: Any
    why: str

    @property
    def broken(self) -> str:
        """Module and name of what is broken, wherever it is looked up."""
        original = getattr(self.place, self.name)
        return f"{original.__module__}.{original.__qualname__}".removeprefix("eigenloop.")


def scaled(function: Callable[..., Any], factor: float) -> Callable[..., Any]:
    """The same function with its result, or the value of its estimate, multiplied."""

    def wrong(*args: Any, **options: Any) -> Any:
        found = function(*args, **options)
        if isinstance(found, Estimate):
            return Estimate(found.value * factor, found.error)
        return tuple(part * factor for part in found) if isinstance(found, tuple) else found * factor

    return wrong


def shifted(function: Callable[..., Estimate], by: float) -> Callable[..., Estimate]:
    def wrong(*args: Any, **options: Any) -> Estimate:
        found = function(*args, **options)
        return Estimate(found.value + by, found.error)

    return wrong


def slower(function: Callable[..., Estimate], power: float) -> Callable[..., Estimate]:
    """Times (1 + gamma)^power."""

    def wrong(self: Any, gamma: float) -> Estimate:
        found = function(self, gamma)
        return Estimate(found.value * (1 + gamma) ** power, found.error)

    return wrong


def layer(*, transposed: str = "", scale: float = 1.0, residual: float = 1.0) -> Callable[..., Any]:
    """TF(Z) with V^T or W^T in place of V or W, the update times `scale`, the residual times `residual`."""

    def wrong(v: Any, w: Any, state: Any, *, norm: bool) -> Any:
        v, w = v.T if transposed == "V" else v, w.T if transposed == "W" else w
        out = residual * state + scale * (v @ state @ (state.T @ w @ state))
        return normalize(out.T).T if norm else out

    return wrong


def bounds_times(lower: float, upper: float) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    def wrong(*args: Any, **options: Any) -> tuple[np.ndarray, np.ndarray]:
        low, high = sine_bounds(*args, **options)
        return lower * low, upper * high

    return wrong


def turned_in_a_plane(key: Any, size: int, dim: int, dtype: Any = None) -> Any:
    import jax
    import jax.numpy as jnp

    angle = jax.random.uniform(key, (size,), dtype=dtype or jnp.result_type(float)) * (2 * np.pi)
    turn = jnp.broadcast_to(jnp.eye(dim, dtype=angle.dtype), (size, dim, dim))
    turn = turn.at[:, 0, 0].set(jnp.cos(angle)).at[:, 1, 1].set(jnp.cos(angle))
    return turn.at[:, 0, 1].set(-jnp.sin(angle)).at[:, 1, 0].set(jnp.sin(angle))


def not_turned(key: Any, size: int, dim: int, dtype: Any = None) -> Any:
    import jax.numpy as jnp

    return jnp.broadcast_to(jnp.eye(dim, dtype=dtype or jnp.result_type(float)), (size, dim, dim))


def about_an_axis(rng: np.random.Generator, dim: int) -> np.ndarray:
    found = np.eye(dim)
    found[:-1, :-1] = np.linalg.qr(rng.standard_normal((dim - 1, dim - 1)))[0]
    return found


def not_orthogonal(rng: np.random.Generator, dim: int) -> np.ndarray:
    found = rng.standard_normal((dim, dim))
    return found / np.linalg.norm(found, axis=0)


def gaussian_columns(self: Any, key: Any, size: int) -> Any:
    import jax

    return jax.random.normal(key, (size, self.dim, self.samples)) / self.dim**0.5


def rising(setting: Any) -> Callable[[float], float]:
    return lambda gamma: 0.1


def by_the_first(vector: np.ndarray) -> np.ndarray:
    return normalize(vector) / (1 + vector[..., :1] ** 2)


def last_factor(eigenvalues: Any, *, gamma: float | None = None) -> float:
    values = np.sort(np.asarray(eigenvalues, dtype=float))
    return float(values[0] / values[-1] if gamma is None else (1 + gamma * values[0]) / (1 + gamma * values[-1]))


def fewer_loops(matrix: Any, start: Any, *, loops: int) -> Any:
    return POWER_METHOD(matrix, start, loops=loops - 1)


def wrong_sines(values: Any, c: Any, *, loops: int, gamma: float) -> Any:
    return SINES(values, c, loops=loops, gamma=None)


POWER_METHOD, SINES = tested.power_method, looped.predicted_sines
EXPECTATION = auxiliary.log_expectation
F, G, H = EndToEnd, LayerwiseNorm, LayerwiseLinear

BREAKS: dict[str, Break] = {
    "rotations-none": Break(problems, "haar_rotations", not_turned, "X0 itself in place of Q X0"),
    "rotations-in-a-plane": Break(problems, "haar_rotations", turned_in_a_plane, "Q turns the first two axes only"),
    "columns-not-unit": Break(problems.Sphere, "sample", gaussian_columns, "Gaussian columns, norm 1 in the mean only"),
    "rejection-none": Break(
        problems.Rejected, "sample", lambda self, key, size: self.inner.sample(key, size), "what falls below is kept"
    ),
    "orthogonal-not": Break(data, "random_orthogonal", not_orthogonal, "unit columns in place of orthonormal ones"),
    "orthogonal-about-an-axis": Break(auxiliary, "random_orthogonal", about_an_axis, "rotations leave one axis alone"),
    "attention-transposed": Break(transformer, "attention_layer", layer(transposed="W"), "W^T in place of W"),
    "attention-values-transposed": Break(transformer, "attention_layer", layer(transposed="V"), "V^T in place of V"),
    "attention-subtracted": Break(transformer, "attention_layer", layer(scale=-1.0), "the update subtracted"),
    "attention-nearly-none": Break(transformer, "attention_layer", layer(scale=0.01), "a hundredth of the update"),
    "attention-doubled": Break(transformer, "attention_layer", layer(scale=2.0), "twice the update"),
    "attention-faint": Break(transformer, "attention_layer", layer(scale=0.1), "a tenth of the update"),
    "attention-without-residual": Break(
        transformer, "attention_layer", layer(residual=0.0), "no residual connection"
    ),
    "sines-of-the-power-method": Break(looped, "predicted_sines", wrong_sines, "mu_i = lambda_i in Eq. (D.1)"),
    "power-method-short": Break(theorems.looped, "power_method", fewer_loops, "one loop too few"),
    "power-method-short-at-test-time": Break(tested, "power_method", fewer_loops, "one loop too few"),
    "upper-bound-halved": Break(power_method, "sine_bounds", bounds_times(1.0, 0.5), "half of tan(phi_0) r^k"),
    "lower-bound-doubled": Break(power_method, "sine_bounds", bounds_times(2.0, 1.0), "twice |c_{m+1}| r^k"),
    "upper-bound-high": Break(power_method, "sine_bounds", bounds_times(1.0, 1.01), "1 % above tan(phi_0) r^k"),
    "factor-of-the-last": Break(power_method, "contraction_factor", last_factor, "lambda_d in place of lambda_{m+1}"),
    "normalisation-uneven": Break(layerwise, "normalize", by_the_first, "divided by a function of the first entry"),
    "slope-1-slower": Break(F, "slope", slower(F.slope, 0.1), "f' falls like gamma^-1.9"),
    "slope-1-off": Break(F, "slope", scaled(F.slope, 1 + 1e-8), "f' of Theorem 4.1 off by 1e-8"),
    "slope-1-sign": Break(F, "slope", scaled(F.slope, -1.0), "f' of Theorem 4.1 with the other sign"),
    "loss-1-rises": Break(F, "loss", slower(F.loss, 0.01), "f times (1 + gamma)^0.01"),
    "limit-loss-high": Break(F, "limit_loss", scaled(F.limit_loss, 1.1), "f_inf 10 % too large"),
    "upsilon-1-high": Break(F, "upsilon1", scaled(F.upsilon1, 1.02), "Y1 2 % too large"),
    "upsilon-1-higher": Break(F, "upsilon1", scaled(F.upsilon1, 1.1), "Y1 10 % too large"),
    "slope-2-slower": Break(G, "slope", slower(G.slope, 0.1), "f' falls like gamma^-2.9"),
    "slope-2-off": Break(G, "slope", scaled(G.slope, 1 + 1e-6), "f' of Theorem 4.3 off by 1e-6"),
    "slope-2-more-off": Break(G, "slope", scaled(G.slope, 1 + 1e-3), "f' of Theorem 4.3 off by 1e-3"),
    "loss-2-floor": Break(G, "loss", shifted(G.loss, 1e-3), "f of Theorem 4.3 stops at 0.001"),
    "loss-2-slower": Break(G, "loss", slower(G.loss, 0.1), "f falls like gamma^-1.9"),
    "loss-2-threefold": Break(G, "loss", scaled(G.loss, 3.0), "f of Theorem 4.3 three times too large"),
    "upsilon-2-high": Break(G, "upsilon2", scaled(G.upsilon2, 1.05), "Y2 5 % too large"),
    "optimum-high": Break(H, "optimum", scaled(H.optimum, 1.3), "gamma* 30 % too large"),
    "optimum-half": Break(H, "optimum", scaled(H.optimum, 0.5), "half of gamma*"),
    "optimum-shifted": Break(H, "optimum", shifted(H.optimum, -0.05), "gamma* less 0.05"),
    "optimum-higher": Break(H, "optimum", scaled(H.optimum, 1.2), "gamma* 20 % too large"),
    "optimum-low": Break(H, "optimum", scaled(H.optimum, 0.8), "gamma* 20 % too small"),
    "floor-high": Break(H, "floor", scaled(H.floor, 1.3), "f* 30 % too large"),
    "floor-none": Break(H, "floor", scaled(H.floor, 1e-9), "f* near 0"),
    "floor-low": Break(H, "floor", scaled(H.floor, 0.9), "f* 10 % too small"),
    "moment-high": Break(H, "second_moment", scaled(H.second_moment, 1.3), "mu2 30 % too large"),
    "moment-off": Break(H, "second_moment", scaled(H.second_moment, 1 + 1e-6), "mu2 off by 1e-6"),
    "moment-higher": Break(H, "second_moment", scaled(H.second_moment, 1.5), "mu2 50 % too large"),
    "moment-hundredth": Break(H, "second_moment", scaled(H.second_moment, 1.01), "mu2 1 % too large"),
    "recursion-climbs": Break(dynamics, "slope_function", rising, "f' > 0 in the recursion"),
    "weights-uneven": Break(
        dynamics, "_weights", lambda *args: (1.1 * WEIGHTS(*args)[0], WEIGHTS(*args)[1]), "a 10 % too large"
    ),
    "norm-low": Break(auxiliary, "mean_power_norm", scaled(auxiliary.mean_power_norm, 0.9), "E||Sq|| 10 % too small"),
    "norm-off": Break(auxiliary, "mean_power_norm", scaled(auxiliary.mean_power_norm, 1.02), "E||Sq|| 2 % too large"),
    "integral-high": Break(auxiliary, "log_expectation", shifted(EXPECTATION, 5.0), "the integral e^5 times too large"),
    "integral-low": Break(auxiliary, "log_expectation", shifted(EXPECTATION, -0.1), "the integral 10 % too small"),
    "integral-off": Break(auxiliary, "log_expectation", shifted(EXPECTATION, 0.03), "the integral 3 % too large"),
    "integral-behind-the-wall": Break(
        theorems.looped, "log_expectation", shifted(EXPECTATION, 2.0), "the integral e^2 times too large"
    ),
}  # fmt: skip
"""Name -> what to replace."""

WEIGHTS = dynamics._weights

BROKEN_BY: dict[str, tuple[str, ...]] = {
    "thm4.1.structure": ("rotations-none",),
    "thm4.1.growth.a": ("slope-1-slower",),
    "thm4.1.growth.b": ("slope-1-slower",),
    "thm4.1.growth.constant": ("upsilon-1-high",),
    "thm4.1.limit_loss": ("limit-loss-high",),
    "thm4.1.loss_rate": ("slope-1-slower",),
    "thm4.1.loss_rate.constant": ("upsilon-1-high",),
    "thm4.1.power_method": ("power-method-short", "attention-values-transposed"),
    "thm4.1.power_method.order": ("power-method-short",),
    "thm4.1.no_minimizer": ("loss-1-rises",),
    "thm4.1.no_minimizer.negative": ("integral-behind-the-wall",),
    "thm4.2.structure": ("rotations-none",),
    "thm4.2.parabola.normalized": ("optimum-high", "floor-high", "moment-high"),
    "thm4.2.parabola.unnormalized": ("optimum-high", "floor-high", "moment-high"),
    "thm4.2.limit.normalized": ("optimum-low", "floor-low"),
    "thm4.2.limit.unnormalized": ("optimum-low", "floor-low"),
    "thm4.2.linear": ("floor-low",),
    "thm4.2.rate.normalized": ("moment-higher",),
    "thm4.2.rate.unnormalized": ("moment-higher",),
    "thm4.2.floor": ("optimum-high", "floor-high", "floor-none"),
    "thm4.3.structure": ("rotations-none",),
    "thm4.3.growth.a": ("slope-2-slower",),
    "thm4.3.growth.b": ("slope-2-slower",),
    "thm4.3.growth.constant": ("upsilon-2-high",),
    "thm4.3.loss": ("loss-2-floor",),
    "thm4.3.loss.exponent": ("loss-2-slower",),
    "thm4.3.time": ("slope-2-slower",),
    "thm4.3.time.constant": ("upsilon-2-high",),
    "thm4.6.bounds.in_distribution": ("attention-nearly-none", "upper-bound-halved", "lower-bound-doubled"),
    "thm4.6.bounds.out_of_distribution": ("attention-nearly-none", "upper-bound-halved", "lower-bound-doubled"),
    "thm4.6.bounds.trained": ("attention-transposed",),
    "thm4.6.factor": ("factor-of-the-last",),
    "thm4.6.tight": ("upper-bound-high",),
    "thm4.7.bounds": ("attention-nearly-none", "lower-bound-doubled"),
    "thm4.7.bounds.trained": ("attention-transposed",),
    "thm4.7.limit": ("power-method-short-at-test-time",),
    "thm4.7.limit.bounds": ("upper-bound-halved",),
    "thm4.2.slower": ("factor-of-the-last",),
    "ass3.2.task1": ("columns-not-unit",),
    "ass3.2.task2": ("rotations-in-a-plane",),
    "ass3.2.tightframe": ("orthogonal-not",),
    "ex3.3": ("rotations-in-a-plane",),
    "ex3.3.rejection": ("rejection-none",),
    "lemA.1": ("attention-subtracted", "sines-of-the-power-method"),
    "lemA.2": ("attention-transposed",),
    "lemA.3": ("slope-1-off",),
    "lemA.4.sign": ("slope-1-sign",),
    "lemA.4.bound": ("attention-faint",),
    "lemA.4.bound.constant": ("attention-doubled",),
    "lemA.4.limit": ("upsilon-1-higher",),
    "lemA.4.limit.order": ("upsilon-1-higher",),
    "lemA.4.constant": ("upsilon-1-higher",),
    "lemA.5.increase": ("recursion-climbs",),
    "lemA.5.growth": ("upsilon-1-high",),
    "lemB.1": ("moment-off",),
    "rem.B.2": ("optimum-shifted",),
    "rem.B.2.suboptimal": ("attention-without-residual",),
    "lemB.3.levelset": ("optimum-half",),
    "lemB.3.rate": ("optimum-half",),
    "lemB.3.overshoot": ("optimum-half",),
    "lemB.3.diverge": ("moment-higher",),
    "lemB.4": ("moment-hundredth",),
    "lemC.1": ("attention-values-transposed",),
    "lemC.2": ("normalisation-uneven",),
    "lemC.3": ("slope-2-off",),
    "lemC.4.degenerate": ("orthogonal-not",),
    "lemC.4.sign": ("attention-subtracted",),
    "lemC.4": ("recursion-climbs",),
    "lemC.5": ("upsilon-2-high",),
    "lemC.5.conservation": ("slope-2-more-off",),
    "lemC.5.ratio": ("weights-uneven",),
    "lemC.6.bound": ("loss-2-threefold",),
    "lemC.6.limit": ("loss-2-threefold",),
    "lemC.6.time": ("loss-2-threefold",),
    "lemF.1": ("orthogonal-about-an-axis",),
    "lemF.2": ("norm-low",),
    "lemF.2.mean": ("norm-off",),
    "rem.F.3.norm": ("optimum-higher",),
    "rem.F.3.unnorm": ("optimum-low",),
    "lemF.4": ("integral-high",),
    "lemF.4.constant": ("integral-low",),
    "lemF.4.mean": ("integral-off",),
}
"""Identifier -> the breaks that turn its verdict to another kind, one at a time."""


def listed_mutants() -> dict[str, list[str]]:
    """Identifier -> the mutants of tools/mutants.toml whose tests name it."""
    found: dict[str, list[str]] = {}
    for mutant in tomllib.loads((ROOT / "tools" / "mutants.toml").read_text())["mutant"]:
        for test in mutant["tests"]:
            _, _, name = test.partition("[")
            if name:
                found.setdefault(name.removesuffix("]"), []).append(mutant["name"])
    return found


def page() -> str:
    """docs/theory/mutants.md."""
    mutants, lines = listed_mutants(), []
    for id in CLAIMS:
        names = BROKEN_BY[id]
        breaks = "; ".join(f"{BREAKS[name].why} (`{BREAKS[name].broken}`)" for name in names)
        lines.append(f"| {id} | {breaks} | {', '.join(mutants.get(id, []))} |".replace("||", r"\|\|"))
    return PREFACE + "\n".join(lines) + "\n"


PREFACE = """# What breaks each claim

A claim that cannot fail says nothing. Under each of these one formula is replaced by a wrong one, in the code that it
measures and never in `theory.claims`, and its verdict must turn to another kind than the recorded one: `make test`
tries every row (`tests/test_theorems.py`, `tests/test_lemmas.py`), `make mutants` those of the last column again, in
the source text. No formula stands for more than three claims. Made by `python tests/theory_breaks.py`; a test compares.

| claim | broken | mutant of `tools/mutants.toml` |
| --- | --- | --- |
"""

if __name__ == "__main__":
    PAGE.write_text(page())
