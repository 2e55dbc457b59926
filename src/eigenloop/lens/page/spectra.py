"""The lens's page: what a model's layers and heads amplify, in words, drawings and tables.

Built from results that are there already; nothing is measured here.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from eigenloop import report
from eigenloop.lens.model.results import ONE, called
from eigenloop.lens.page.heads import heads_items, layer_table
from eigenloop.lens.page.labels import FACTORS, noted, short_name
from eigenloop.lens.page.panels import strip
from eigenloop.lens.weights.spectra import Spectra
from eigenloop.system.versions import LENS

TITLE = "The lens: "
"""What the page's title begins with; a page of another kind is not replaced."""


def spectra_page(
    found: Spectra,
    *,
    command: str,
    seconds: float,
    beside: Sequence[report.Section] = (),
    lead: str | None = None,
    summary: Sequence[str] = (),
    facts: Sequence[tuple[str, report.Cell]] = (),
    remarks: Sequence[str] = (),
    downloads: Sequence[str] = ("spectra.csv", "eigenvalues.csv"),
) -> report.Page:
    """The page.

    Args:
        found: the spectra.
        command: what repeats it.
        seconds: how long it took.
        beside: sections about a text, the tokens, loops or another checkpoint, after the spectra.
        lead: the page's first sentence; by default what the weights say.
        summary: their sentences for the summary.
        facts: further ones for the head of the page.
        remarks: further notes.
        downloads: the files beside the page.

    Example:
        >>> import numpy as np
        >>> from eigenloop.lens import planted, layer_spectra
        >>> layers = (layer_spectra(planted(np.diag([1.0, -1.5]))),)
        >>> about = {
        ...     "source": "mine",
        ...     "model_type": "planted",
        ...     "stored": ("float64",),
        ...     "schedule": (0,),
        ...     "heads": 1,
        ... }
        >>> found = Spectra(
        ...     **about,
        ...     width=2,
        ...     placement="pre",
        ...     rules=("modulus", "consensus", "layernorm"),
        ...     layers=layers,
        ... )
        >>> spectra_page(found, command="eigenloop lens mine", seconds=1.0).title
        'The lens: mine'
    """
    rule = found.rule
    words = [*([lead] if lead else []), *sentences(found), *summary]
    notes = [*found.notes(), *remarks]
    sections = [
        report.Section("In short", (*words[1:], *([noted(notes)] if notes else []))),
        report.Section(
            (
                "Eigenvalues of the one block"
                if found.unit == ONE
                else f"Eigenvalues, {found.unit} by {found.unit}"
            ),
            (*_reading_planes(found), strip(found)),
        ),
        report.Section(
            f"The leading direction of {ONE if found.unit == ONE else f'each {found.unit}'}",
            (layer_table(found),),
        ),
        report.Section("Heads", heads_items(found)),
        *beside,
        report.Section("Method", _method(found)),
        report.Section(
            "Files", (report.Facts([(name, report.Link(name, name)) for name in downloads]),)
        ),
    ]
    return report.Page(
        TITLE + short_name(found.source),
        words[0],
        sections,
        facts=[
            ("model", report.Verbatim(found.source)),
            (
                "architecture",
                (
                    f"{found.model_type}, {found.placement}-LN, weights stored as"
                    f" {' and '.join(found.stored)}"
                ),
            ),
            ("shown", f"{found.shown()}; {found.heads} heads each, d = {found.width}"),
            ("leads by", f"{rule}: largest {FACTORS[rule]}"),
            *facts,
        ],
        command=command,
        origin=report.Origin.here(seconds, LENS),
        links=[
            report.Link("Li and Altafini, arXiv 2605.25619", "https://arxiv.org/abs/2605.25619"),
            report.Link("Altafini et al., arXiv 2511.11553", "https://arxiv.org/abs/2511.11553"),
        ],
    )


def sentences(found: Spectra) -> list[str]:
    """What the spectra say, in words that claim no more than the numbers.

    Example:
        >>> from eigenloop.lens import planted, layer_spectra
        >>> layers = (layer_spectra(planted(np.diag([1.0, -0.5])), rules=("consensus",)),)
        >>> about = {
        ...     "source": "mine",
        ...     "model_type": "planted",
        ...     "stored": ("float64",),
        ...     "schedule": (0,),
        ...     "heads": 1,
        ... }
        >>> found = Spectra(**about, width=2, placement="pre", rules=("consensus",), layers=layers)
        >>> print(sentences(found)[1])  # doctest: +NORMALIZE_WHITESPACE
        Alone, a step multiplies the leading direction by 2 (layer 0). The next one grows 0.25
        times as much (the gap).
    """
    rule, leaders = found.rule, {layer.layer: layer.modes[found.rule] for layer in found.layers}
    at = partial(called, found.unit)
    counts = [f"{count} {_KINDS[flag]}" for flag, count in found.counts()[rule].items() if count]
    told = f", of {found.shown()}: {', '.join(counts)}"
    if len(leaders) == 1:
        told = f": {found.shown()}, {counts[0].removeprefix('1 ')}"
    who = "does the attention" if found.unit == ONE else "do the attention layers"
    lead = (
        f"Which directions of the residual stream {who} of {short_name(found.source)} amplify, and"
        f" how clearly? By {FACTORS[rule]}{told}."
    )
    growths = {index: mode.growth for index, mode in leaders.items()}
    gaps = {index: mode.gap for index, mode in leaders.items()}
    most, least = max(growths, key=growths.__getitem__), min(growths, key=growths.__getitem__)
    if most == least:
        where = "" if found.unit == ONE else f" ({at(most)})"
        step = f"Alone, a step multiplies the leading direction by {growths[most]:.3g}{where}."
        step += f" The next one grows {gaps[most]:.3g} times as much (the gap)."
    else:
        step = (
            f"Alone, a step multiplies the leading direction by {growths[least]:.3g} ({at(least)})"
            f" to {growths[most]:.3g} ({at(most)})."
        )
        clear, close = min(gaps, key=gaps.__getitem__), max(gaps, key=gaps.__getitem__)
        step += (
            f" The next direction grows {gaps[clear]:.3g} ({at(clear)}) to {gaps[close]:.3g}"
            f" ({at(close)}) times as much: a gap near 1 means that a single pass hardly separates"
            " the two."
        )
    words = [lead, step]
    if {"modulus", "consensus"} <= set(found.rules):
        other = [
            layer.layer
            for layer in found.layers
            if not np.isclose(
                layer.modes["modulus"].eigenvalue, layer.modes["consensus"].eigenvalue, rtol=1e-9
            )
        ]
        if len(leaders) == 1:
            which = "another direction leads than" if other else "the same direction leads as"
            words.append(f"With the residual connection {which} without it.")
        else:
            words.append(
                "With the residual connection another direction leads than without it in"
                f" {len(other)} of {len(leaders)}"
                f" {found.unit}s{f' ({at(other)})' if other else ''}."
            )
    return words


_KINDS = {
    "positive": "led by a positive eigenvalue",
    "negative": "led by a negative one",
    "complex": "led by a complex pair",
    "zero": "led by the null space (nothing is amplified)",
}


def _reading_planes(found: Spectra) -> list[str]:
    if found.rule == "layernorm":
        return []
    return [
        "Attention adds F x to a token x, so a direction with eigenvalue λ is multiplied by 1 + λ:"
        " λ > 0 is amplified with its sign, λ between −2 and 0 is damped, λ < −2 is amplified and"
        " changes sign at every step, and a complex pair turns in a plane, where no single"
        " direction leads."
    ]


def _method(found: Spectra) -> list[str]:
    """What was done, in plain words."""
    zeros = "the " if found.heads > 1 else ""
    words = [
        (
            "F = W_O W_V, the sum over heads of W_O^h W_V^h, is what attention applies to a token"
            " on its way back into the residual stream, patterns and biases aside. Weights are"
            " taken as they are stored; nothing is folded in or centred unless the rule is"
            " layernorm."
        ),
        (
            "modulus: the power method on F alone, largest |λ|. consensus: with the residual"
            " connection and all tokens alike, largest |1 + λ|. layernorm: with the gain and"
            " centring of the layer's own normalisation."
        ),
        (
            "All eigenvalues come from LAPACK's QR iteration in float64 (ARPACK above d = 2,048,"
            f" the leading six), those of {zeros}heads from the small d_head x d_head product. Each"
            " is returned with ||F v − λ v||, its residual."
        ),
        (
            "These are statements about weights. Whether tokens follow depends on attention"
            " patterns, the feed-forward layers, and what the normalisation does in between; a text"
            " tells."
        ),
    ]
    return words
