"""Everything that `eigenloop lens` finds out about a model, as one result: a page, tables and
plain values.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from eigenloop import report as pages
from eigenloop.lens.loops.looped import looped
from eigenloop.lens.loops.result import Loops
from eigenloop.lens.model.embeddings import has_vocabulary
from eigenloop.lens.model.stack import Stack
from eigenloop.lens.page.headline import headline_sentence
from eigenloop.lens.page.spectra import TITLE, spectra_page
from eigenloop.lens.page.text import alignment_section, alignment_sentences, loops_section
from eigenloop.lens.page.weights import comparison_section, query_key_section, reading_section
from eigenloop.lens.text.aligned import Alignment
from eigenloop.lens.text.alignment import alignment
from eigenloop.lens.text.estimates import STATISTICS
from eigenloop.lens.text.texts import SAMPLE, passages
from eigenloop.lens.weights.comparison import Comparison, compare
from eigenloop.lens.weights.querykey import QueryKeys, query_keys
from eigenloop.lens.weights.reading import Reading, reading
from eigenloop.lens.weights.rules import RULES, leading
from eigenloop.lens.weights.spectra import Spectra, chosen_layers, spectra
from eigenloop.lens.weights.subject import Subject
from eigenloop.system.directories import OutputDirectory
from eigenloop.system.errors import InputError
from eigenloop.system.files import atomic_write
from eigenloop.system.progress import Progress, silent

__all__ = ["Survey", "survey"]

PAGE = "report.html"
SECTIONS: Mapping[str, Callable[[Any], pages.Section]] = {
    "alignment": alignment_section,
    "reading": reading_section,
    "query_keys": query_key_section,
    "loops": loops_section,
    "comparison": comparison_section,
}
"""What the page shows of each part, in its order."""
FILES = {
    "alignment": "alignment.csv",
    "reading": "reading.csv",
    "query_keys": "querykey.csv",
    "loops": "loops.csv",
    "comparison": "comparison.csv",
}
TABLES = ("spectra.csv", "eigenvalues.csv", *FILES.values())
"""Every table that a page may have beside it."""
TOLD = ("layer", "sentence", "verdict", "conditions", "coordinate", "coordinate_share")
"""What the JSON repeats of a text in the entry of each layer, beside the statistics."""
LOOPS = 48
"""Loops of a layer, where nothing is said."""
LARGEST_HEADS = 2**30
"""Bytes that the singular vectors of all heads' QK circuits may take."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Survey:
    """What was found.

    Args:
        spectra: of the weights.
        reading: the tokens that the leading directions point at; None where there is no vocabulary.
        query_keys: QK beside OV of each head; None where it was not asked for or would not fit into
            memory.
        alignment: how the tokens of a text pass through, where one was given.
        loops: a layer applied again and again, where one was chosen.
        comparison: with another checkpoint, where one was given.
        remarks: what was left out and why, in sentences.
        seconds: how long it took.
    """

    spectra: Spectra
    reading: Reading | None = None
    query_keys: QueryKeys | None = None
    alignment: Alignment | None = None
    loops: Loops | None = None
    comparison: Comparison | None = None
    remarks: tuple[str, ...] = ()
    seconds: float = 0.0

    def parts(self) -> dict[str, Any]:
        """What was found beside the spectra, by name, in the order of the page."""
        return {name: part for name in SECTIONS if (part := getattr(self, name)) is not None}

    def notes(self) -> list[str]:
        """What a reader has to know beside the numbers, in sentences."""
        return [*self.spectra.notes(), *self.remarks]

    def sentences(self) -> list[str]:
        """What was found beside the spectra, in words; of the tokens read, only what is beyond
        chance.
        """
        said = []
        for name, part in self.parts().items():
            if name == "reading":
                clear = [each.p_value < part.level for each in part.directions]
                said.append(
                    f"{sum(clear)} of {len(clear)} directions are nearer to some token than a"
                    " random one may be."
                )
                said += [
                    sentence
                    for sentence, beyond in zip(part.sentences(), clear, strict=True)
                    if beyond
                ]
            elif name != "query_keys":
                said += [headline_sentence(part)] if name == "alignment" else []
                said += part.sentences()
                said += part.continued() if name == "alignment" else []
        return said

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        With a text, `headline` answers whether its tokens align with the leading directions, and
        each of `layers` has its statistics too; where weights are shared, under `applications`, one
        entry for each layer that applies the block.
        """
        found = self.spectra.as_dict()
        parts = {name: part.as_dict() for name, part in self.parts().items()}
        if self.alignment is not None:
            found["headline"] = parts["alignment"]["headline"]
            _join(
                found["layers"],
                parts["alignment"]["layers"],
                shared=len(set(found["schedule"])) < len(found["schedule"]),
            )
        return {**found, "notes": self.notes(), **parts, "seconds": self.seconds}

    def page(self, *, command: str) -> pages.Page:
        """The page.

        Args:
            command: what repeats it.
        """
        return spectra_page(
            self.spectra,
            command=command,
            seconds=self.seconds,
            remarks=self.remarks,
            lead=None if self.alignment is None else headline_sentence(self.alignment),
            summary=[] if self.alignment is None else alignment_sentences(self.alignment),
            facts=[] if self.alignment is None else [("text", pages.Verbatim(self.alignment.text))],
            beside=[SECTIONS[name](part) for name, part in self.parts().items()],
            downloads=[*TABLES[:2], *(FILES[name] for name in self.parts())],
        )

    def save(self, directory: Path, *, command: str) -> dict[str, str]:
        """Write report.html and the tables beside it; the page is drawn before the first is
        written.

        Args:
            directory: where to; made where it is missing.
            command: what repeats it.

        Returns:
            Paths by name: report, spectra, eigenvalues, and those of `parts`.

        Raises:
            InputError: as for `OutputDirectory.held`.
        """
        with output_directory(Path(directory)).held():
            return self.write(Path(directory), command=command)

    def write(self, directory: Path, *, command: str) -> dict[str, str]:
        """What `save` does in a directory that is held already (`output_directory`)."""
        html = pages.render(self.page(command=command)).encode()
        tables = {"spectra": self.spectra.save, "eigenvalues": self.spectra.save_eigenvalues}
        tables |= {name: part.save for name, part in self.parts().items()}
        written = {name: str(save(directory)) for name, save in tables.items()}
        for stale in {*FILES.values()} - {Path(path).name for path in written.values()}:
            (directory / stale).unlink(missing_ok=True)
        atomic_write(directory / PAGE, html)
        return {"report": str(directory / PAGE), **written}


def output_directory(path: Path) -> OutputDirectory:
    """Where the lens writes: a directory that holds no model and, until the lens has marked it,
    none of these names.

    Directories of earlier versions bear no mark; their page is recognised.
    """

    def refuse() -> None:
        if (path / "config.json").exists():
            raise InputError(f"{path} holds a model (config.json); choose another --out")
        foreign = [path / name for name in (PAGE, *TABLES) if (path / name).exists()]
        if foreign and not place.is_ours() and not _is_ours(path / PAGE):
            raise InputError(f"{foreign[0]} was not written by the lens; choose another --out")

    place = OutputDirectory(path, "lens", (PAGE, *TABLES), refuse=refuse)
    return place


def _is_ours(page: Path) -> bool:
    """Whether a page is the lens's."""
    try:
        return f"<title>{TITLE}" in page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def survey(
    model: Any,
    *,
    rules: Sequence[str] = RULES,
    layers: str | Sequence[int] = "all",
    with_query_keys: bool = True,
    text: Path | str | None = None,
    loop: int | None = None,
    loops: int | None = None,
    compare_with: Any = None,
    device: str = "auto",
    progress: Progress = silent,
) -> Survey:
    """Look at a model.

    Args:
        model: a directory or a hub name; in Python anything that `Subject.of` takes.
        rules: as for `spectra`.
        layers: as for `spectra`.
        with_query_keys: look at the heads' QK circuits too.
        text: whose tokens to follow: a file (a Path) or a text.
        loop: a layer to apply again and again, to the text or else to the packaged one.
        loops: how often, 48 by default; without `loop`, how many loops of one shared block the
            tokens of the text are followed for, as for `alignment`.
        compare_with: another checkpoint of the same model.
        device: where the model runs, as for `load`.
        progress: told how far each part of the work is.

    Raises:
        InputError: a model or the text cannot be read, or a layer or rule does not exist.
    """
    began = time.monotonic()
    subject, remarks = Subject.of(model, device=device), []
    stack = subject.stack
    if compare_with is not None:
        compare_with = Subject.of(compare_with)
    chosen_layers(layers, len(stack.blocks))
    _check(subject, loop, text)
    shown: dict[str, Any] = {}
    sigma: dict[int, float] = dict.fromkeys(range(len(stack.blocks)), 1.0)
    if text is not None:
        # as in `LayerModes`: more threads wait for one another
        with threadpool_limits(1, user_api="blas"):
            further = loops if loop is None else None
            aligned = alignment(
                subject, text, rule=leading(rules), layers=layers, loops=further, progress=progress
            )
        shown["alignment"] = aligned
        sigma |= {layer.block: layer.sigma for layer in reversed(aligned.layers)}
    found = spectra(
        subject, rules=rules, layers=layers, sigma=sigma, vectors="layers", progress=progress
    )
    if has_vocabulary(stack):
        modes = [layer.modes[found.rule] for layer in found.layers]
        shown["reading"] = reading(
            subject, rule=found.rule, layers=layers, modes=modes, progress=progress
        )
    else:
        remarks.append("the weights hold no input embedding, so no tokens are named")
    left_out = _why_no_query_keys(stack, len(found.layers)) if with_query_keys else ""
    if left_out:
        remarks.append(left_out)
    elif with_query_keys:
        shown["query_keys"] = query_keys(
            subject, rule=_of_heads(rules), layers=layers, progress=progress
        )
    if loop is not None:
        words, often = SAMPLE if text is None else text, LOOPS if loops is None else loops
        with threadpool_limits(1, user_api="blas"):
            shown["loops"] = looped(subject, words, layer=loop, loops=often, progress=progress)
        if text is None:
            remarks.append("the layer is looped on the text that the package brings along")
    if compare_with is not None:
        shown["comparison"] = compare(
            subject, compare_with, rules=rules, layers=layers, progress=progress
        )
    return Survey(spectra=found, **shown, remarks=tuple(remarks), seconds=time.monotonic() - began)


def _check(subject: Subject, loop: int | None, text: Path | str | None) -> None:
    """Refuse a layer to loop that does not exist, a text that cannot be read, and a model that
    cannot be run, before anything is computed.
    """
    blocks = len(subject.stack.blocks)
    if loop is not None and not 0 <= loop < blocks:
        there = f"the layers 0 to {blocks - 1}" if blocks > 1 else "one block, number 0"
        raise InputError(f"--loop is {loop}; this model has {there}")
    if text is not None or loop is not None:
        passages(SAMPLE if text is None else text)
        _ = subject.model


def _why_no_query_keys(stack: Stack, layers: int) -> str:
    """Why the QK circuits of the heads of so many layers are not shown; empty where they are."""
    heads = layers * stack.heads
    if f"{stack.module(0, stack.layout.query)}.weight" not in stack.weights.tensors.names():
        return "the weights hold no queries, so QK is not shown"
    if heads * 16 * stack.width * stack.head_dim > LARGEST_HEADS:
        return f"the QK circuits of {heads} heads are left out; choose fewer layers to see them"
    return ""


def _join(layers: list[dict[str, Any]], told: list[dict[str, Any]], *, shared: bool) -> None:
    """Give each layer its own statistics of the text."""
    for layer in layers:
        mine = [
            {key: value for key, value in each.items() if key in (*TOLD, *STATISTICS)}
            for each in told
            if each["block"] == layer["layer"]
        ]
        if shared:
            layer["applications"] = mine
        else:
            layer.update(
                {key: value for each in mine for key, value in each.items() if key != "layer"}
            )


def _of_heads(rules: Sequence[str]) -> str:
    """The rule that heads are looked at by: a head alone has no residual connection."""
    return "modulus" if "modulus" in rules else rules[0]
