"""Leading eigenvalues of the derivative of a map, each with what certifies it (NumPy and SciPy).

    J v = mu v,    w^H J = mu w^H,    ||v|| = ||w|| = 1
    residual r = ||J^T conj(w) - mu conj(w)|| (or ||J v - mu v||),    condition kappa = 1 / |w^H v|
    error = kappa (r + rounding ||J||), to first order: mu is an eigenvalue of J + E with ||E|| = r

A conjugate pair is listed once, with im >= 0 and multiplicity 2. Reverse products are used where
they are there: J^T has the eigenvalues of J, its eigenvectors are the conjugates of the left ones,
and reverse mode keeps its graph. Sources: Wilkinson, The Algebraic Eigenvalue Problem (1965), ch. 2
(condition); ARPACK for n > `DENSE`.
"""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from eigenloop.loops.linear import DENSE, Linear, Product

Kind: TypeAlias = Literal["real", "alternating", "rotating"]

KEEP, BASIS = 6, 48
"""Eigenvalues asked of ARPACK, and its basis: smaller ones miss leaders of random matrices."""

RESTARTS = 120
TARGET = 1e-11
"""Residual, relative to |mu|, at which ARPACK stops."""

SPLIT = 0.03
"""A defective pair is split by a perturbation e into two of condition about (||J||/e)^(1/2);
less by this factor.
"""

MISSED = 1.001
"""An eigenvalue outside those found counts as missed from this ratio to the radius."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Mode:
    """An eigenvalue of J with its vectors and its certificate.

    Args:
        value: mu, im >= 0.
        multiplicity: 2 for a conjugate pair, else 1.
        residual: r, of the vector that gave mu.
        condition: kappa; infinite where w^H v = 0; None where only one of the vectors is known.
        error: kappa (r + rounding); None with the condition.
        kind: "real" (mu > 0), "alternating" (mu < 0) or "rotating".
        defective: two eigenvectors fall into one, to working precision: no first-order error.
        right: v, or None.
        left: w, or None.
    """

    value: complex
    multiplicity: int
    residual: float
    condition: float | None
    error: float | None
    kind: Kind
    defective: bool
    right: np.ndarray | None
    left: np.ndarray | None

    @property
    def modulus(self) -> float:
        """|mu|, the factor per loop."""
        return abs(self.value)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        finite = self.condition is not None and np.isfinite(self.condition)
        return {
            "value": [self.value.real, self.value.imag],
            "modulus": self.modulus,
            "kind": self.kind,
            "multiplicity": self.multiplicity,
            "residual": self.residual,
            "condition": self.condition if finite else None,
            "error": self.error if self.error is not None and np.isfinite(self.error) else None,
            "defective": self.defective,
            "reason": None
            if finite
            else "defective: no first-order error"
            if self.defective
            else "only left or only right vectors are known, so there is no condition",
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class Spectrum:
    """The leading modes of J, and whether one of them was missed.

    Args:
        modes: by falling modulus; never empty.
        converged: the solver says so for all that it was asked for.
        method: how they were found.
        outside: largest modulus found outside the span of the modes; None where all of J is known.
        missed: whether `outside` is above the radius; None where that was not decided.
        noise: relative rounding of a product with J.
    """

    modes: tuple[Mode, ...]
    converged: bool
    method: str
    outside: float | None
    missed: bool | None
    noise: float

    @property
    def radius(self) -> float:
        """|mu_1|."""
        return self.modes[0].modulus

    @property
    def gap(self) -> float | None:
        """|mu_2 / mu_1| past the conjugate; None where there is no second one or mu_1 = 0."""
        return (
            self.modes[1].modulus / self.radius if len(self.modes) > 1 and self.radius > 0 else None
        )

    @property
    def error(self) -> float | None:
        """Of the radius: the leading mode's."""
        return self.modes[0].error


def spectrum(linear: Linear, *, seed: int = 0) -> Spectrum:
    """The leading eigenvalues of J: all of them to n = `DENSE`, six by Arnoldi above, and a search
    for a missed one.

    Args:
        linear: J.
        seed: of the start vectors.

    Example:
        >>> found = spectrum(Linear.of(np.array([[0.0, -0.5], [0.5, 0.0]])))
        >>> [(mode.value, mode.multiplicity, mode.kind) for mode in found.modes], found.gap
        ([(0.5j, 2, 'rotating')], None)
    """
    if linear.size <= DENSE:
        return _dense(linear)
    found = _arnoldi(linear, seed)
    outside, missed = search_missed(linear, found.modes, seed=seed)
    if missed:  # a second run from another start, and both together
        again = _arnoldi(linear, seed + 1)
        merged = _distinct([*found.modes, *again.modes])
        outside, missed = search_missed(linear, merged, seed=seed)
        found = Spectrum(
            modes=merged,
            converged=found.converged and again.converged,
            method=f"{found.method}, twice",
            outside=None,
            missed=None,
            noise=linear.noise,
        )
    return Spectrum(
        modes=found.modes,
        converged=found.converged,
        method=found.method,
        outside=outside,
        missed=missed,
        noise=linear.noise,
    )


def _dense(linear: Linear) -> Spectrum:
    from scipy.linalg import eig

    matrix = linear.dense()
    solved: Any = eig(matrix, left=True, right=True)
    values, left, right = solved
    size = float(np.linalg.norm(matrix, 2))
    order = np.lexsort(
        (-values.imag, -np.round(np.abs(values) / (np.abs(values).max() or 1.0), 14))
    )
    values, left, right = values[order], left[:, order], right[:, order]
    rounding = max(linear.noise, ROUNDINGS * np.finfo(float).eps) * size
    overlaps = _overlaps(values, left, right, 1e3 * rounding)
    modes = []
    for i in np.flatnonzero(values.imag >= 0)[: 2 * KEEP]:
        v, w, mu = right[:, i], left[:, i], complex(values[i])
        residual = float(np.linalg.norm(matrix @ v - mu * v))
        modes.append(_mode(mu, residual, float(overlaps[i]), rounding, size, v, w))
    return Spectrum(
        modes=tuple(modes),
        converged=True,
        method="all eigenvalues (LAPACK)",
        outside=None,
        missed=False,
        noise=linear.noise,
    )


ROUNDINGS = 20
"""Roundings that the backward error of the dense solver is taken as, relative to ||J||."""


def _overlaps(values: np.ndarray, left: np.ndarray, right: np.ndarray, tie: float) -> np.ndarray:
    """|w_i^H v_i|; of eigenvalues tied within rounding, the smallest singular value between their
    two subspaces.

    In a tied group single vectors are any basis, and w_i^H v_i says nothing; the projector's norm
    does.
    """
    overlaps = np.abs(np.sum(left.conj() * right, axis=0))
    for i, value in enumerate(values):
        group = np.abs(values - value) <= tie
        if group.sum() > 1:
            bases = [np.linalg.svd(side[:, group], full_matrices=False) for side in (left, right)]
            # vectors that fall into one: a defective group
            if min(s[-1] / s[0] for _, s, _ in bases) < 1e-6:
                continue
            between = bases[0][0].conj().T @ bases[1][0]
            overlaps[i] = np.linalg.svd(between, compute_uv=False)[-1]
    return overlaps


def _mode(
    mu: complex,
    residual: float,
    overlap: float | None,
    rounding: float,
    size: float,
    right: np.ndarray | None,
    left: np.ndarray | None,
) -> Mode:
    """The certificate of one eigenvalue; size is ||J||, or a lower bound of it."""
    disturbed = residual + rounding
    condition = None if overlap is None else 1 / overlap if overlap > 0 else np.inf
    defective = condition is not None and condition > SPLIT * np.sqrt(
        max(size, abs(mu)) / max(disturbed, 1e-300)
    )
    error = None if condition is None else condition * disturbed if not defective else np.inf
    allowed = max(
        1e-10 * abs(mu), residual, np.sqrt(size * disturbed) if defective else (error or 0.0)
    )
    kind: Kind = (
        "rotating" if abs(mu.imag) > allowed else "real" if mu.real >= -allowed else "alternating"
    )
    value = mu if kind == "rotating" else complex(mu.real, 0.0)
    return Mode(
        value=complex(value.real, abs(value.imag)),
        multiplicity=2 if kind == "rotating" else 1,
        residual=residual,
        condition=condition,
        error=error,
        kind=kind,
        defective=bool(defective),
        right=right,
        left=left,
    )


def _arnoldi(linear: Linear, seed: int) -> Spectrum:
    """Six leading eigenvalues by ARPACK: from J^T where there are reverse products, else from J."""
    rng = np.random.default_rng(seed)
    backwards = linear.reverse is not None
    apply = linear.reverse or linear.push
    values, vectors, done = _eigs(apply, linear.size, rng)
    other = linear.forward if backwards else None
    partners = _eigs(other, linear.size, rng) if other is not None else None
    modes = []
    scale = float(max(np.abs(values), default=0.0))
    for i in range(len(values)):
        mu, v = complex(values[i]), vectors[:, i] / np.linalg.norm(vectors[:, i])
        if mu.imag < 0:
            mu, v = mu.conjugate(), v.conj()
        residual = float(np.linalg.norm(_complex(apply, v) - mu * v))
        mate = _partner(mu, partners, scale)
        left, right = (v.conj(), mate) if backwards else (mate, v)
        overlap = None if left is None or right is None else float(abs(np.vdot(left, right)))
        modes.append(
            _mode(
                mu,
                residual,
                overlap,
                linear.noise * scale * np.sqrt(linear.size),
                scale,
                right,
                left,
            )
        )
    method = f"{KEEP} by Arnoldi on {'J^T' if backwards else 'J'} (ARPACK, basis of {BASIS})"
    if not modes:
        zero = _mode(
            0j,
            float(np.linalg.norm(apply(rng.standard_normal(linear.size)))),
            None,
            0.0,
            0.0,
            None,
            None,
        )
        return Spectrum(
            modes=(zero,),
            converged=False,
            method=method,
            outside=None,
            missed=None,
            noise=linear.noise,
        )
    return Spectrum(
        modes=_distinct(modes),
        converged=done,
        method=method,
        outside=None,
        missed=None,
        noise=linear.noise,
    )


def _eigs(
    apply: Product, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, bool]:
    from scipy.sparse import linalg

    sparse: Any = linalg
    operator = sparse.LinearOperator((size, size), matvec=lambda v: apply(np.ravel(v)), dtype=float)
    start = rng.standard_normal(size)
    if not np.any(apply(start)):
        return np.zeros(1, complex), start[:, None] / np.linalg.norm(start) + 0j, True
    try:
        values, vectors = sparse.eigs(
            operator, k=KEEP, ncv=BASIS, v0=start, tol=TARGET, maxiter=RESTARTS
        )
        return values, vectors, True
    except sparse.ArpackNoConvergence as error:
        return error.eigenvalues, error.eigenvectors, False
    except sparse.ArpackError:
        return np.zeros(0, complex), np.zeros((size, 0), complex), False


def _complex(apply: Product, v: Any) -> np.ndarray:
    """A real map of a complex vector."""
    return apply(np.ascontiguousarray(v.real)) + (
        1j * apply(np.ascontiguousarray(v.imag)) if np.any(v.imag) else 0
    )


def _partner(
    mu: complex, found: tuple[np.ndarray, np.ndarray, bool] | None, scale: float
) -> np.ndarray | None:
    """The eigenvector that the other side found for mu."""
    if found is None or not len(found[0]):
        return None
    values, vectors, _ = found
    i = int(np.argmin(np.abs(values - mu)))
    return (
        vectors[:, i] / np.linalg.norm(vectors[:, i])
        if abs(values[i] - mu) < 1e-6 * scale
        else None
    )


def _distinct(modes: list[Mode]) -> tuple[Mode, ...]:
    """By falling modulus, a conjugate pair and what two runs found alike once."""
    kept: list[Mode] = []
    for mode in sorted(modes, key=lambda each: (-each.modulus, each.residual)):
        twin = any(
            abs(mode.value - other.value) <= 1e-9 * other.modulus and _parallel(mode, other)
            for other in kept
        )
        if not twin:
            kept.append(mode)
    return tuple(kept)


def _parallel(one: Mode, other: Mode) -> bool:
    sides = (
        (one.left, other.left)
        if one.left is not None and other.left is not None
        else (one.right, other.right)
    )
    return sides[0] is None or sides[1] is None or bool(abs(np.vdot(sides[0], sides[1])) > 1 - 1e-6)


def search_missed(
    linear: Linear, modes: tuple[Mode, ...], *, steps: int = 40, seed: int = 0
) -> tuple[float | None, bool | None]:
    """Whether J has a larger eigenvalue outside the span of the modes found: Arnoldi with that span
    taken out.

    (1 - Q Q^T) J with Q an orthonormal basis of an invariant subspace has the other eigenvalues of
    J, and zeros.

    Args:
        linear: J.
        modes: those found.
        steps: of Arnoldi; again as many where the largest Ritz value has not settled.
        seed: of the start.

    Returns:
        (modulus of the largest Ritz value, whether it is above the radius); None for what was not
        decided.
    """
    backwards = linear.reverse is not None and all(mode.left is not None for mode in modes)
    apply = linear.reverse if backwards and linear.reverse is not None else linear.push
    vectors = [mode.left if backwards else mode.right for mode in modes]
    known: list[Any] = [v for v in vectors if v is not None]
    if len(known) < len(modes):
        return None, None
    span = np.column_stack([part for v in known for part in (v.real, v.imag)])
    left, sizes, _ = np.linalg.svd(span, full_matrices=False)
    basis = left[:, sizes > 1e-8 * sizes[0]]
    rng, radius = np.random.default_rng(seed + 7), max(mode.modulus for mode in modes)
    total = min(2 * steps, linear.size - basis.shape[1] - 1)
    q = rng.standard_normal(linear.size)
    q -= basis @ (basis.T @ q)
    rows, h = [q / np.linalg.norm(q)], np.zeros((total + 1, total))
    value = residual = 0.0
    for j in range(total):
        z = apply(rows[j])
        for _ in range(2):  # twice is enough for orthogonality
            z = z - basis @ (basis.T @ z)
            kept = np.array(rows)
            part = kept @ z
            z, h[: j + 1, j] = z - part @ kept, h[: j + 1, j] + part
        h[j + 1, j] = np.linalg.norm(z)
        last = h[j + 1, j] <= 1e-14 * max(radius, float(np.abs(h).max()))
        if last or j + 1 in (steps, total):
            value, residual = _largest_ritz(h, j + 1)
            if last or residual <= 1e-3 * max(value, radius) or value < radius / 2:
                return value, value > MISSED * radius
        rows.append(z / h[j + 1, j])
    return value, None if value + residual > radius else False


def _largest_ritz(h: np.ndarray, size: int) -> tuple[float, float]:
    """Modulus of the largest Ritz value, and its residual h_{m+1,m} |last entry of its vector|."""
    values, vectors = np.linalg.eig(h[:size, :size])
    i = int(np.argmax(np.abs(values)))
    return float(abs(values[i])), float(abs(h[size, size - 1] * vectors[-1, i]))
