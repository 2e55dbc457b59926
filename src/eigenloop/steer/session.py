"""A model made ready to be steered: calibrated once, then any number of edits, strengths and
searches (torch).

session = Session.of(model, direction, layers="late")
edits = session.edits(0.05)
with session.applied(0.05): ...
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from eigenloop.lens.model.loaded import Model
from eigenloop.lens.weights.circuits import circuits
from eigenloop.lens.weights.spectra import chosen_layers
from eigenloop.steer.calibration import reading
from eigenloop.steer.edits import Edit, Site
from eigenloop.steer.methods import METHODS, STRENGTHS
from eigenloop.steer.prompts import Prompts
from eigenloop.steer.running import layer_inputs
from eigenloop.steer.writing import applied, has_bias
from eigenloop.system.errors import InputError

METHOD_NAMES = ("tuned", *METHODS)
"""Every method: those of `methods`, and "tuned", a signed edit that writes what `tuning` finds
in the place of u.
"""


@dataclass(frozen=True, eq=False, kw_only=True)
class Session:
    """What steering needs to know of a model, and how it is to be done.

    Args:
        model: a model that runs.
        sites: the layers to edit, with what they read.
        direction: u, (d,), unit.
        method: one of `METHOD_NAMES`.
        calibration: the prompts that were read.
        written: block -> what is written there in the place of u, (d,).
        left: block -> why it is not edited.
        kinds: as for `applied`; tensors that are not named are not rounded.
    """

    model: Model
    sites: Mapping[int, Site]
    direction: Float[np.ndarray, " d"]
    method: str
    calibration: Prompts
    written: Mapping[int, np.ndarray]
    left: Mapping[int, str]
    kinds: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        model: Model,
        direction: Float[np.ndarray, " d"],
        calibration: Prompts,
        *,
        method: str = "signed",
        layers: str | Sequence[int] = "late",
        strength: float = 0.05,
    ) -> "Session":
        """Calibrate.

        Args:
            model: a model that runs.
            direction: u, (d,); it is normalised.
            calibration: prompts, to be kept out of every evaluation.
            method: one of `METHOD_NAMES`.
            layers: as for `chosen_layers`.
            strength: where "tuned" is tuned.

        Raises:
            InputError: no such method or layer, or no layer can be edited this way; says why.
        """
        if method not in METHOD_NAMES:
            raise InputError(f"method {method!r} does not exist; choose {', '.join(METHOD_NAMES)}")
        blocks = chosen_layers(layers, len(model.stack.blocks))
        inputs = layer_inputs(model, calibration, blocks)
        unit = direction / np.linalg.norm(direction)
        sites: dict[int, Site] = {}
        left: dict[int, str] = {}
        for block in blocks:
            output, value = has_bias(model.stack, block)
            seen = reading(inputs[block].x, inputs[block].lengths)
            site = Site(
                circuit=circuits(model.stack, block),
                reading=seen,
                output_bias=output,
                value_bias=value,
            )
            try:
                METHODS["signed" if method == "tuned" else method](
                    site, unit, strength=min(max(abs(strength), 1e-3), 1)
                )
                sites[block] = site
            except InputError as error:
                left[block] = str(error)
        if not sites:
            raise InputError(next(iter(left.values())))
        session = cls(
            model=model,
            sites=sites,
            direction=unit,
            method=method,
            calibration=calibration,
            written=dict.fromkeys(sites, unit),
            left=left,
        )
        return session.tuned(strength) if method == "tuned" and strength else session

    def tuned(self, strength: float) -> "Session":
        """The same, with what is written tuned for a strength."""
        from eigenloop.steer.tuning import tune

        written = tune(self.model, self.sites, self.direction, self.calibration, strength=strength)
        return replace(self, written=written)

    def plain(self, direction: Float[np.ndarray, " d"]) -> "Session":
        """The same for another direction, written as it is; the calibration is kept."""
        unit = direction / np.linalg.norm(direction)
        return replace(self, direction=unit, written=dict.fromkeys(self.sites, unit))

    def allows(self, strength: float) -> bool:
        """Whether the method takes a strength."""
        low, high = STRENGTHS[self.method]
        return low <= strength <= high

    def edits(self, strength: float) -> tuple[Edit, ...]:
        """The edits of all layers at a strength c; 0 changes nothing.

        Raises:
            InputError: the method cannot take this strength.
        """
        method = METHODS["signed" if self.method == "tuned" else self.method]
        made = (
            method(site, self.written[block], strength=strength)
            for block, site in self.sites.items()
        )
        return tuple(replace(edit, method=self.method) for edit in made)

    def applied(self, strength: float) -> AbstractContextManager[Model]:
        """Steer the model at a strength c while the block lasts, with the numbers that a
        checkpoint would hold.
        """
        return applied(self.model, self.edits(strength), self.kinds)

    def additions(self, strength: float) -> dict[int, np.ndarray]:
        """The vectors c |stream| u of ordinary activation addition at the same layers."""
        return {
            block: strength * site.reading.size * self.direction
            for block, site in self.sites.items()
        }
