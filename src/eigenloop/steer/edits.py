"""What a method of steering gives back: new weights of one layer, what they were meant to be, their
cost (NumPy).

Column vectors, as in `eigenloop.lens.circuits`: F_h = W_O^h W_V^g(h), F = sum_h F_h. Everything is
float64 until it is stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from eigenloop.lens.weights.circuits import Circuit
from eigenloop.lens.weights.modes import Mode, principal
from eigenloop.lens.weights.operators import Growth, Operator

CONSENSUS = Growth(shift=1.0)
"""What leads in a spectrum here: the largest |1 + lambda|, as with the residual connection."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Reading:
    """What a layer's attention sublayer was seen to read over a calibration text.

    Args:
        mean: mean of its inputs x, (d,), float64.
        covariance: of its inputs, (d, d), float64.
        size: mean length |x| of the stream that the sublayer's output is added to.
        mu: the unit vector that a signed edit reads with, (d,); mu . x > 0 on the tokens that it
            was not made from.
        push: mean of mu . x.
        positive: share of the tokens kept aside with mu . x > 0.
        spread: standard deviation of mu . x over its mean, on tokens that mu was not made from.
        ridge: rho that mu was made with; infinite for the normalised mean.
    """

    mean: Float[np.ndarray, " d"]
    covariance: Float[np.ndarray, "d d"]
    size: float
    mu: Float[np.ndarray, " d"]
    push: float
    positive: float = 1.0
    spread: float = 0.0
    ridge: float = float("inf")

    def typical(self, direction: Float[np.ndarray, " d"]) -> float:
        """sqrt(mean (u . x)^2), how much of a direction a token has."""
        return float(
            np.sqrt(direction @ self.covariance @ direction + (direction @ self.mean) ** 2)
        )


@dataclass(frozen=True, eq=False)
class Room:
    """The component of a group of heads that costs least.

    Args:
        group: index of the values.
        p: the direction of z that is given up, (head_dim,), unit.
        q: what reads it, (head_dim,), q . p = 1.
        loss: root mean square length of what tokens lose, its mean apart where b_O can take it.
    """

    group: int
    p: Float[np.ndarray, " k"]
    q: Float[np.ndarray, " k"]
    loss: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Site:
    """One layer as a method sees it.

    Args:
        circuit: raw weights.
        reading: what its sublayer reads.
        output_bias: the model has a b_O to write to.
        value_bias: the model has a b_V to write to.
        rooms: those that were found already, by group (`methods.room`).
    """

    circuit: Circuit
    reading: Reading
    output_bias: bool = True
    value_bias: bool = True
    rooms: dict[int, Room] = field(default_factory=dict, init=False, repr=False)


@dataclass(frozen=True, eq=False, kw_only=True)
class Edit:
    """New weights of one layer.

    Args:
        method: its name.
        before: the circuit as it was.
        after: the circuit as it is to be, float64.
        heads: the heads whose weights change.
        kappa: the factor of the rank-one term, 0 where there is none.
        change: for each head the factors (L, R), (d, k) and (k, d), with F_h' = F_h + L R exactly.
        bias: what is added to b_eff, (d,).
        loss: what a token loses with a removed component, its root mean square over the stream's
            length.
        note: what a reader should know.
    """

    method: str
    before: Circuit
    after: Circuit
    heads: tuple[int, ...] = ()
    kappa: float = 0.0
    change: Mapping[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    bias: Float[np.ndarray, " d"] | None = None
    loss: float = 0.0
    note: str = ""

    @property
    def layer(self) -> int:
        """Index of the block."""
        return self.before.layer

    @property
    def is_identity(self) -> bool:
        """Whether no weight differs."""
        pairs = [(getattr(self.before, name), getattr(self.after, name)) for name in PARTS]
        return all(np.array_equal(old, new) for old, new in pairs)

    def sizes(self) -> dict[str, float]:
        """Relative Frobenius size of the change, of each kind of weight in the heads that change,
        and of F as a whole.

        Returns:
            "output", "value": ||W' - W|| / ||W|| over the edited heads and their groups; "layer":
            the same of F (NaN where F is zero); "bias": length of the change of b_eff over the
            length of b_O + 1.
        """
        groups = sorted({self.before.group(head) for head in self.heads})
        heads = list(self.heads)
        left, right = self.joint()
        whole = self.before.matrix()
        return {
            "output": _relative(self.before.output[heads], self.after.output[heads]),
            "value": _relative(self.before.value[groups], self.after.value[groups]),
            "layer": float(np.linalg.norm(left @ right) / np.linalg.norm(whole))
            if self.change
            else 0.0,
        }

    def joint(self) -> tuple[Float[np.ndarray, "d k"], Float[np.ndarray, "k d"]]:
        """(L, R) with F' - F = L R."""
        d = self.before.width
        pairs = list(self.change.values()) or [(np.zeros((d, 0)), np.zeros((0, d)))]
        return np.concatenate([left for left, _ in pairs], axis=1), np.concatenate(
            [right for _, right in pairs]
        )

    def predicted(self) -> Mode:
        """The principal mode of F + L R, the change as intended, by the largest |1 + lambda|."""
        left, right = self.before.summed_factors()
        added = self.joint()
        joined = Operator(
            left=np.concatenate([left.astype(np.float64), added[0]], axis=1),
            right=np.concatenate([right.astype(np.float64), added[1]]),
        )
        return principal(joined, CONSENSUS)

    def was(self) -> Mode:
        """The principal mode of F."""
        return leading(self.before)


PARTS = ("output", "value", "value_bias", "output_bias")
"""The arrays of a circuit that an edit may change."""


def leading(circuit: Circuit) -> Mode:
    """The principal mode of a layer's F by the largest |1 + lambda|, from its weights as they are.

    Example:
        >>> from eigenloop.lens import planted
        >>> leading(planted(np.diag([1.0, -3.0]))).eigenvalue.real
        1.0
    """
    left, right = circuit.summed_factors()
    return principal(Operator(left=left, right=right), CONSENSUS)


def describe(mode: Mode, direction: Float[np.ndarray, " d"]) -> dict[str, Any]:
    """A principal mode as plain values, with |cos| of its right vector (or plane) to a unit
    direction.
    """
    return {
        "eigenvalue": [mode.eigenvalue.real, mode.eigenvalue.imag],
        "flag": mode.flag,
        "growth": mode.growth,
        "gap": mode.gap,
        "residual": mode.residual,
        "cosine": float(np.linalg.norm(mode.plane().T @ direction)),
    }


def _relative(old: np.ndarray, new: np.ndarray) -> float:
    scale = np.linalg.norm(old.astype(np.float64))
    return float(np.linalg.norm(new - old.astype(np.float64)) / scale) if scale > 0 else 0.0
