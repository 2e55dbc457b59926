"""A trained looped transformer applied to a table: its component, with a certificate (NumPy
float64).

    q_l = N(q_{l-1} + A S B q_{l-1}),   S = X X^T,
        A, B the trained matrices themselves (never their traces)

Training does not see the table: the model learns from synthetic data of its dimension (Task 1,
arXiv 2606.00605, Section 5) and is then applied to the table's S (Assumption 4.4, out of
distribution).

Cost: S, A and B are d x d, and the exact eigenvectors and the plateau are dense decompositions:
O(d^2) memory and O(d^3) time.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from eigenloop.numerics.power import loops_needed, normalize, sin_angle
from eigenloop.predict.targets import SCALED, Target
from eigenloop.system.errors import InputError

LOOPS = 100

ESTIMATES = {
    (False, True): (
        "the top direction of unit-norm, uncentred rows, as in the paper "
        "(--center --no-normalize gives the usual principal component)"
    ),
    (True, True): "the top direction of centred rows, each divided by its norm",
    (
        False,
        False,
    ): (
        "the top direction of uncentred rows of any length (S rescaled to trace n, which moves no "
        "direction)"
    ),
    (
        True,
        False,
    ): (
        "the usual principal component: centred rows of any length (S rescaled to trace n, which"
        " moves no direction)"
    ),
}
"""What is estimated, by (center, normalize)."""


ORIENTATION = "rows of the table are samples; they became the columns of X, once"

SIGN_TIE = 1e-6
"""Entries within this fraction of the largest one count as large as it, so that rounding does
not choose among them.
"""


PLATEAU_REASON = (
    "the trained A, B are not exact multiples of I, so the loops converge to the dominant"
    " eigenvector of I + A S B, not to u_1"
)


@dataclass(frozen=True)
class Blocks:
    """Trained A and B in float64, (d, d) each."""

    a: Float[np.ndarray, "d d"]
    b: Float[np.ndarray, "d d"]

    @property
    def dim(self) -> int:
        """Dimension d of the data vectors."""
        return self.a.shape[0]

    @property
    def gamma(self) -> float:
        """Scalar summary gamma = tr(AB)/d: used for the prediction of Theorem 4.6 only, never to
        apply the model.
        """
        return float(np.sum(self.a * self.b.T)) / self.dim

    def states(
        self, gram: Float[np.ndarray, "d d"], start: Float[np.ndarray, " d"], *, loops: int
    ) -> Float[np.ndarray, "K d"]:
        """q_0..q_K of q_l = N(q_{l-1} + A S B q_{l-1}), unit rows, q_0 = N(start).

        Example:
            >>> Blocks(np.eye(2), np.eye(2)).states(
            ...     np.diag([1.0, 0.0]), np.array([1.0, 1.0]), loops=1
            ... ).round(4)
            array([[0.7071, 0.7071],
                   [0.8944, 0.4472]])
        """
        states = [normalize(start)]
        for _ in range(loops):
            query = states[-1]
            states.append(normalize(query + self.a @ (gram @ (self.b @ query))))
        return np.stack(states)

    def plateau_angle(
        self, gram: Float[np.ndarray, "d d"], basis: Float[np.ndarray, "d m"]
    ) -> tuple[float | None, str | None]:
        """Angle in radians between the limit of the loops and the principal subspace; None with a
        reason if undefined.

        The limit is the dominant eigenvector of I + A S B, which is u_1 for every S only if A, B
        are multiples of I. A tie that noise turns into a complex pair makes the loops rotate in a
        plane: for m >= 2 the plane's largest angle to PS is given.

        Args:
            gram: S.
            basis: orthonormal basis of PS.

        Example:
            >>> Blocks(np.eye(2), np.eye(2)).plateau_angle(np.diag([2.0, 1.0]), np.eye(2)[:, :1])
            (0.0, None)
        """
        values, vectors = np.linalg.eig(np.eye(self.dim) + self.a @ gram @ self.b)
        top = int(np.argmax(np.abs(values)))
        vector = vectors[:, top]
        if np.imag(values[top]) == 0:
            return _angle(np.real(vector), basis), None
        if basis.shape[1] < 2:
            return (
                None,
                (
                    "I + A S B has a complex dominant pair, so the loops rotate and have no limit;"
                    " train longer"
                ),
            )
        plane = np.linalg.qr(np.stack([np.real(vector), np.imag(vector)], axis=1))[0]
        outside = np.linalg.norm(plane - basis @ (basis.T @ plane), ord=2)
        return float(np.arcsin(min(outside, 1.0))), None


@dataclass(frozen=True)
class Prediction:
    """A predicted component with its certificate.

    Angles in radians, to the exact principal subspace.
    """

    component: Float[np.ndarray, " d"]
    """q_K, unit, its sign that of `oriented`."""
    start_angle: float
    angle_to_exact: tuple[float, ...]
    """After loops 1..K."""
    plateau_angle: float | None
    loops_predicted: int | None
    """Loops that suffice by the upper bound of Theorem 4.6 for a scalar model of the same gamma."""
    loops_taken: int | None
    """First loop within the tolerance; 0 if the start already was."""
    explained: float
    """component^T S component / tr S."""
    dim: int
    samples: int
    loops: int
    tolerance: float
    gamma: float
    estimates: str
    reasons: dict[str, str]
    """Why an entry is None."""

    @property
    def converged(self) -> bool:
        """Whether the tolerance was reached within the loops."""
        return self.loops_taken is not None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; never NaN."""
        plain = {
            **vars(self),
            "component": self.component.tolist(),
            "angle_to_exact": list(self.angle_to_exact),
        }
        return {
            **plain,
            "converged": self.converged,
            "plateau_reason": PLATEAU_REASON,
            "orientation": ORIENTATION,
        }


def check_settings(*, loops: int, tolerance: float) -> None:
    """Refuse settings without meaning, before anything is trained.

    Raises:
        InputError: loops below 1, or a tolerance that is no angle above 0.
    """
    if loops < 1:
        raise InputError(f"--loops is {loops}; it must be at least 1")
    if not 0 < tolerance < np.pi / 2:
        raise InputError(
            f"--tolerance is {tolerance:g}; it is an angle in radians, above 0 and below pi/2"
        )


def predict(
    target: Target, blocks: Blocks, *, loops: int = LOOPS, tolerance: float = 1e-2, seed: int = 0
) -> Prediction:
    """Apply trained blocks to a table's S from a fixed random unit start, and measure each loop.

    Args:
        target: from `Target.from_rows`.
        blocks: of the same dimension.
        loops: K >= 1.
        tolerance: angle in radians to reach.
        seed: of the start q_0.

    Raises:
        InputError: loops, tolerance or dimensions that cannot be.

    Example:
        >>> exact = Blocks(2 * np.eye(2), 2 * np.eye(2))
        >>> rows = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> predict(Target.from_rows(rows), exact).component.round(6) + 0.0
        array([1., 0.])
    """
    check_settings(loops=loops, tolerance=tolerance)
    dim = target.gram.shape[0]
    if blocks.dim != dim:
        raise InputError(
            f"the model has dimension {blocks.dim}, but the data have {dim} features; they must be"
            " equal"
        )
    start = np.random.default_rng(seed).standard_normal(dim)
    states = blocks.states(target.gram, start, loops=loops)
    angles = [_angle(state, target.basis) for state in states]
    taken = next((k for k, angle in enumerate(angles) if angle <= tolerance), None)
    reasons: dict[str, str] = {}
    plateau, reason = blocks.plateau_angle(target.gram, target.basis)
    if reason is not None:
        reasons["plateau_angle"] = reason
    gamma, predicted = blocks.gamma, None
    why = f"gamma = tr(AB)/d is {gamma:g}: Theorem 4.6 needs it positive" + (
        "; train longer" if gamma == 0 else ", and below 0 the loop is that of S - rho I"
    )
    if gamma > 0:
        why = (
            "the bound of Theorem 4.6 never falls to the tolerance: the start is orthogonal to the"
            " principal direction, or the two largest eigenvalues are too close; take another seed"
        )
        predicted = loops_needed(
            target.eigenvalues,
            tan_start=float(np.tan(angles[0])),
            tolerance=float(np.sin(tolerance)),
            gamma=gamma,
        )
    if predicted is None:
        reasons["loops_predicted"] = why
    if taken is None:
        cause = _other_end(gamma, target.eigenvalues) or PLATEAU_REASON
        reasons["loops_taken"] = _not_reached(tolerance, loops, plateau, predicted, cause)
    component = oriented(states[-1], target.basis)
    explained = float(component @ target.gram @ component / np.trace(target.gram))
    return Prediction(
        component,
        angles[0],
        tuple(angles[1:]),
        plateau,
        predicted,
        taken,
        explained,
        dim,
        target.samples,
        loops,
        tolerance,
        gamma,
        ESTIMATES[target.center, target.normalized] + SCALED * target.scaled,
        reasons,
    )


def oriented(
    vector: Float[np.ndarray, " d"], basis: Float[np.ndarray, "d m"]
) -> Float[np.ndarray, " d"]:
    """One of v and -v: that on the side of u_1, whose first entry within `SIGN_TIE` of its largest
    |entry| is positive.

    u_1 is exact, so that neither the noise of a training nor the order of the rows chooses. Where v
    is no estimate of one u_1 (a tied top eigenvalue, or an angle above 45 degrees), the rule is
    applied to v itself. The boundary: where two entries of u_1 differ by nearly `SIGN_TIE` of the
    largest, rounding of the table decides which of them counts.

    Example:
        >>> (
        ...     oriented(np.array([-0.8, 0.6]), np.eye(2)[:, :1]),
        ...     oriented(np.array([-0.7, 0.7]), np.eye(2)),
        ... )
        (array([ 0.8, -0.6]), array([ 0.7, -0.7]))
    """
    leading = basis[:, 0]
    estimates = basis.shape[1] == 1 and (vector @ leading) ** 2 >= np.sum(vector**2) / 2
    decides = leading * (vector @ leading) if estimates else vector
    first = int(np.argmax(np.abs(decides) >= (1 - SIGN_TIE) * np.abs(decides).max()))
    return vector if decides[first] > 0 else -vector


def _angle(vector: np.ndarray, basis: np.ndarray) -> float:
    return float(np.arcsin(np.minimum(sin_angle(vector, basis), 1.0)))


def _other_end(gamma: float, eigenvalues: np.ndarray) -> str | None:
    """Why loops with gamma < 0 miss u_1: |1 + gamma lambda| is largest at the other end."""
    first, last = float(np.max(eigenvalues)), float(np.min(eigenvalues))
    if gamma >= 0 or abs(1 + gamma * first) > abs(1 + gamma * last):
        return None
    return (
        f"gamma = {gamma:g} makes the loop that of S - rho I with rho = {-1 / gamma:.4g}, which is"
        f" at or above the middle {(first + last) / 2:.4g} of the table's eigenvalues, so that"
        " another component than the first leads; take a model with gamma > 0"
    )


def _not_reached(
    tolerance: float, loops: int, plateau: float | None, predicted: int | None, cause: str
) -> str:
    if plateau is not None and plateau > tolerance:
        return f"the plateau angle {plateau:.2g} is above the tolerance {tolerance:g}: {cause}"
    advice = (
        f" (Theorem 4.6 gives {predicted})" if predicted is not None and predicted > loops else ""
    )
    return f"the angle was not within {tolerance:g} after {loops} loops; raise --loops{advice}"
