"""The principal modes of every layer and head by the rules of `eigenloop.lens.weights.rules`,
and their tables.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from eigenloop.lens.model.layouts import Layout, Placement
from eigenloop.lens.model.results import TabularResult, called, noun
from eigenloop.lens.weights.circuits import Circuit
from eigenloop.lens.weights.modes import Flag, Mode
from eigenloop.lens.weights.operators import Growth
from eigenloop.lens.weights.rules import RULES, growth_at, leading
from eigenloop.lens.weights.subject import LayerModes, Subject
from eigenloop.system.errors import InputError
from eigenloop.system.files import save_table
from eigenloop.system.progress import Progress, silent
from eigenloop.system.wording import finite


@dataclass(frozen=True, eq=False)
class LayerSpectra:
    """The principal modes of one layer.

    Args:
        layer: index of the block.
        modes: of F (or of F with the normalisation), by rule.
        heads: of every F_h, by rule.
        eigenvalues: all of what `modes` are of, by rule, largest modulus first: d of them, or fewer
            and zeros for the rest (grouped queries); none where ARPACK found the leader alone.
        sigma: the scale of the tokens that "layernorm" was told, or assumed to be 1.
    """

    layer: int
    modes: Mapping[str, Mode]
    heads: Mapping[str, tuple[Mode, ...]]
    eigenvalues: Mapping[str, np.ndarray] = field(default_factory=dict)
    sigma: float = 1.0


def layer_spectra(
    circuit: Circuit | LayerModes,
    *,
    rules: Sequence[str] = RULES,
    sigma: float = 1.0,
    heads: bool = True,
    vectors: bool | Literal["layers"] = True,
) -> LayerSpectra:
    """The principal modes of one layer and its heads.

    Each operator's eigenvalues are computed once for all rules that read them.

    Args:
        circuit: one layer, raw, or its `LayerModes`.
        rules: which rules.
        sigma: as for `operator`.
        heads: look at single heads too.
        vectors: keep the vectors, "layers" those of whole layers alone; without them a mode's
            `right` and `left` are empty.

    Raises:
        InputError: no such rule, or sigma is not positive.

    Example:
        >>> import numpy as np
        >>> from eigenloop.lens import planted
        >>> found = layer_spectra(planted(np.diag([1.0, -1.5])))
        >>> [found.modes[rule].eigenvalue.real for rule in ("modulus", "consensus")]
        [-1.5, 1.0]
    """
    layer = LayerModes.of(circuit)
    found: dict[str, list[Mode]] = {rule: [] for rule in rules}
    for head in [None, *range(layer.circuit.heads)] if heads else [None]:
        kept = vectors is True or (vectors == "layers" and head is None)
        for rule, mode in layer.modes(rules, head=head, sigma=sigma).items():
            found[rule].append(mode if kept else replace(mode, right=np.empty(0), left=np.empty(0)))
    whole = {rule: modes[0] for rule, modes in found.items()}
    single = {rule: tuple(modes[1:]) for rule, modes in found.items()}
    values = {rule: layer.eigenvalues(rule) for rule in rules}
    return LayerSpectra(layer.circuit.layer, whole, single, values, sigma)


@dataclass(frozen=True, eq=False)
class Spectra(TabularResult):
    """The principal modes of the layers of a model.

    Args:
        source: the model, as it was named.
        model_type: its architecture.
        stored: the kinds of numbers its weights are stored as.
        schedule: the block that each layer applies.
        heads: H.
        width: d.
        placement: where the normalisation is, "pre" or "post".
        rules: the rules asked for.
        layers: what was found, by block.
        remarks: what the layout leaves unread.
        unit: what a block is called (`called`).
    """

    COLUMNS: ClassVar[tuple[str, ...]] = (
        "layer",
        "head",
        "rule",
        "operator",
        "eigenvalue_re",
        "eigenvalue_im",
        "growth",
        "flag",
        "gap",
        "residual",
        "condition",
        "converged",
        "method",
    )
    """Columns of the table and of spectra.csv; `head` is empty for the whole layer."""
    FILE: ClassVar[str] = "spectra.csv"

    source: str
    model_type: str
    stored: tuple[str, ...]
    schedule: tuple[int, ...]
    heads: int
    width: int
    placement: Placement
    rules: tuple[str, ...]
    layers: tuple[LayerSpectra, ...]
    remarks: tuple[str, ...] = ()
    unit: str = "layer"

    @property
    def rule(self) -> str:
        """The rule that results are told by."""
        return leading(self.rules)

    def shown(self) -> str:
        """What was looked at: "12 layers", or with shared weights how often blocks are applied."""
        count, blocks = len(self.layers), len(set(self.schedule))
        if blocks == len(self.schedule):
            return f"{count} layer" + "s" * (count > 1)
        if blocks == 1:
            return f"one block, applied {len(self.schedule)} times"
        each = f"{blocks} blocks, applied {len(self.schedule)} times in all"
        return each if count == blocks else f"{count} of {each}"

    def growth(self, layer: LayerSpectra) -> Growth:
        """The growth factor that `rule` gives to an eigenvalue of a layer's operator."""
        return growth_at(self.placement, self.rule, layer.sigma)

    def notes(self) -> list[str]:
        """What a reader has to know beside the numbers, in sentences."""
        notes = [*self.remarks]
        small = [kind for kind in self.stored if kind in ("bfloat16", "float16")]
        if small:
            notes.append(
                f"weights are stored as {' and '.join(small)} and were converted to float32 once"
            )
        if len(self.schedule) > len(set(self.schedule)):
            notes.append(f"weights are shared: {self.shown()}")
        if "layernorm" in self.rules and self.placement == "pre":
            scales = [layer.sigma for layer in self.layers]
            low, high = min(scales), max(scales)
            told = f"{low:.3g} to {high:.3g} by {noun(self.unit)}" if low < high else f"{low:g}"
            notes.append(
                f"the rule layernorm takes {told} for the tokens' scale sigma, which depends on the"
                " text"
            )
        loose = [
            layer.layer
            for layer in self.layers
            for rule in self.rules
            if not layer.modes[rule].converged
        ]
        if loose:
            which = called(self.unit, sorted(set(loose)))
            notes.append(f"the eigenvalues of {which} have not converged; see their residuals")
        return notes

    def counts(self) -> dict[str, dict[str, int]]:
        """How many layers are led by a positive, negative, complex or zero eigenvalue, by rule."""
        flags = {rule: [layer.modes[rule].flag for layer in self.layers] for rule in self.rules}
        return {
            rule: {flag: found.count(flag) for flag in get_args(Flag)}
            for rule, found in flags.items()
        }

    def rows(self) -> list[tuple]:
        """One row for each layer, head and rule, in the order of `COLUMNS`."""
        rows = []
        for layer in self.layers:
            for rule in self.rules:
                for head, mode in ((None, layer.modes[rule]), *enumerate(layer.heads[rule])):
                    rows.append(
                        (
                            layer.layer,
                            head,
                            rule,
                            mode.operator,
                            mode.eigenvalue.real,
                            mode.eigenvalue.imag,
                            mode.growth,
                            mode.flag,
                            mode.gap,
                            mode.residual,
                            finite(mode.condition),
                            mode.converged,
                            mode.method,
                        )
                    )
        return rows

    def save_eigenvalues(self, directory: Path) -> Path:
        """Write eigenvalues.csv, all eigenvalues behind the modes of whole layers, and give its
        path.

        Rules that read the same matrix share its rows. A layer has none where ARPACK found the
        leader alone.

        Raises:
            InputError: the directory cannot be written to.
        """
        path = Path(directory) / "eigenvalues.csv"
        rows = [
            (layer.layer, formula, value.real, value.imag)
            for layer in self.layers
            for formula, values in {
                layer.modes[r].operator: layer.eigenvalues[r] for r in self.rules
            }.items()
            for value in values.tolist()
        ]
        save_table(path, ("layer", "operator", "eigenvalue_re", "eigenvalue_im"), rows)
        return path

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: for each layer the leading eigenvalue with flag, gap and residual,
        by rule; its heads.

        `eigenvalue`, `flag`, `gap`, `residual` and `heads` beside `rules` repeat those of `rule`.
        """
        chosen = self.rule
        return {
            "model": self.source,
            "model_type": self.model_type,
            "stored": list(self.stored),
            "width": self.width,
            "heads_per_layer": self.heads,
            "schedule": list(self.schedule),
            "norm": self.placement,
            "rule": chosen,
            "counts": self.counts(),
            "notes": self.notes(),
            "layers": [
                {
                    "layer": layer.layer,
                    "sigma": layer.sigma,
                    **{
                        key: _plain(layer.modes[chosen])[key]
                        for key in ("eigenvalue", "flag", "gap", "residual")
                    },
                    "rules": {rule: _plain(layer.modes[rule]) for rule in self.rules},
                    "heads": [_pair(mode.eigenvalue) for mode in layer.heads[chosen]],
                    "heads_by_rule": {
                        rule: [_plain(m) for m in layer.heads[rule]] for rule in self.rules
                    },
                }
                for layer in self.layers
            ],
        }


def spectra(
    model: Any,
    *,
    rules: Sequence[str] = RULES,
    layers: str | Sequence[int] = "all",
    sigma: float | Mapping[int, float] = 1.0,
    layout: Layout | None = None,
    vectors: bool | Literal["layers"] = True,
    progress: Progress = silent,
) -> Spectra:
    """The principal modes of a model's layers and heads, from its weights alone, one layer at a
    time.

    Args:
        model: as for `Subject.of`.
        rules: which rules.
        layers: "all", "late" (the last third), numbers and ranges such as "0,3-5", or a sequence of
            numbers.
        sigma: as for `growth`, of all layers or by block.
        layout: for an architecture that the lens does not know.
        vectors: as for `layer_spectra`; a large model has many.
        progress: told how many layers are done.

    Raises:
        InputError: the model cannot be read, or a layer or rule does not exist.
    """
    subject = Subject.of(model, layout=layout)
    stack = subject.stack
    chosen = chosen_layers(layers, len(stack.blocks))
    leading(rules)
    stored, found = stack.stored(), []
    for done, index in enumerate(chosen):
        progress("layers", done, len(chosen))
        scale = sigma[index] if isinstance(sigma, Mapping) else sigma
        found.append(layer_spectra(subject.layer(index), rules=rules, sigma=scale, vectors=vectors))
    progress("layers", len(chosen), len(chosen))
    return Spectra(
        source=stack.weights.source,
        model_type=stack.weights.model_type,
        stored=stored,
        schedule=stack.schedule,
        heads=stack.heads,
        width=stack.width,
        placement=stack.layout.placement_in(stack.weights.config),
        rules=tuple(rules),
        layers=tuple(found),
        remarks=stack.notes,
        unit=stack.unit,
    )


def chosen_layers(layers: str | Sequence[int], count: int) -> tuple[int, ...]:
    """The numbers that "all", "late", "0,3-5" or a sequence name, in order and once each.

    Args:
        layers: what to choose; "late" is the last third, rounded up.
        count: how many blocks there are.

    Raises:
        InputError: a layer does not exist, or the text cannot be read.

    Example:
        >>> chosen_layers("late", 12), chosen_layers("0,3-5", 12)
        ((8, 9, 10, 11), (0, 3, 4, 5))
    """
    if layers == "all":
        return tuple(range(count))
    if layers == "late":
        return tuple(range(count - -(-count // 3), count))
    numbers: set[int] = set()
    for part in layers.split(",") if isinstance(layers, str) else layers:
        ends = re.fullmatch(r"(\d+)(?:-(\d+))?", str(part).strip())
        if not ends:
            raise InputError(
                f"--layers has {part!r}; give all, late, or numbers and ranges such as 0,3-5"
            )
        first, last = int(ends[1]), int(ends[2] or ends[1])
        if not first <= last < count:
            there = f"the layers 0 to {count - 1}" if count > 1 else "one block, number 0"
            raise InputError(f"--layers has {str(part).strip()}; this model has {there}")
        numbers.update(range(first, last + 1))
    if not numbers:
        raise InputError(
            "--layers names no layer; give all, late, or numbers and ranges such as 0,3-5"
        )
    return tuple(sorted(numbers))


def _pair(value: complex) -> list[float]:
    return [value.real, value.imag]


def _plain(mode: Mode) -> dict[str, Any]:
    plain = {
        "eigenvalue": _pair(mode.eigenvalue),
        "factor": _pair(mode.factor),
        "growth": mode.growth,
        "flag": mode.flag,
        "gap": mode.gap,
        "residual": mode.residual,
        "condition": finite(mode.condition),
        "converged": mode.converged,
        "method": mode.method,
        "operator": mode.operator,
    }
    if plain["condition"] is None:
        plain["reasons"] = {"condition": "the left and the right vector are orthogonal"}
    return plain
