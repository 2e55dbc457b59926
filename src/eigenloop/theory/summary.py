"""What the theory says of one spectrum, or of Task 1: limits, constants, rates and training, as
plain numbers (NumPy).

For Task 1 (columns independent and uniform on the sphere) X is sampled and q is integrated exactly.
Averages over X carry standard errors; what is a function of averages (gamma*, f*, factors at
gamma*) is that function of the averages, never the average of the function, with the jackknife's
standard error. E tr S^2 = n + n (n-1)/d is known there: mu2 and what follows from it alone are
exact, and it is the control variate of E||Sq|| and E[cos].
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp

from eigenloop.numerics.spectrum import Numbers
from eigenloop.numerics.statistics import jackknife
from eigenloop.system.errors import InputError
from eigenloop.system.progress import Progress, silent
from eigenloop.theory.integrals import Estimate
from eigenloop.theory.population import (
    EPSILON,
    EndToEnd,
    LayerwiseNorm,
    check_gamma,
    mean_power_norm,
    misalignment,
    norm_excess,
    spectra,
    upsilon2_diverges,
)

EXACT = 4 * EPSILON
SMALLEST = float(np.finfo(np.float64).tiny)
WIDEST = 1e60
"""Eigenvalues are refused beyond this, and below the largest divided by it: fourth powers must
not overflow.
"""
GROUP, HARD_GROUP = 64, 1
"""Spectra of Task 1 taken together; one by one in two-dimensional integrals, each with its own
grid.
"""


@dataclass
class Summary:
    """Numbers by name.

    Args:
        values: None where there is none.
        errors: estimated relative error of each, of the integrals and of rounding; None where it is
            not known.
        stderr: standard error over sampled X; None throughout for one spectrum.
        reasons: why a value is None.
    """

    values: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, Any] = field(default_factory=dict)
    stderr: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def put(
        self, name: str, value: float, error: float | None, stderr: float | None, why: str = ""
    ) -> None:
        """Keep a number, or say why there is none."""
        kept, reason = _finite(value, why)
        self.values[name] = kept
        self.errors[name] = None if kept is None or error is None else _finite(error)[0]
        self.stderr[name] = None if kept is None or stderr is None else _finite(stderr)[0]
        if kept is None:
            self.reasons[name] = reason

    def gather(self, name: str, parts: Sequence[str]) -> None:
        """Turn the numbers of these names into one list."""
        for kept in (self.values, self.errors, self.stderr):
            kept[name] = [kept.pop(part) for part in parts]
        lost = [self.reasons.pop(part) for part in parts if part in self.reasons]
        if lost:
            self.reasons[name] = lost[0]


class Moments(NamedTuple):
    """What is known of the mean spectrum without sampling."""

    trace: float
    """E[q.Sq] = E tr S / d."""
    second: float
    """mu2 = E||Sq||^2 = E tr S^2 / d."""
    excess: float
    """mu2 - E[q.Sq], without cancellation."""
    spread: float
    """mu2 - E[q.Sq]^2, without cancellation."""


@dataclass(frozen=True)
class Spectra:
    """The spectra that are averaged over.

    Args:
        rows: (B, d), descending; B = 1 for a fixed spectrum.
        moments: of the distribution that they come from, exact.
        samples: n of Task 1; None for a fixed spectrum.
    """

    rows: np.ndarray
    moments: Moments
    samples: int | None = None

    @classmethod
    def fixed(cls, eigenvalues: Numbers) -> "Spectra":
        """One spectrum (Task 2, Example 3.3).

        Raises:
            InputError: as for `eigenloop.numerics.require_gap`; eigenvalues whose squares leave
                float64's range.
        """
        rows = spectra(np.asarray(eigenvalues, dtype=np.float64).ravel())
        top = rows[0, 0]
        if not 1 / WIDEST <= top <= WIDEST:
            raise InputError(
                f"the largest eigenvalue is {top:g}; rescale S to have it between 1e-60 and 1e60"
            )
        small = rows[(rows > 0) & (rows < top / WIDEST)]
        if small.size:
            raise InputError(
                f"eigenvalue {small[0]:g} is below 1e-60 of the largest, {top:g}; give 0 in its"
                " place"
            )
        found = rows, rows**2, rows * (rows - 1), (rows - rows.mean()) ** 2
        return cls(rows, Moments(*(float(values.mean()) for values in found)))

    @classmethod
    def sphere(cls, *, dim: int, samples: int, draws: int, seed: int) -> "Spectra":
        """Task 1: `draws` spectra of S = X X^T with n columns uniform on the sphere of R^d.

        E tr S = n and E tr S^2 = n + n (n-1)/d, for E[(x.y)^2] = 1/d.

        Raises:
            InputError: a size that is too small.

        Example:
            >>> Spectra.sphere(dim=3, samples=5, draws=2, seed=0).rows.sum(axis=1).round(12)
            array([5., 5.])
        """
        for name, value, least in (
            ("dim", dim, 2),
            ("samples", samples, 1),
            ("draws", draws, 2),
            ("seed", seed, 0),
        ):
            if value < least:
                raise InputError(f"--{name} is {value}; it must be at least {least}")
        rng, rows = np.random.default_rng(seed), np.zeros((draws, dim))
        for row in rows:
            columns = rng.standard_normal((dim, samples))
            columns /= np.linalg.norm(columns, axis=0)
            singular = np.linalg.svd(columns, compute_uv=False)
            row[: singular.size] = singular**2
        trace, beside = samples / dim, (samples - 1) / dim
        return cls(
            rows,
            Moments(trace, trace * (1 + beside), trace * beside, trace * (1 - 1 / dim)),
            samples,
        )

    def upsilon2_mean(self) -> str:
        """Why Upsilon_2 has no mean over X, or nothing.

        Task 1, all columns but for an angle of the order of e parallel: the small eigenvalues are
        of the order of e^2, with a probability of the order of e^((d-1)(n-1)), and Upsilon_2 goes
        like e^-2 (in dimension 2 it is (lambda_1 - lambda_2)^2/(2 lambda_1 lambda_2 (lambda_1 +
        lambda_2)^2)). So it has a mean if (d-1)(n-1) > 2.
        """
        if self.samples is None or self._freedom() > 2:
            return ""
        return (
            f"the mean of Upsilon_2 over X is infinite at n = {self.samples} in dimension"
            f" {self.rows.shape[1]}: lambda_d is too often near 0"
        )

    def upsilon2_variance(self) -> str:
        """Why the mean of Upsilon_2 has no standard error, or nothing: a variance needs
        (d-1)(n-1) > 4.
        """
        if self.samples is None or self._freedom() > 4:
            return ""
        return (
            f"infinite: Upsilon_2 has no variance over X at n = {self.samples} in dimension"
            f" {self.rows.shape[1]}"
        )

    def _freedom(self) -> int:
        return (self.rows.shape[1] - 1) * ((self.samples or 1) - 1)

    def groups(self, size: int) -> list[np.ndarray]:
        """The rows, `size` at a time."""
        return [self.rows[i : i + size] for i in range(0, len(self.rows), size)]


def summarize(
    of: Spectra, *, loops: int = 10, gammas: Sequence[float] = (), progress: Progress = silent
) -> Summary:
    """Limits, constants and rates (theorems 4.1 to 4.3, 4.6, 4.7), and losses at `gammas`.

    Args:
        of: one spectrum or many.
        loops: L of the end-to-end model.
        gammas: where to give the losses.
        progress: told how far each part is.

    Returns:
        limit_loss, log_limit_loss, upsilon1, log_upsilon1, upsilon2, mean_power_norm E||Sq||,
        second_moment mu2, gamma_star_*, plateau_* (f*), contraction_*, and with gammas the lists
        loss_end_to_end, slope_end_to_end, the logarithms of their sizes, log_loss_end_to_end and
        log_slope_end_to_end, and loss_layerwise.

    Raises:
        InputError: loops below 1, a gamma that is not finite.

    Example:
        >>> found = summarize(Spectra.fixed([2.0, 1.0]), loops=1)
        >>> round(found.values["gamma_star_unnormalized"], 12), found.values["upsilon2"] is None
        (0.4, False)
    """
    found = Summary()
    gammas = [check_gamma(gamma) for gamma in gammas]
    _limits(found, of, loops, progress)
    _linear(found, of)
    _losses(found, of, loops, gammas, progress)
    return found


def _limits(found: Summary, of: Spectra, loops: int, progress: Progress) -> None:
    """Theorems 4.1 and 4.3."""
    setting = EndToEnd(of.rows, loops)
    alone = "S has no eigenvalue besides the largest"
    log_limit = _grouped(
        of, "limit loss", progress, lambda rows: EndToEnd(rows, loops).log_limit_loss()
    )
    _put_log_mean(found, "limit_loss", log_limit, zero=f"the limit loss is exactly 0: {alone}")
    log_constant = _grouped(
        of, "Upsilon_1", progress, lambda rows: EndToEnd(rows, loops).log_upsilon1()
    )
    _put_log_mean(found, "upsilon1", log_constant, zero=f"Upsilon_1 is exactly 0: {alone}")
    reason = upsilon2_diverges(setting.rows) or of.upsilon2_mean()
    if reason:
        found.put("upsilon2", np.nan, 0.0, None, reason)
        return
    _put_mean(
        found,
        "upsilon2",
        _grouped(of, "Upsilon_2", progress, lambda rows: LayerwiseNorm(rows).upsilon2()),
    )
    if of.upsilon2_variance():
        found.stderr["upsilon2"], found.reasons["stderr.upsilon2"] = None, of.upsilon2_variance()


def _linear(found: Summary, of: Spectra) -> None:
    """Theorem 4.2: where training without LN ends, and the factors per loop of theorems 4.6 and
    4.7.
    """
    rows, moments = of.rows, of.moments
    squares, norm = (rows**2).mean(1), mean_power_norm(rows)
    # E||Sq|| - tr S/d and 2 - 2 E[cos] of each X, with no digits lost where S is nearly a multiple
    # of I
    excess, start = norm_excess(rows), misalignment(rows)
    second_row = EndToEnd(rows, 1).multiplicity
    smooth = np.stack([norm.value, excess.value, start.value], axis=1)
    if len(rows) > 1:
        smooth = _controlled(smooth, squares - moments.second)
    columns = np.column_stack([smooth, rows[:, 0], rows[:, second_row]])

    def norm_of(c: np.ndarray) -> float:
        return float(c[:, 0].mean())

    def gamma_of(c: np.ndarray) -> float:
        return float(c[:, 1].mean()) / moments.second

    def plateau_of(c: np.ndarray) -> float:
        return float(c[:, 2].mean()) - moments.second * gamma_of(c) ** 2

    def factor_of(c: np.ndarray, gamma: float) -> float:
        """The mean over X of each X's factor, at one gamma* for all of them."""
        return (
            float(((1 + gamma * c[:, 4]) / (1 + gamma * c[:, 3])).mean()) if gamma >= 0 else np.nan
        )

    unnormalized = moments.excess / moments.second
    found.put("second_moment", moments.second, EXACT, _none(of, 0.0))
    terms = abs(rows * (rows - 1)).mean() if len(rows) == 1 else abs(moments.excess)
    error = EXACT * terms / max(abs(moments.excess), SMALLEST)
    found.put("gamma_star_unnormalized", unnormalized, error, _none(of, 0.0))
    found.put("plateau_unnormalized", moments.spread / moments.second, EXACT, _none(of, 0.0))
    norm_error = float(np.mean(norm.error * norm.value))
    gamma_error = float(np.mean(excess.error * excess.value)) / moments.second + EXACT * gamma_of(
        columns
    )
    start_error = float(np.mean(start.error * start.value))
    plateau_error = start_error + moments.second * gamma_of(columns) * (
        2 * gamma_error + EXACT * gamma_of(columns)
    )
    for name, statistic, absolute in (
        ("mean_power_norm", norm_of, norm_error),
        ("gamma_star_normalized", gamma_of, gamma_error),
        ("plateau_normalized", plateau_of, plateau_error),
        ("contraction_power_method", lambda c: float((c[:, 4] / c[:, 3]).mean()), 0.0),
        (
            "contraction_normalized",
            lambda c: factor_of(c, max(gamma_of(c), 0.0)),
            gamma_error * rows.max(),
        ),
        ("contraction_unnormalized", lambda c: factor_of(c, unnormalized), 0.0),
    ):
        value, stderr = _statistic(columns, statistic)
        why = (
            "gamma_star_unnormalized is negative, and Theorem 4.6 is for gamma >= 0"
            if unnormalized < 0
            else ""
        )
        error = absolute / max(abs(value), SMALLEST) + (EXACT if value else 0.0)
        found.put(name, value, error, stderr, why)


def _losses(
    found: Summary, of: Spectra, loops: int, gammas: Sequence[float], progress: Progress
) -> None:
    """f and f' of theorem 4.1, f of theorem 4.3, at each gamma."""
    logs: Mapping[str, Callable[[np.ndarray, float], Estimate]] = {
        "loss_end_to_end": lambda rows, gamma: EndToEnd(rows, loops).log_loss(gamma),
        "slope_end_to_end": lambda rows, gamma: EndToEnd(rows, loops).log_slope(gamma),
    }
    for name in (*logs, "loss_layerwise"):
        parts = [f"{name} {i}" for i in range(len(gammas))]
        for part, gamma in zip(parts, gammas, strict=True):
            said = f"{name.replace('_', ' ')} at {gamma:g}"
            if gamma < 0 and name.startswith("slope"):  # of either sign there
                each = _grouped(
                    of, said, progress, lambda rows, g=gamma: EndToEnd(rows, loops).slope(g)
                )
                _put_signed_mean(found, part, each)
            elif name in logs:
                each = _grouped(of, said, progress, lambda rows, f=logs[name], g=gamma: f(rows, g))
                _put_log_mean(found, part, each, sign=-1.0 if name.startswith("slope") else 1.0)
            else:
                _put_mean(
                    found,
                    part,
                    _grouped(
                        of,
                        said,
                        progress,
                        lambda rows, g=gamma: LayerwiseNorm(rows).loss(g),
                        HARD_GROUP,
                    ),
                )
        if gammas:
            found.gather(name, parts)
            if name in logs:
                found.gather(f"log_{name}", [f"log_{part}" for part in parts])


def _put_log_mean(
    found: Summary, name: str, logs: Estimate, *, sign: float = 1.0, zero: str = ""
) -> None:
    """The mean of e^logs, with its sign, and the logarithm of its size: `name` and `log_name`."""
    log_mean, error, stderr = _averaged(logs, _log_mean)
    exactly_zero = log_mean == -np.inf
    size = np.exp(log_mean) if np.exp(log_mean) >= SMALLEST or exactly_zero else np.nan
    why = f"below the smallest number of float64; see log_{name.split(' ')[0]}"
    relative = None if stderr is None else stderr * size
    if exactly_zero:
        error, relative = 0.0, None if len(logs.value) == 1 else 0.0
    found.put(name, sign * float(size), error, relative, why)
    found.put(f"log_{name}", log_mean, error / max(abs(log_mean), SMALLEST), stderr, zero)


def _put_signed_mean(found: Summary, name: str, rows: Estimate) -> None:
    """The mean of numbers of either sign, and the logarithm of its size: `name` and `log_name`."""
    value, stderr = _statistic(rows.value, lambda values: float(np.mean(values)))
    absolute = float(np.mean(rows.error * abs(rows.value)))
    size = max(abs(value), SMALLEST)
    found.put(name, value, absolute / size if value else None, stderr)
    log_size = float(np.log(abs(value))) if value else -np.inf
    zero = "the slope is 0 in float64: on the plateau about -1/gamma = lambda_1 it may be far below"
    error = absolute / size / max(abs(log_size), SMALLEST) if value else 0.0
    found.put(f"log_{name}", log_size, error, None if stderr is None else stderr / size, zero)


def _grouped(
    of: Spectra,
    name: str,
    progress: Progress,
    function: Callable[[np.ndarray], Estimate],
    size: int = GROUP,
) -> Estimate:
    """One value for each spectrum, and its error."""
    parts, groups = [], of.groups(size)
    for done, rows in enumerate(groups):
        if len(groups) > 1:
            progress(name, done, len(groups))
        parts.append(function(rows))
    if len(groups) > 1:
        progress(name, len(groups), len(groups))
    values = np.concatenate([part.value for part in parts])
    return Estimate(
        values, np.concatenate([np.broadcast_to(part.error, part.value.shape) for part in parts])
    )


def _averaged(
    rows: Estimate, statistic: Callable[[np.ndarray], float]
) -> tuple[float, float, float | None]:
    value, stderr = _statistic(rows.value, statistic)
    return value, float(np.max(rows.error)), stderr


def _statistic(
    columns: np.ndarray, statistic: Callable[[np.ndarray], float]
) -> tuple[float, float | None]:
    if len(columns) == 1 or not np.isfinite(columns).all():
        return statistic(columns), None
    return jackknife(columns, statistic)


def _controlled(columns: np.ndarray, control: np.ndarray) -> np.ndarray:
    """Less noise, the same mean: what a control of mean 0 explains of each column, taken away.

    E||Sq|| and E[cos] of one X follow tr S^2, whose mean is known, so closely that their errors
    fall about tenfold.
    """
    centred = control - control.mean()
    slopes = (
        centred @ columns / (centred @ centred) if centred.any() else np.zeros(columns.shape[1])
    )
    return columns - np.outer(control, slopes)


def _none(of: Spectra, stderr: float) -> float | None:
    """A standard error, or None for one spectrum."""
    return None if len(of.rows) == 1 else stderr


def _put_mean(found: Summary, name: str, rows: Estimate) -> None:
    value, error, stderr = _averaged(rows, lambda values: float(np.mean(values)))
    found.put(
        name,
        value if value >= SMALLEST else np.nan,
        error,
        stderr,
        "below the smallest number of float64",
    )


def _log_mean(logs: np.ndarray) -> float:
    if np.all(logs == -np.inf):
        return -np.inf
    return float(logsumexp(logs) - np.log(len(logs)))


def _finite(value: float, why: str = "") -> tuple[float | None, str]:
    if np.isfinite(value):
        return float(value), ""
    return None, why or "beyond the range of float64"
