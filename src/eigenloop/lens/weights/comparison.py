"""Two checkpoints of one model: how far the principal modes of each layer have turned (NumPy).

    cos(theta_i) = singular values of Q_a^T Q_b
        principal angles of the leading subspaces, i <= min(k_a, k_b)
    change of F  = ||F_b - F_a|| / ||F_a||         Frobenius norm

The largest angle stands beside what two random subspaces of these dimensions have. Angles of right
vectors compare what the layers write, of left vectors what they read. Worked out here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from eigenloop.lens.model.layouts import Layout
from eigenloop.lens.model.results import TabularResult, called, noun, pair
from eigenloop.lens.model.stack import Stack
from eigenloop.lens.weights.circuits import Circuit
from eigenloop.lens.weights.modes import Mode
from eigenloop.lens.weights.operators import product
from eigenloop.lens.weights.rules import RULES, leading
from eigenloop.lens.weights.spectra import chosen_layers
from eigenloop.lens.weights.subject import Subject
from eigenloop.system.errors import InputError
from eigenloop.system.progress import Progress, silent

DRAWS, DRAWN_AT_ONCE = 4000, 200
"""Random subspaces behind the chance level of an angle, and how many are in memory at a time."""

CLOSE = 0.99
"""Above this gap a small change may exchange which of two modes leads."""

ROWS = 256
"""Rows of F that are multiplied out at a time."""


def principal_angles(
    a: Float[np.ndarray, "d k"], b: Float[np.ndarray, "d m"]
) -> Float[np.ndarray, " r"]:
    """Principal angles between two subspaces in degrees, the smallest first; r = min(k, m).

    From cosines above 45 degrees and from sines below, so that small angles keep their digits
    (Bjorck and Golub 1973).

    Args:
        a: orthonormal columns.
        b: orthonormal columns.

    Example:
        >>> tilted = np.array([[np.cos(1e-9)], [np.sin(1e-9)], [0.0]])
        >>> float(np.deg2rad(principal_angles(np.eye(3)[:, :2], tilted))[0].round(12))
        0.0
        >>> float(np.deg2rad(principal_angles(np.eye(3)[:, :1], tilted))[0])
        1e-09
    """
    if a.shape[1] < b.shape[1]:
        a, b = b, a
    cosines = np.linalg.svd(a.T @ b, compute_uv=False)
    sines = np.linalg.svd(b - a @ (a.T @ b), compute_uv=False)[::-1]
    angles = np.where(
        cosines**2 < 0.5, np.arccos(np.minimum(cosines, 1)), np.arcsin(np.minimum(sines, 1))
    )
    return np.rad2deg(angles)


@cache
def chance_angles(*, dim: int, ranks: tuple[int, int]) -> tuple[float, float]:
    """Median and 5 % quantile of the largest principal angle between random subspaces, in degrees.

    From `DRAWS` pairs with a fixed seed: the quantiles are right to about 1 % of the angle's
    distance from 90 degrees.

    Args:
        dim: d.
        ranks: dimensions of the two.

    Example:
        >>> [round(angle) for angle in chance_angles(dim=768, ranks=(1, 1))]
        [89, 86]
    """
    small, large = sorted(ranks)
    rng, squares = np.random.default_rng(0), []
    for _ in range(0, DRAWS, DRAWN_AT_ONCE):
        draws = rng.standard_normal((DRAWN_AT_ONCE, dim, small))
        # the other subspace is that of the first coordinates
        basis = np.linalg.qr(draws)[0][:, :large]
        squares.append(np.linalg.svd(basis, compute_uv=False)[:, -1])
    angles = np.rad2deg(np.arccos(np.minimum(np.concatenate(squares), 1)))
    median, low = np.quantile(angles, [0.5, 0.05])
    return float(median), float(low)


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerChange:
    """One layer of two checkpoints by one rule.

    Args:
        layer: index of the block.
        rule: by which the modes lead.
        a: the principal mode in the first checkpoint.
        b: and in the second.
        angles: principal angles between what they write, degrees, the smallest first.
        left_angles: the same between what they read.
        chance: median of the largest angle between random subspaces of these dimensions.
        chance_low: its 5 % quantile.
        change: ||F_b - F_a|| / ||F_a||, raw; None where F_a = 0.
    """

    layer: int
    rule: str
    a: Mode
    b: Mode
    angles: tuple[float, ...]
    left_angles: tuple[float, ...]
    chance: float
    chance_low: float
    change: float | None

    @property
    def eigenvalue_change(self) -> float | None:
        """|lambda_b - lambda_a| / |lambda_a|, of a complex pair for Im > 0; None where lambda_a
        = 0.
        """
        size = abs(self.a.eigenvalue)
        return abs(self.b.eigenvalue - self.a.eigenvalue) / size if size else None

    @property
    def close(self) -> bool:
        """Whether a small change may exchange the leading modes in either checkpoint."""
        return max(self.a.gap, self.b.gap) > CLOSE


@dataclass(frozen=True, eq=False, kw_only=True)
class Comparison(TabularResult):
    """The principal modes of two checkpoints, layer by layer.

    Args:
        a: the first model, as it was named.
        b: the second.
        model_types: their architectures.
        rules: by which the modes lead.
        width: d.
        changes: by layer and rule.
        remarks: what the layouts leave unread.
        unit: what a block is called (`called`).
    """

    COLUMNS: ClassVar[tuple[str, ...]] = (
        "layer",
        "rule",
        "rank_a",
        "rank_b",
        "angle",
        "smallest_angle",
        "left_angle",
        "chance",
        "chance_low",
        "eigenvalue_a_re",
        "eigenvalue_a_im",
        "eigenvalue_b_re",
        "eigenvalue_b_im",
        "eigenvalue_change",
        "flag_a",
        "flag_b",
        "gap_a",
        "gap_b",
        "change",
    )
    """Columns of the table and of comparison.csv; angles in degrees."""
    FILE: ClassVar[str] = "comparison.csv"

    a: str
    b: str
    model_types: tuple[str, str]
    rules: tuple[str, ...]
    width: int
    changes: tuple[LayerChange, ...]
    remarks: tuple[str, ...] = ()
    unit: str = "layer"

    def notes(self) -> list[str]:
        """What a reader has to know beside the numbers, in sentences."""
        notes = [
            *self.remarks,
            (
                "angle is the largest principal angle between the leading subspaces (a line, or a"
                " complex pair's plane)"
            ),
            (
                f"chance is its median over {DRAWS} random subspaces of the same dimensions,"
                " chance_low their 5 % quantile"
            ),
        ]
        if len(set(self.model_types)) > 1:
            notes.append(
                f"the models are of two types ({', '.join(self.model_types)}); they may share no"
                " coordinates"
            )
        mixed = sorted(
            {each.layer for each in self.changes if len(each.angles) < max(_ranks(each))}
        )
        if mixed:
            notes.append(
                f"in {called(self.unit, mixed)} a line is compared with a plane: the angle is the"
                " line's to its nearest in it"
            )
        close = sorted({each.layer for each in self.changes if each.close})
        if close:
            notes.append(
                f"in {called(self.unit, close)} the gap is above {CLOSE}: there a small change may"
                " exchange which mode leads"
            )
        return notes

    def sentences(self) -> list[str]:
        """One sentence for each rule, no more than the numbers say."""
        said = []
        for rule in self.rules:
            mine = [each for each in self.changes if each.rule == rule]
            angles = np.array([each.angles[-1] for each in mine])
            turned = [each.layer for each in mine if each.angles[-1] > each.chance_low]
            flags = [each.layer for each in mine if each.a.flag != each.b.flag]
            largest = called(self.unit, mine[int(angles.argmax())].layer)
            which = f"{len(mine)} {noun(self.unit)}s" if len(mine) > 1 else largest
            text = (
                f"By the rule {rule} the leading subspaces of {which} lie {np.median(angles):.2g}"
                " degrees apart"
            )
            text += f" (median; largest {angles.max():.2g}, in {largest})" if len(mine) > 1 else ""
            text += f"; no nearer than random ones in {called(self.unit, turned)}" if turned else ""
            text += f"; the flag differs in {called(self.unit, flags)}" if flags else ""
            said.append(f"{text}.")
        return said

    def rows(self) -> list[tuple]:
        """One row for each layer and rule, in the order of `COLUMNS`."""
        return [
            (
                each.layer,
                each.rule,
                *_ranks(each),
                each.angles[-1],
                each.angles[0],
                each.left_angles[-1],
                each.chance,
                each.chance_low,
                *pair(each.a.eigenvalue),
                *pair(each.b.eigenvalue),
                each.eigenvalue_change,
                each.a.flag,
                each.b.flag,
                each.a.gap,
                each.b.gap,
                each.change,
            )
            for each in self.changes
        ]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; an undefined ratio is null, with its reason."""
        return {
            "a": self.a,
            "b": self.b,
            "model_types": list(self.model_types),
            "width": self.width,
            "rules": list(self.rules),
            "notes": self.notes(),
            "layers": [_plain(each) for each in self.changes],
        }


def compare(
    a: Any,
    b: Any,
    *,
    rules: Sequence[str] = RULES,
    layers: str | Sequence[int] = "all",
    layout: Layout | None = None,
    progress: Progress = silent,
) -> Comparison:
    """The principal subspaces of two checkpoints of one model, layer by layer and by rule, from the
    weights alone.

    Args:
        a: as for `Subject.of`.
        b: another, of the same shapes.
        rules: which rules.
        layers: as for `spectra`.
        layout: for an architecture that the lens does not know.
        progress: told how many layers are done.

    Raises:
        InputError: a model cannot be read, their shapes differ, or a layer or rule does not exist.
    """
    subjects = [Subject.of(model, layout=layout) for model in (a, b)]
    first, second = (subject.stack for subject in subjects)
    _same_shapes(first, second)
    leading(rules)
    chosen, changes = chosen_layers(layers, len(first.blocks)), []
    for done, index in enumerate(chosen):
        progress("compared", done, len(chosen))
        old, new = (subject.layer(index) for subject in subjects)
        change = relative_change(old.circuit, new.circuit)
        modes = old.modes(rules), new.modes(rules)
        for rule in rules:
            mode_a, mode_b = modes[0][rule], modes[1][rule]
            planes = mode_a.plane(), mode_b.plane()
            chance, low = chance_angles(
                dim=first.width, ranks=(planes[0].shape[1], planes[1].shape[1])
            )
            changes.append(
                LayerChange(
                    layer=index,
                    rule=rule,
                    a=mode_a,
                    b=mode_b,
                    angles=tuple(principal_angles(*planes).tolist()),
                    left_angles=tuple(
                        principal_angles(mode_a.left_plane(), mode_b.left_plane()).tolist()
                    ),
                    chance=chance,
                    chance_low=low,
                    change=change,
                )
            )
    progress("compared", len(chosen), len(chosen))
    return Comparison(
        a=first.weights.source,
        b=second.weights.source,
        model_types=(first.weights.model_type, second.weights.model_type),
        rules=tuple(rules),
        width=first.width,
        changes=tuple(changes),
        remarks=tuple(dict.fromkeys((*first.notes, *second.notes))),
        unit=first.unit,
    )


def relative_change(a: Circuit, b: Circuit) -> float | None:
    """||F_b - F_a|| / ||F_a||, a few rows at a time; None where F_a = 0.

    Example:
        >>> from eigenloop.lens import planted
        >>> relative_change(planted(np.eye(2)), planted(1.5 * np.eye(2)))
        0.5
    """
    (left_a, right_a), (left_b, right_b) = a.summed_factors(), b.summed_factors()
    size = difference = 0.0
    for start in range(0, a.width, ROWS):
        rows = slice(start, start + ROWS)
        old = product(left_a[rows], right_a)
        size += float(np.sum(old * old))
        difference += float(np.sum((product(left_b[rows], right_b) - old) ** 2))
    return float(np.sqrt(difference / size)) if size else None


def _same_shapes(a: Stack, b: Stack) -> None:
    for name, sizes in (
        ("normalisation", tuple(each.layout.placement_in(each.weights.config) for each in (a, b))),
        ("layers", (len(a.schedule), len(b.schedule))),
        ("blocks", (len(a.blocks), len(b.blocks))),
        ("width", (a.width, b.width)),
        ("heads", (a.heads, b.heads)),
        ("head dimension", (a.head_dim, b.head_dim)),
        ("key-value heads", (a.groups, b.groups)),
    ):
        if sizes[0] != sizes[1]:
            raise InputError(
                f"{a.weights.source} and {b.weights.source} differ: {name} {sizes[0]} and"
                f" {sizes[1]}; compare two checkpoints of one model"
            )


def _ranks(change: LayerChange) -> tuple[int, int]:
    return change.a.plane().shape[1], change.b.plane().shape[1]


def _plain(change: LayerChange) -> dict[str, Any]:
    plain = {
        "layer": change.layer,
        "rule": change.rule,
        "angles": list(change.angles),
        "left_angles": list(change.left_angles),
        "chance": change.chance,
        "chance_low": change.chance_low,
        "eigenvalues": [pair(change.a.eigenvalue), pair(change.b.eigenvalue)],
        "eigenvalue_change": change.eigenvalue_change,
        "flags": [change.a.flag, change.b.flag],
        "gaps": [change.a.gap, change.b.gap],
        "change": change.change,
    }
    missing = {"eigenvalue_change": "the first eigenvalue is 0", "change": "the first F is 0"}
    reasons = {key: reason for key, reason in missing.items() if plain[key] is None}
    return {**plain, "reasons": reasons} if reasons else plain
