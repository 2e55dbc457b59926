"""What `eigenloop steer` is asked for."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eigenloop.steer.methods import require_strength
from eigenloop.steer.session import METHOD_NAMES
from eigenloop.system.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for, as on the command line; checked when it is made.

    Args:
        model: a directory or a hub name.
        out: the directory to write.
        toward: a token.
        direction: a .npy file.
        contrast: two prompts.
        method: one of `METHOD_NAMES`.
        layers: as for `chosen_layers`.
        device: as for `load`.
        strength: c.
        target: signed cosine to reach.
        budget: divergence (KL, nats) not to pass; change of similarity where no token is predicted.
        calibrate: a text; by default a packaged one.
        evaluate: a text; by default a packaged one.
        adapter: write the change alone.
        seed: of random directions and hidden positions.

    Raises:
        InputError: options that exclude one another, or a value out of its range.
    """

    model: str
    out: Path
    toward: str | None = None
    direction: Path | None = None
    contrast: tuple[str, str] | None = None
    method: str = "tuned"
    layers: str = "late"
    device: str = "auto"
    strength: float | None = None
    target: float | None = None
    budget: float | None = None
    calibrate: Path | None = None
    evaluate: Path | None = None
    adapter: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what needs no model."""
        ways = [
            name for name in ("toward", "direction", "contrast") if getattr(self, name) is not None
        ]
        if len(ways) != 1:
            said = " and ".join(f"--{name}" for name in ways) or "none"
            raise InputError(
                f"one of --toward, --direction and --contrast says where to steer; {said} was given"
            )
        doses = [
            name for name in ("strength", "target", "budget") if getattr(self, name) is not None
        ]
        if len(doses) > 1:
            raise InputError(f"--{' and --'.join(doses)} exclude one another; give one of them")
        if self.method not in METHOD_NAMES:
            raise InputError(
                f"--method {self.method} does not exist; choose {', '.join(METHOD_NAMES)}"
            )
        for name, low, high in (("target", -1.0, 1.0), ("budget", 0.0, np.inf)):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and low <= value <= high):
                raise InputError(f"--{name} is {value:g}; it must be between {low:g} and {high:g}")
        if self.seed < 0:
            raise InputError(f"--seed is {self.seed}; it must be 0 or more")
        if self.strength is not None:
            require_strength(self.strength, self.method)
