"""Principal modes of F = U V: eigenvalue, right and left vector, and what vouches for them (NumPy
and SciPy, float64).

A rule says what growth factor mu a mode of eigenvalue lambda has in one step, and the principal
mode has the largest |mu|. With U (d x r), V (r x d) and r < d, the eigenvalues are those of the r x
r matrix V U and d - r zeros:

    V U y = lambda y, z^H V U = lambda z^H    =>    F v = lambda v with v = U y,
        l^H F = lambda l^H with l = V^T z

(with V diag(gain) P in the place of V where a normalisation is folded in).

Eigenvalues come from LAPACK's QR iteration, all of them; the vectors of a chosen one from two steps
of inverse iteration. Where r and d are both above `DENSE_LIMIT`, ARPACK finds the largest few by
modulus.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Float, Inexact

from eigenloop.lens.weights.eigenvectors import inverse_iteration, null_vectors, start_vector
from eigenloop.lens.weights.operators import Growth, Operator, parts

Flag: TypeAlias = Literal["positive", "negative", "complex", "zero"]

DENSE_LIMIT = 2048
"""Largest matrix whose eigenvalues are all computed; above it, ARPACK."""

ARPACK_COUNT, ARPACK_BASIS = 6, 48
"""Eigenvalues to ask ARPACK for, and vectors to find them with: with 1 or 2 it can miss the
largest.
"""

TOLERANCE = 1e-8
"""A mode has converged when its residual is below this fraction of the spectral radius."""

ACCURACY = 1e-3
"""And when, to first order, rounding moves its eigenvalue by less than this fraction: condition
times eps.
"""

REAL = 1e-12
"""An eigenvalue is real when |Im| is below this fraction of its modulus (LAPACK gives exact
zeros; ARPACK nearly).
"""


@dataclass(frozen=True, eq=False, kw_only=True)
class Mode:
    """An eigenvalue that leads by some rule, with its vectors and its certificate.

    Args:
        eigenvalue: lambda; of a complex pair, the one with Im > 0.
        factor: mu, the growth factor by the rule.
        flag: the sign of a real lambda, "positive" or "negative"; "complex" for a pair, whose plane
            rotates; "zero" where the null space leads.
        right: v, (d,), unit, real unless the flag is "complex"; its largest entry is real and
            positive.
        left: l, (d,), with l^H v = 1 (a unit vector where l^H v = 0).
        residual: ||M v - lambda v||.
        left_residual: ||M^T l - conj(lambda) l|| / ||l||.
        gap: |mu_2 / mu_1|, mu_2 the next factor outside a complex pair; 1 where the leading one is
            not unique.
        condition: ||l|| ||v|| / |l^H v| >= 1, how far rounding moves lambda; infinite where l^H v =
            0.
        converged: the residual is below `TOLERANCE` of the spectral radius, and rounding, condition
            * eps of the radius, moves the eigenvalue by less than `ACCURACY` of it (a defective
            matrix has eigenvalues that no arithmetic of finite length finds).
        method: "product" (r x r), "dense", "arpack" or "null space".
        operator: the formula of M.
    """

    eigenvalue: complex
    factor: complex
    flag: Flag
    right: Inexact[np.ndarray, " d"]
    left: Inexact[np.ndarray, " d"]
    residual: float
    left_residual: float
    gap: float
    condition: float
    converged: bool
    method: str
    operator: str

    @property
    def growth(self) -> float:
        """|mu|."""
        return abs(self.factor)

    def plane(self) -> Float[np.ndarray, "d k"]:
        """Orthonormal basis of the real subspace that the mode spans: k = 2 for a complex pair,
        else 1.
        """
        return _plane(self.right)

    def left_plane(self) -> Float[np.ndarray, "d k"]:
        """The same for the left vectors: what the mode reads."""
        return _plane(self.left)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """All eigenvalues of an operator.

    Args:
        operator: M.
        known: the eigenvalues that an earlier `Spectrum` of M found; by default they are computed.

    Example:
        >>> found = Spectrum(Operator(left=np.diag([2.0, -3.0]), right=np.eye(2)))
        >>> found.eigenvalues, found.principal(Growth(shift=1.0)).eigenvalue
        (array([-3.+0.j,  2.+0.j]), (2+0j))
    """

    operator: Operator
    known: Inexact[np.ndarray, " k"] | None = field(default=None, repr=False)
    core: Float[np.ndarray, "k k"] = field(init=False)
    eigenvalues: Inexact[np.ndarray, " k"] = field(init=False)

    def __post_init__(self) -> None:
        """Multiply the factors out, and compute the eigenvalues, largest modulus first, where
        they are not known.
        """
        core = self.operator.core()
        object.__setattr__(self, "core", core)
        object.__setattr__(
            self, "eigenvalues", eigenvalues_of(core) if self.known is None else self.known
        )

    @property
    def zeros(self) -> int:
        """How many more eigenvalues there are, all exactly 0."""
        return self.operator.left.shape[0] - len(self.core)

    def principal(self, growth: Growth) -> Mode:
        """The mode of largest |mu|; the zeros of a low-rank operator count, with mu = shift."""
        values = np.concatenate([self.eigenvalues, np.zeros(min(self.zeros, 2))])
        best, factors = _leader(growth(values))
        eigenvalue, radius = complex(values[best]), abs(self.eigenvalues[0])
        method = "product" if self.operator.is_low_rank else "dense"
        if self.zeros and abs(eigenvalue) <= 1e-14 * np.linalg.norm(self.core):
            eigenvalue, method = 0j, "null space"
            right, left = null_vectors(self.operator)
        else:
            right, left = inverse_iteration(self.core, eigenvalue)
            if self.operator.is_low_rank:
                right, left = self.operator.lift(right), self.operator.lift_left(left)
        return _certified(
            self.operator, growth, eigenvalue, right, left, _gap(factors), radius, method
        )

    def eigenbasis(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(lambda_i, right vectors v_i, left vectors w_i) of the eigenvalues here, complex, with
        w_i^H v_i = 1.

        The left vectors are the inverse of the matrix of right ones: coordinates c_i = w_i^H x grow
        by mu_i exactly. For a low-rank operator these are its r modes, and a zero among them has no
        left vector (NaN).

        Returns:
            (k,), (d, k) and (d, k), unit right vectors.
        """
        return eigenbasis(self.operator, self.core)


@dataclass(frozen=True, eq=False)
class Arnoldi:
    """The eigenvalues of largest |mu| by ARPACK (implicitly restarted Arnoldi), from a fixed start.

    It runs on shift I + M / scale. Asking for the largest one alone can end at another eigenvalue;
    asking for several, in a basis of several times as many vectors, and sorting them does not
    (tests/lens/test_modes.py: 400 matrices). What has not converged is asked for again with twice
    the basis, then taken from what did, with `converged` false where the residual says so.

    Args:
        operator: M, with d > count + 2.
        count: eigenvalues to find.
        basis: Arnoldi vectors; by default d/32 (fewer restarts for a large M), at least
            `ARPACK_BASIS`.
    """

    operator: Operator
    count: int = ARPACK_COUNT
    basis: int | None = None
    matrix: Any = field(init=False)

    def __post_init__(self) -> None:
        """Multiply the factors out where that saves work in the many products with vectors."""
        thin = self.operator.is_low_rank and 2 * self.operator.size < self.operator.left.shape[0]
        object.__setattr__(self, "matrix", self.operator if thin else self.operator.matrix())

    def principal(self, growth: Growth) -> Mode:
        """The mode of largest |mu|."""
        values, vectors = self._largest(growth, lambda x: self.matrix @ x)
        order = _order(values)
        values, vectors = values[order], vectors[:, order]
        best, factors = _leader(growth(values))
        eigenvalue, right = complex(values[best]), vectors[:, best]
        left_values, left_vectors = self._largest(growth, lambda x: x @ self.matrix)
        left = left_vectors[:, np.argmin(np.abs(left_values - eigenvalue.conjugate()))]
        if abs(eigenvalue.imag) <= REAL * abs(eigenvalue):
            eigenvalue, right, left = complex(eigenvalue.real), _real(right), _real(left)
        return _certified(
            self.operator,
            growth,
            eigenvalue,
            right,
            left,
            _gap(factors),
            abs(values).max(),
            "arpack",
        )

    def _largest(
        self, growth: Growth, apply: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues of M or M^T, and vectors."""
        from scipy.sparse import linalg

        sparse: Any = linalg  # whose overloads a type checker cannot follow
        dim = self.operator.left.shape[0]
        step = sparse.LinearOperator(
            (dim, dim), lambda x: growth.shift * x + apply(x) / growth.scale, dtype=float
        )
        factors, vectors = np.empty(0), np.empty((dim, 0))
        first = self.basis or max(ARPACK_BASIS, dim // 32)
        for basis in (first, 2 * first):
            # M takes the start to 0: the null space is all that was found
            try:
                factors, vectors = sparse.eigs(
                    step, k=self.count, ncv=min(basis, dim), v0=start_vector(dim)
                )
                break
            except sparse.ArpackNoConvergence as error:
                factors, vectors = error.eigenvalues, error.eigenvectors
            except sparse.ArpackError:
                break
        if not len(factors):
            return np.zeros(2, complex), np.stack([start_vector(dim)] * 2, axis=1).astype(complex)
        return (factors - growth.shift) * growth.scale, vectors


def solver(operator: Operator, known: np.ndarray | None = None) -> Spectrum | Arnoldi:
    """All eigenvalues where that is affordable, else the largest; both have `principal(growth)`.

    Args:
        operator: M.
        known: as for `Spectrum`.
    """
    return Spectrum(operator, known) if operator.size <= DENSE_LIMIT else Arnoldi(operator)


def eigenvalues_of(matrix: Float[np.ndarray, "k k"]) -> Inexact[np.ndarray, " k"]:
    """All eigenvalues, largest modulus first; every spectrum of the lens is computed here.

    Example:
        >>> eigenvalues_of(np.diag([2.0, -3.0]))
        array([-3.+0.j,  2.+0.j])
    """
    values = np.linalg.eigvals(matrix).astype(np.complex128)
    return values[_order(values)]


def eigenbasis(
    operator: Operator, core: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `Spectrum.eigenbasis`, for an operator whose eigenvalues alone are not needed before.

    Args:
        operator: M.
        core: `operator.core()`, where it is known.
    """
    # real: pairs are exactly conjugate
    values, right = np.linalg.eig(operator.core() if core is None else core)
    values, right = values.astype(np.complex128), right.astype(np.complex128)
    left = np.linalg.inv(right).conj().T
    if operator.is_low_rank:
        right = np.stack([operator.lift(y) for y in right.T], axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            left = np.stack([operator.lift_left(z) for z in left.T], axis=1) / values.conj()
    lengths = np.linalg.norm(right, axis=0)
    order = _order(values)
    return values[order], (right / lengths)[:, order], (left * lengths)[:, order]


def principal(operator: Operator, growth: Growth) -> Mode:
    """The principal mode of an operator by a rule.

    Example:
        >>> principal(Operator(left=np.diag([2.0, -3.0]), right=np.eye(2)), Growth()).flag
        'negative'
    """
    return solver(operator).principal(growth)


# --- which eigenvalue leads


def _order(values: np.ndarray) -> np.ndarray:
    """Indices by falling modulus; of equal ones the larger real part first, then Im > 0."""
    return np.lexsort((-np.imag(values), -np.real(values), -np.abs(values)))


def _leader(factors: np.ndarray) -> tuple[int, np.ndarray]:
    """Index of the factor of largest modulus (Im >= 0 of a pair), and all moduli with one of
    each pair, it first.
    """
    upper = np.flatnonzero(np.imag(factors) >= 0)
    best = upper[_order(factors[upper])[0]]
    others = np.abs(np.delete(factors[upper], np.flatnonzero(upper == best)))
    return int(best), np.concatenate([np.abs(factors[[best]]), np.sort(others)[::-1]])


def _gap(moduli: np.ndarray) -> float:
    return (
        float(moduli[1] / moduli[0])
        if len(moduli) > 1 and moduli[0] > 0
        else float(len(moduli) > 1)
    )


# --- vectors


def _plane(x: np.ndarray) -> np.ndarray:
    """Orthonormal basis of the real vectors that x, or its real and imaginary part, span."""
    return np.linalg.qr(parts(x))[0] if np.iscomplexobj(x) else (x / np.linalg.norm(x))[:, None]


def _real(x: np.ndarray) -> np.ndarray:
    """The real vector that a complex one is a multiple of."""
    largest = x[np.argmax(np.abs(x))]
    return np.real(x * (np.conj(largest) / abs(largest)))


def _signed(x: np.ndarray) -> np.ndarray:
    """Unit, the first entry of (nearly) largest modulus real and positive."""
    moduli = np.abs(x)
    largest = x[np.argmax(moduli >= (1 - 1e-6) * moduli.max())]
    return x * (np.conj(largest) / abs(largest)) / np.linalg.norm(x)


def _certified(
    operator: Operator,
    growth: Growth,
    eigenvalue: complex,
    right: np.ndarray,
    left: np.ndarray,
    gap: float,
    radius: float,
    method: str,
) -> Mode:
    """Fix lengths and signs, and measure."""
    right, left = _signed(right), left / np.linalg.norm(left)
    overlap = np.vdot(left, right)
    known = abs(overlap) > np.finfo(float).eps
    residual = float(np.linalg.norm(operator @ right - _like(eigenvalue, right) * right))
    conjugate = _like(eigenvalue.conjugate(), left)
    left_residual = float(np.linalg.norm(left @ operator - conjugate * left))
    small = bool(residual <= TOLERANCE * radius or residual < 1e-14)
    accurate = bool(abs(overlap) > np.finfo(float).eps / ACCURACY)
    flag: Flag = "complex" if eigenvalue.imag else "positive" if eigenvalue.real > 0 else "negative"
    return Mode(
        eigenvalue=eigenvalue,
        factor=complex(growth(eigenvalue)),
        flag=flag if eigenvalue else "zero",
        right=right,
        left=left / np.conj(overlap) if known else left,
        residual=residual,
        left_residual=left_residual,
        gap=min(gap, 1.0),
        condition=float(1 / abs(overlap)) if known else float("inf"),
        converged=small and (accurate or method == "null space"),
        method=method,
        operator=operator.formula,
    )


def _like(value: complex, vector: np.ndarray) -> complex | float:
    return value if np.iscomplexobj(vector) else value.real
