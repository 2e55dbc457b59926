"""Checks that an edit did what it says, on the weights as they were saved (NumPy).

Each check is a sentence, whether it holds, and the number behind it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from eigenloop.lens.model.stack import Stack
from eigenloop.lens.model.tensors import Tensors
from eigenloop.lens.weights.circuits import Circuit, circuits
from eigenloop.numerics.statistics import bootstrap_interval
from eigenloop.steer.edits import Edit
from eigenloop.system.errors import InputError

PRECISION = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
"""Relative spacing of each kind of number."""

NO_EFFECT = 1e-5
"""A mean signed cosine that moves by less is called no effect."""


@dataclass(frozen=True)
class Check:
    """One check.

    Args:
        name: what was checked.
        passed: whether it holds; None where there is only something to report.
        detail: the number, or what to know.
    """

    name: str
    passed: bool | None
    detail: str


@dataclass(frozen=True, eq=False)
class Overlaid:
    """Tensors of which some were replaced: how an adapter's sum looks to a reader.

    Args:
        below: the tensors as they were.
        above: name -> new values.
    """

    below: Tensors
    above: dict[str, np.ndarray]

    def names(self) -> Iterable[str]:
        """Every tensor's dotted name."""
        return self.below.names()

    def shape(self, name: str) -> tuple[int, ...]:
        """Its shape."""
        return self.below.shape(name)

    def stored(self, name: str) -> str:
        """The kind of number it is stored as."""
        return self.below.stored(name)

    def read(
        self, name: str, rows: slice | None = None, columns: slice | None = None
    ) -> np.ndarray:
        """It, or a block of it."""
        if name not in self.above:
            return self.below.read(name, rows, columns)
        whole = self.above[name]
        whole = whole if rows is None else whole[rows]
        return whole if columns is None else whole[:, columns]


def check_saved(
    before: Stack, after: Stack, edits: Sequence[Edit], changed: Iterable[str], kind: str
) -> list[Check]:
    """Compare what was saved with what it was made from and with what was intended.

    Args:
        before: the model's weights.
        after: the saved ones.
        edits: the edits that were saved.
        changed: names of the tensors that may differ.
        kind: the kind of number that the edited tensors are stored as.
    """
    allowed, differing = set(changed), []
    names = set(before.weights.tensors.names())
    for name in sorted(names - allowed):
        if not np.array_equal(_read(before, name), _read(after, name)):
            differing.append(name)
    found = [
        Check(
            "every tensor that is not edited is identical, bit for bit",
            not differing and names == set(after.weights.tensors.names()),
            f"{len(names - allowed)} tensors" if not differing else f"{differing[0]} differs",
        )
    ]
    for edit in edits:
        found += _check_edit(edit, circuits(after, edit.layer), kind)
        times = before.schedule.count(edit.layer)
        if times > 1:
            found.append(
                Check(f"layer {edit.layer} is shared", None, f"its edit acts in {times} layers")
            )
    return found


def require_passed(checks: Iterable[Check]) -> None:
    """Refuse what was written where a check of it failed; `write_directory` then leaves nothing.

    Raises:
        InputError: a check failed; names it and what was measured.
    """
    for check in checks:
        if check.passed is False:
            raise InputError(
                f"the steered weights are not what was intended ({check.name}: {check.detail}), so"
                " nothing was written; save the model again with save_pretrained and steer that"
            )


def check_effect(effect: Float[np.ndarray, " prompts"]) -> Check:
    """Say whether the direction moves the mean signed cosine at all: by more than `NO_EFFECT`,
    clear of 0.

    Args:
        effect: on each prompt, as `Evidence.effect`; what an edit takes away whatever its direction
            is not in it.

    Example:
        >>> check_effect(np.zeros(3)).passed
        False
    """
    mean, (low, high) = float(effect.mean()), bootstrap_interval(effect, seed=0)
    passed = abs(mean) > NO_EFFECT and (low > 0 or high < 0)
    detail = f"the direction moves the signed cosine by {mean:.3g} [{low:.3g}, {high:.3g}]"
    return Check("the edit has an effect on the final states", passed, detail)


def intended_error(edit: Edit, saved: Circuit, kind: str) -> tuple[float, float]:
    """(the largest error, what rounding to the saved kind of number allows) of F_h' = F_h + L R
    over the edited heads.

    Both are Frobenius norms over that of F_h'. Rounding W_O and W_V by half a spacing each moves
    their product by at most the spacing times ||W_O|| ||W_V||, and as much again comes from what is
    computed in between.
    """
    found = [(0.0, 1.0)]
    for head, (left, right) in edit.change.items():
        intended = edit.before.head(head) + left @ right
        scale = np.linalg.norm(intended) or 1.0
        output, value = saved.factors(head)
        error = np.linalg.norm(output @ value - intended) / scale
        allowed = PRECISION[kind] * np.linalg.norm(output) * np.linalg.norm(value) / scale
        found.append((float(error), float(2 * allowed + 1e-13)))
    return max(found, key=lambda pair: pair[0] / pair[1])


def _check_edit(edit: Edit, saved: Circuit, kind: str) -> list[Check]:
    layer, old = edit.layer, edit.before
    heads = [head for head in range(old.heads) if head not in edit.heads]
    groups = sorted(set(range(len(old.value))) - {old.group(head) for head in edit.heads})
    kept = np.array_equal(saved.output[heads], old.output[heads]) and np.array_equal(
        saved.value[groups], old.value[groups]
    )
    checks = [
        Check(
            f"layer {layer}: heads that share no edited row are identical, bit for bit",
            bool(kept),
            f"{len(heads)} of {old.heads} heads",
        )
    ]
    if edit.change:
        error, bound = intended_error(edit, saved, kind)
        checks.append(
            Check(
                f"layer {layer}: F is F + the intended change to the precision of {kind}",
                error <= bound,
                f"relative error {error:.2g}, allowed {bound:.2g}",
            )
        )
    if edit.kappa and len(edit.heads) > 1:
        sizes = [
            np.linalg.norm(left @ right) / np.linalg.norm(old.head(h))
            for h, (left, right) in edit.change.items()
        ]
        listed = ", ".join(
            f"{head}: {size:.3g}" for head, size in zip(edit.change, sizes, strict=True)
        )
        checks.append(
            Check(f"layer {layer}: heads that share W_V change together", None, f"of F_h, {listed}")
        )
    if edit.is_identity:
        checks.append(Check(f"layer {layer}: nothing changes", None, "the strength is zero"))
    return checks


def _read(stack: Stack, name: str) -> np.ndarray:
    try:
        return stack.weights.tensors.read(name)
    except (KeyError, ValueError):  # integers, which no edit touches and the lens does not read
        return np.zeros(0)
