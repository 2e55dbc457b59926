"""Training objectives: (model, batch) -> one loss per example (JAX).

Source: arXiv 2606.00605, Thms 4.1, 4.2 and 4.3.

A model is any pytree with `outputs(batch, loops=L) -> (b, d)` and a flag `norm`. An objective of
the user's own is any callable (model, batch) -> (b,); set `needs_principal = False` on it when it
does not read `batch.principal`.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, get_args, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float

from eigenloop.lab.problems import Batch
from eigenloop.numerics.power import normalize
from eigenloop.system.errors import InputError

Target = Literal["normalized", "unnormalized"]


@runtime_checkable
class Model(Protocol):
    """What an objective needs of a model."""

    @property
    def norm(self) -> bool:
        """Whether the layer normalises its columns."""
        ...

    def outputs(self, batch: Batch, *, loops: int) -> Float[Array, "b d"]:
        """y_L for every example."""
        ...


@runtime_checkable
class Objective(Protocol):
    """A loss per example; its mean over the batch is what training descends.

    Any such function will do.
    """

    def __call__(self, model: Model, batch: Batch) -> Float[Array, " b"]:
        """Losses, one for each example."""
        ...


@dataclass(frozen=True)
class EndToEnd:
    """dist(y_L, PS(X))^2 = ||y_L||^2 - ||U^T y_L||^2, U a basis of the principal subspace (arXiv
    2606.00605, Thm 4.1).

    Args:
        loops: L >= 1.
    """

    loops: int
    needs_principal: ClassVar[bool] = True

    def __call__(self, model: Model, batch: Batch) -> Float[Array, " b"]:
        """Losses, one for each example.

        Raises:
            InputError: a model without normalisation, whose distance shrinks with the length of its
                output.
        """
        if not model.norm:
            raise InputError(
                "the end-to-end objective without normalisation is degenerate (the distance goes to"
                " 0 with the output's length); use the layerwise objective or keep the"
                " normalisation"
            )
        if batch.principal is None:
            raise InputError(
                "the end-to-end objective needs the principal subspace; draw the batch with"
                " principal=True"
            )
        y = model.outputs(batch, loops=self.loops)
        inside = jnp.einsum("bdm,bd->bm", batch.principal, y)
        return jnp.sum(y * y, axis=1) - jnp.sum(inside * inside, axis=1)


@dataclass(frozen=True)
class Layerwise:
    """||y_1 - v||^2 with v one step of the power method (arXiv 2606.00605, Thm 4.3 with LN, Thm 4.2
    without).

    Args:
        target: "normalized" (v = Sq / ||Sq||) or "unnormalized" (v = Sq).
    """

    target: Target = "normalized"
    needs_principal: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse a target that would silently stand for the other one."""
        if self.target not in get_args(Target):
            raise InputError(
                f"target is {self.target!r}; it must be one of {', '.join(get_args(Target))}"
            )

    def __call__(self, model: Model, batch: Batch) -> Float[Array, " b"]:
        """Losses, one for each example."""
        v = jnp.einsum("bij,bj->bi", batch.gram, batch.query)
        if self.target == "normalized":
            v = normalize(v)
        residual = model.outputs(batch, loops=1) - v
        return jnp.sum(residual * residual, axis=1)
