"""Distributions of the principal component prediction task: data matrices X with unit columns and
queries q (JAX).

S = X X^T = sum_i lambda_i u_i u_i^T with lambda_1 = ... = lambda_m > lambda_{m+1}; the query q is
uniform on the unit sphere and independent of X. Source: arXiv 2606.00605, Definition 3.1,
Assumption 3.2, Example 3.3.

A distribution is any object with `dim`, `samples` and `sample(key, size) -> X` of shape (size, d,
n), unit columns. Where its spectrum is fixed it has `eigenvalues` (descending) as well, and where
only the multiplicity of the largest eigenvalue is, `multiplicity`; `assumption_breaches` says what
it lacks.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key
from numpy.typing import ArrayLike

from eigenloop.numerics.spectrum import (
    TIE_TOLERANCE,
    Numbers,
    check_multiplicities,
    require_gap,
    sorted_eigenvalues,
    top_multiplicity,
)
from eigenloop.system.errors import InputError

TRIALS = 1000
"""Draws that estimate how often a threshold on lambda_d is met."""


@runtime_checkable
class Distribution(Protocol):
    """What the lab needs of a distribution of X."""

    @property
    def dim(self) -> int:
        """d, the length of a data vector."""
        ...

    @property
    def samples(self) -> int:
        """n, the number of columns of X."""
        ...

    def sample(self, key: Key[Array, ""], size: int) -> Float[Array, "size d n"]:
        """Draw `size` independent X with unit columns; pure, so that it can run inside a
        compiled step.
        """
        ...


class Batch(NamedTuple):
    """Examples side by side; every field has a leading axis over the b examples."""

    columns: Float[Array, "b d n"]
    """X."""
    query: Float[Array, "b d"]
    """q, unit vectors."""
    gram: Float[Array, "b d d"]
    """S = X X^T."""
    principal: Float[Array, "b d m"] | None
    """Orthonormal basis of PS(X), zero columns beyond an example's own multiplicity; None where
    nothing asks for it.
    """

    # a batch is indexed by example, not by field
    def __getitem__(self, index: int | slice | ArrayLike) -> "Batch":  # type: ignore[override]
        return jax.tree.map(lambda leaf: leaf[index], self)


class Sphere(eqx.Module):
    """Task 1: the n columns are independent and uniform on the unit sphere of R^d (arXiv
    2606.00605, Section 5).

    Example:
        >>> Sphere(dim=3, samples=5).sample(jax.random.key(0), 2).shape
        (2, 3, 5)
    """

    dim: int = eqx.field(static=True)
    samples: int = eqx.field(static=True)

    def __post_init__(self) -> None:
        """Refuse sizes without meaning."""
        _check_sizes(self.dim, self.samples)

    def sample(self, key: Key[Array, ""], size: int) -> Float[Array, "size d n"]:
        """Normalised Gaussian columns."""
        x = jax.random.normal(key, (size, self.dim, self.samples))
        return x / jnp.linalg.norm(x, axis=1, keepdims=True)

    @property
    def multiplicity(self) -> int:
        """1: the largest eigenvalue is simple almost surely."""
        return 1

    def assumption_breaches(self) -> list[str]:
        """(A3), E[1/lambda_d] < infinity, holds exactly when n >= d + 2."""
        if self.samples >= self.dim + 2:
            return []
        return [
            f"Assumption 3.2 (A3): E[1/lambda_d] is infinite for --samples {self.samples} columns"
            f" in dimension {self.dim} (finite from n = d + 2 = {self.dim + 2}); the theorems'"
            " proofs do not cover this run"
        ]


class Rotated(eqx.Module):
    """Example 3.3: X = Q X0 with Q Haar-orthogonal and X0 a fixed full-rank matrix with unit
    columns.

    S has the eigenvalues of X0 X0^T in every draw. Task 2 is the case of repeated basis vectors:
    `Rotated.planted`.
    """

    base: Float[np.ndarray, "d n"]
    """X0 in float64; a draw has the default precision of its time."""
    eigenvalues: tuple[float, ...] = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    samples: int = eqx.field(static=True)

    def __init__(self, base: ArrayLike) -> None:
        """Check X0 and take its spectrum.

        Args:
            base: X0, (d, n), unit columns, rank d.

        Raises:
            InputError: not a matrix, not finite, a column whose norm is not 1, rank below d, or a
                tight frame.
        """
        x0 = np.asarray(base, dtype=np.float64)
        if x0.ndim != 2:
            raise InputError(
                f"X0 has shape {x0.shape}; it must be a d x n matrix, columns = data vectors"
            )
        _check_sizes(*x0.shape)
        if not np.all(np.isfinite(x0)):
            raise InputError("X0 holds a value that is not finite; remove or replace it")
        norms = np.linalg.norm(x0, axis=0)
        worst = int(np.argmax(abs(norms - 1)))
        if abs(norms[worst] - 1) > 1e-6:
            raise InputError(
                f"column {worst} of X0 has norm {norms[worst]:g}; divide each column by its norm"
            )
        x0 = x0 / norms
        values = sorted_eigenvalues(np.linalg.eigvalsh(x0 @ x0.T).clip(0))
        if values[-1] < 1e-9 * values[0]:
            raise InputError(
                f"X0 has smallest eigenvalue {values[-1]:g}; Example 3.3 needs full rank d ="
                f" {x0.shape[0]}"
            )
        require_gap(values)
        self.base = x0
        self.eigenvalues = tuple(float(v) for v in values)
        self.dim, self.samples = x0.shape

    @classmethod
    def planted(cls, multiplicities: Numbers, *, dim: int, samples: int) -> "Rotated":
        """Task 2: X0 = [e_1 repeated m_1 times, ..., e_d repeated m_d times]; the eigenvalues of S
        are the m_i.

        Example:
            >>> Rotated.planted([2, 1], dim=2, samples=3).eigenvalues
            (2.0, 1.0)
        """
        values = check_multiplicities(np.asarray(multiplicities).tolist(), dim=dim, samples=samples)
        return cls(np.repeat(np.eye(dim), values, axis=1))

    def sample(self, key: Key[Array, ""], size: int) -> Float[Array, "size d n"]:
        """Q X0 with fresh Haar rotations."""
        return haar_rotations(key, size, self.dim) @ jnp.asarray(
            self.base, dtype=jnp.result_type(float)
        )

    def assumption_breaches(self) -> list[str]:
        """None: unit columns, rotation invariant, lambda_d fixed and positive."""
        return []


class Rejected(eqx.Module):
    """A distribution conditioned on lambda_d(S) >= threshold, by drawing again what falls below
    (Example 3.3).

    Keeps (A1) and (A2) and makes (A3) hold.
    """

    inner: Distribution
    threshold: float = eqx.field(static=True)

    MAX_ROUNDS = 10_000

    def __init__(self, inner: Distribution, *, threshold: float) -> None:
        """Estimate the acceptance rate on 1,000 draws and refuse a threshold that would hardly ever
        be met.

        Raises:
            InputError: threshold not positive, n < d, or fewer than 10 of 1,000 draws accepted.
        """
        if not (np.isfinite(threshold) and threshold > 0):
            raise InputError(f"--min-eigenvalue is {threshold:g}; it must be above 0")
        if inner.samples < inner.dim:
            raise InputError(
                f"--samples is {inner.samples}, but lambda_d is 0 with fewer columns than --dim ="
                f" {inner.dim}; no draw can meet --min-eigenvalue, so raise --samples or leave"
                " --min-eigenvalue out"
            )
        # `inner` itself may not be hashable
        trial = jax.jit(lambda key: inner.sample(key, TRIALS))(jax.random.key(0))
        accepted = int(jnp.sum(_smallest_eigenvalue(trial) >= threshold))
        if accepted < 10:
            raise InputError(
                f"only {accepted} of {TRIALS} draws have lambda_d >= {threshold:g}; "
                "lower --min-eigenvalue or raise --samples"
            )
        self.inner, self.threshold = inner, float(threshold)

    @property
    def dim(self) -> int:
        """The inner distribution's d."""
        return self.inner.dim

    @property
    def samples(self) -> int:
        """The inner distribution's n."""
        return self.inner.samples

    @property
    def eigenvalues(self) -> tuple[float, ...] | None:
        """The inner distribution's, where its spectrum is fixed: a draw is kept or left as it
        is.
        """
        return getattr(self.inner, "eigenvalues", None)

    @property
    def multiplicity(self) -> int | None:
        """The inner distribution's, where it has one."""
        return getattr(self.inner, "multiplicity", None)

    def sample(self, key: Key[Array, ""], size: int) -> Float[Array, "size d n"]:
        """Redraw the rejected examples until all are accepted."""

        def redraw(state: tuple[Key[Array, ""], Array, Array, Array]):
            key, x, accepted, rounds = state
            key, sub = jax.random.split(key)
            fresh = self.inner.sample(sub, size)
            x = jnp.where(accepted[:, None, None], x, fresh)
            return key, x, accepted | (_smallest_eigenvalue(fresh) >= self.threshold), rounds + 1

        x = jnp.zeros((size, self.dim, self.samples))
        start = (key, x, jnp.zeros(size, dtype=bool), jnp.zeros((), dtype=jnp.int32))
        return lax.while_loop(lambda s: ~jnp.all(s[2]) & (s[3] < self.MAX_ROUNDS), redraw, start)[1]

    def assumption_breaches(self) -> list[str]:
        """None: lambda_d is bounded below."""
        return []


class Observed(eqx.Module):
    """A fixed data set: every draw is the observed X itself, columns normalised; only the query is
    random.

    For test-time use (Assumption 4.4, out of distribution): (A1) holds, (A2) does not.

    Example:
        >>> Observed(np.array([[3.0, 0.0, 1.0], [4.0, 2.0, 0.0]])).dim
        2
    """

    columns: Float[np.ndarray, "d n"]
    """X in float64; a draw has the default precision of its time."""
    eigenvalues: tuple[float, ...] = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    samples: int = eqx.field(static=True)

    def __init__(self, columns: ArrayLike) -> None:
        """Normalise the columns.

        Raises:
            InputError: not a finite d x n matrix with d >= 2, a zero column, or a tight frame.
        """
        x = np.asarray(columns, dtype=np.float64)
        if x.ndim != 2:
            raise InputError(f"the data have shape {x.shape}; a d x n matrix is needed")
        _check_sizes(*x.shape)
        if not np.all(np.isfinite(x)):
            raise InputError("the data hold a value that is not finite; remove or replace it")
        norms = np.linalg.norm(x, axis=0)
        if norms.min() == 0:
            raise InputError(
                f"column {int(np.argmin(norms))} of the data is zero and has no direction;"
                " remove it"
            )
        x = x / norms
        values = sorted_eigenvalues(np.linalg.eigvalsh(x @ x.T).clip(0))
        require_gap(values)
        self.columns = x
        self.eigenvalues = tuple(float(v) for v in values)
        self.dim, self.samples = x.shape

    def sample(self, key: Key[Array, ""], size: int) -> Float[Array, "size d n"]:
        """The same X `size` times."""
        del key
        columns = jnp.asarray(self.columns, dtype=jnp.result_type(float))
        return jnp.broadcast_to(columns, (size, self.dim, self.samples))

    def assumption_breaches(self) -> list[str]:
        """(A2) fails for data that do not come in every rotation."""
        return [
            "Assumption 3.2 (A2): one observed data set is not rotation invariant; "
            "Theorems 4.6 and 4.7 (test time) cover it, the training theorems do not"
        ]


def haar_rotations(
    key: Key[Array, ""], size: int, dim: int, dtype: jnp.dtype | None = None
) -> Float[Array, "size d d"]:
    """Independent orthogonal matrices from the Haar measure on O(d).

    Example:
        >>> haar_rotations(jax.random.key(0), 4, 3).shape
        (4, 3, 3)
    """
    q, r = jnp.linalg.qr(
        jax.random.normal(key, (size, dim, dim), dtype=dtype or jnp.result_type(float))
    )
    return q * jnp.sign(jnp.diagonal(r, axis1=1, axis2=2))[:, None, :]


def uniform_queries(key: Key[Array, ""], size: int, dim: int) -> Float[Array, "size d"]:
    """Queries q uniform on the unit sphere S^{d-1}.

    Example:
        >>> uniform_queries(jax.random.key(0), 4, 3).shape
        (4, 3)
    """
    z = jax.random.normal(key, (size, dim))
    return z / jnp.linalg.norm(z, axis=1, keepdims=True)


def draw(
    distribution: Distribution, key: Key[Array, ""], size: int, *, principal: bool = True
) -> Batch:
    """Draw `size` examples (X, q) with S and, where asked for, a basis of the principal subspace.

    Args:
        distribution: of X.
        key: split between X and q.
        size: number of examples b.
        principal: whether to diagonalise S (the layerwise objectives do not need it).

    Returns:
        A `Batch` in the current default float dtype.

    Example:
        >>> draw(Sphere(dim=3, samples=5), jax.random.key(0), 2).principal.shape
        (2, 3, 1)
    """
    key_columns, key_query = jax.random.split(key)
    columns = distribution.sample(key_columns, size)
    return assemble(
        columns, uniform_queries(key_query, size, distribution.dim), _width(distribution, principal)
    )


def assemble(columns: Float[Array, "b d n"], query: Float[Array, "b d"], width: int) -> Batch:
    """A batch from X and q; `width` columns of principal basis (0: none, more than the
    multiplicity: zero columns).
    """
    gram = columns @ columns.mT
    if width == 0:
        return Batch(columns, query, gram, None)
    values, vectors = jnp.linalg.eigh(gram)
    values, vectors = values[:, ::-1], vectors[:, :, ::-1]
    # float32 eigenvalues tie only to rounding: 1e-5 of the largest separates it from any gap that
    # float32 can resolve.
    tie = jnp.where(values.dtype == jnp.float64, TIE_TOLERANCE, 1e-5).astype(values.dtype)
    top = values[:, :1] - values < tie * values[:, :1]
    return Batch(columns, query, gram, jnp.where(top[:, None, :width], vectors[:, :, :width], 0))


def assumption_breaches(distribution: Distribution) -> list[str]:
    """What Assumption 3.2 of arXiv 2606.00605 asks for and the distribution lacks, one sentence
    each.

    A distribution of the user's own may say so itself by a method of this name; otherwise nothing
    is known.

    Example:
        >>> assumption_breaches(Sphere(dim=16, samples=32))
        []
    """
    own: Callable[[], list[str]] | None = getattr(distribution, "assumption_breaches", None)
    return own() if own is not None else []


def _width(distribution: Distribution, principal: bool) -> int:
    """Columns that the principal bases of this distribution need: its multiplicity where known,
    else at most d - 1.
    """
    if not principal:
        return 0
    multiplicity = getattr(distribution, "multiplicity", None)
    if multiplicity is not None:
        return int(multiplicity)
    eigenvalues = getattr(distribution, "eigenvalues", None)
    return distribution.dim - 1 if eigenvalues is None else top_multiplicity(eigenvalues)


def _smallest_eigenvalue(columns: Float[Array, "b d n"]) -> Float[Array, " b"]:
    return jnp.linalg.eigvalsh(columns @ columns.mT)[:, 0]


def _check_sizes(dim: int, samples: int) -> None:
    if dim < 2:
        raise InputError(
            f"--dim is {dim}; it must be at least 2 (in one dimension there is nothing to find)"
        )
    if samples < 1:
        raise InputError(f"--samples is {samples}; it must be at least 1")
