"""What `alignment` found, in numbers, tables and sentences (NumPy)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from eigenloop.lens.model.results import TabularResult
from eigenloop.lens.text.estimates import LEVEL, NULL_FIELDS, Estimate, LayerAlignment
from eigenloop.lens.text.headline import Headline, judged
from eigenloop.lens.text.nulls import KINDS, Kind


@dataclass(frozen=True, eq=False, kw_only=True)
class Alignment(TabularResult):
    """How the tokens of a text pass through a model's layers.

    Args:
        source: the model.
        text: the text.
        rule: what "leading" means.
        seed: of the random directions, the bootstrap and the random copy.
        passages: S.
        tokens: how many were counted.
        resamples: bootstrap samples.
        draws: random directions.
        layers: what was found.
        remarks: of the model and the text.
        beyond: the same in loops of one shared block beyond those that the model was trained with.
        blocks: distinct blocks of the model; None for those of `layers`.
    """

    COLUMNS: ClassVar[tuple[str, ...]] = (
        "layer",
        "block",
        "head",
        "flag",
        "statistic",
        "value",
        "low",
        "high",
        *(f"{kind}_{name}" for kind in KINDS for name in NULL_FIELDS),
        "beyond",
    )
    """Columns of the table and of alignment.csv; `head` is empty for the whole layer, `beyond`
    true past training.
    """
    FILE: ClassVar[str] = "alignment.csv"

    source: str
    text: str
    rule: str
    seed: int
    passages: int
    tokens: int
    resamples: int
    draws: int
    layers: Sequence[LayerAlignment]
    remarks: Sequence[str] = ()
    beyond: Sequence[LayerAlignment] = ()
    blocks: int | None = None

    @property
    def looped(self) -> bool:
        """Whether the model applies one block again and again, so that its layers are loops."""
        blocks = len({layer.block for layer in self.layers}) if self.blocks is None else self.blocks
        return len(self.layers) > 1 and blocks == 1

    @property
    def unit(self) -> str:
        """What `layers` are called: "layer", or "loop" of one block; both are counted from 0."""
        return "loop" if self.looped else "layer"

    @property
    def headline(self) -> Headline:
        """Whether the tokens align with the leading directions, by the rule of
        docs/lens-alignment.md.
        """
        layers = tuple(judged(layer) for layer in self.layers)
        return Headline(source=self.source, text=self.text, layers=layers, unit=self.unit)

    def notes(self) -> list[str]:
        """What a reader has to know beside the numbers, in sentences."""
        flags, unit = [layer.flag for layer in self.layers], self.unit
        counts = ", ".join(f"{flags.count(flag)} {flag}" for flag in dict.fromkeys(flags))
        found = [
            *self.remarks,
            (
                f"{self.tokens} tokens in {self.passages} passages; intervals are 95 %, from"
                f" {self.resamples} bootstrap samples of whole passages; seed {self.seed}"
            ),
            (
                f"the leading mode of the one block by the rule {self.rule} is {flags[0]}; its"
                " loops are counted from 0"
                if self.looped
                else f"leading modes by the rule {self.rule}: {counts} of {len(flags)} layers"
            ),
            (
                f"p-values are adjusted over the {len(flags)} {unit}s, those of heads over all"
                f" heads, by the maximum over {self.draws} random directions each"
            ),
        ]
        if self.beyond:
            found.append(
                f"the model was trained with {len(flags)} loops; loops {self.beyond[0].layer} to"
                f" {self.beyond[-1].layer} are told beside, their p-values are adjusted over them"
                " alone, and the answer does not read them"
            )
        if self.passages < 30:
            found.append(
                f"{self.passages} passages are few: bootstrap intervals are too narrow below"
                " about 30"
            )
        missing = dict.fromkeys(
            e.reason for layer in self.layers for e in layer.statistics.values() if e.reason
        )
        return [*found, *missing]

    def sentences(self) -> list[str]:
        """One sentence or two per layer, which say no more than the numbers; `headline` has that
        of the whole.
        """
        return [_words(layer, self.unit) for layer in self.layers]

    def continued(self) -> list[str]:
        """What the loops beyond the trained ones show, in sentences; none where there are none."""
        return _continued(self.layers, self.beyond) if self.beyond else []

    def rows(self) -> list[tuple]:
        """One row for each layer, head and statistic, in the order of `COLUMNS`."""
        rows = []
        for number, layer in enumerate((*self.layers, *self.beyond)):
            past = number >= len(self.layers)
            whole = [(None, layer.flag, layer.statistics)]
            for head, flag, statistics in whole + [
                (h.head, h.flag, h.statistics) for h in layer.heads
            ]:
                for name, found in statistics.items():
                    nulls = [
                        asdict(found.nulls[kind]) if kind in found.nulls else {} for kind in KINDS
                    ]
                    cells = [null.get(part) for null in nulls for part in NULL_FIELDS]
                    rows.append(
                        (
                            layer.layer,
                            layer.block,
                            head,
                            flag,
                            name,
                            found.value,
                            found.low,
                            found.high,
                            *cells,
                            past,
                        )
                    )
        return rows

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: for each layer its statistics by name, each with interval and
        nulls, and its heads.

        `beyond` holds the loops past the trained ones in the same way, without a verdict.
        """
        sentences = self.sentences()
        return {
            "model": self.source,
            "text": self.text,
            "rule": self.rule,
            "seed": self.seed,
            "passages": self.passages,
            "tokens": self.tokens,
            "resamples": self.resamples,
            "draws": self.draws,
            "notes": self.notes(),
            "headline": self.headline.as_dict(),
            "layers": [
                {
                    **_plain(layer),
                    "sentence": sentence,
                    "verdict": verdict.says,
                    "conditions": dict(verdict.conditions),
                }
                for layer, sentence, verdict in zip(
                    self.layers, sentences, self.headline.layers, strict=True
                )
            ],
            "continued": self.continued(),
            "beyond": [_plain(layer) for layer in self.beyond],
        }


def _plain(layer: LayerAlignment) -> dict[str, Any]:
    return {
        "layer": layer.layer,
        "block": layer.block,
        "flag": layer.flag,
        "sigma": layer.sigma,
        "eigenvalue": _pair(layer.eigenvalue),
        "coordinate": layer.coordinate,
        "coordinate_share": layer.coordinate_share,
        **{name: found.as_dict() for name, found in layer.statistics.items()},
        "heads": [
            {
                "head": head.head,
                "flag": head.flag,
                "eigenvalue": _pair(head.eigenvalue),
                **{name: found.as_dict() for name, found in head.statistics.items()},
            }
            for head in layer.heads
        ],
    }


def _pair(value: complex) -> list[float]:
    return [value.real, value.imag]


def _span(found: Estimate, places: int = 2) -> str:
    """Value and interval."""
    return f"{found.value:.{places}f} [{found.low:.{places}f}, {found.high:.{places}f}]"


def _versus(found: Estimate, kind: Kind, words: str) -> list[str]:
    null = found.nulls.get(kind)
    return [] if null is None else [f"{words} {null.mean:.2f}"]


def _words(layer: LayerAlignment, unit: str) -> str:
    ratio, after, rho, slope = (
        layer[name] for name in ("ratio", "enrichment_after", "gain_rho", "gain_slope")
    )
    lead = (
        "the plane of the leading complex pair"
        if layer.flag == "complex"
        else "the leading eigenvector"
    )
    head = f"{unit.capitalize()} {layer.layer}"
    if ratio.value is None or ratio.low is None or ratio.high is None:
        return f"{head}: nothing can be said of {lead} ({ratio.reason})."
    change = (
        "is not told from no change"
        if ratio.low <= 1 <= ratio.high
        else "grows"
        if ratio.low > 1
        else "shrinks"
    )
    said = (
        f"{head}: the tokens' share in {lead} {change} across the attention sublayer (x"
        f" {_span(ratio)}"
    )
    random = ratio.nulls.get("random")
    beyond = random is not None and random.p_adjusted is not None and random.p_adjusted < LEVEL
    if random is not None and random.p_adjusted is not None:
        verdict = "more than" if beyond else "not clearly more than"
        said += f"; {verdict} along random directions, adjusted p = {random.p_adjusted:.2g}"
    others = [
        *_versus(ratio, "other_layers", "along other layers' modes"),
        *_versus(ratio, "random_init", "random init"),
    ]
    said += f"; {', '.join(others)})" if others else ")"
    if after.value is not None and after.low is not None and after.high is not None:
        place = "above" if after.low > 1 else "below" if after.high < 1 else "not told from"
        said += f". After it the share is {_span(after)} times chance, {place} chance"
        crowd = after.nulls.get("random")  # tokens in a cone give any direction a share of its own
        if after.low > 1 and crowd is not None and crowd.p_adjusted is not None:
            said += (
                f", {'and' if crowd.p_adjusted < LEVEL else 'but not clearly'} more than random"
                " directions have"
            )
    if rho.value is None or slope.value is None:
        return f"{said}. Its spectral gains are not measured ({rho.reason})."
    others = [
        *_versus(rho, "other_layers", "other layers' eigenbases"),
        *_versus(rho, "random_init", "random init"),
    ]
    against = f" ({'; '.join(others)})" if others else ""
    slopes = f"slope {_span(slope)} (1 = power step)"
    return f"{said}. Gains against log growth: rank correlation {_span(rho)}{against}, {slopes}."


def _continued(layers: Sequence[LayerAlignment], beyond: Sequence[LayerAlignment]) -> list[str]:
    """The share and its controls past the trained loops, from the last trained loop to the last
    of all.
    """
    count, last, end = len(beyond), layers[-1], beyond[-1]
    span = f"loop {last.layer} to loop {end.layer}"
    found = [judged(layer) for layer in beyond]
    ratios = [layer["ratio"] for layer in beyond]
    grows = sum(each.low is not None and each.low > 1 for each in ratios)
    shrinks = sum(each.high is not None and each.high < 1 for each in ratios)
    clear = ", ".join(
        f"{words} in {sum(each.conditions[name] is True for each in found)}"
        for name, words in (
            ("random", "beyond random directions"),
            ("own", "among the top 5 % of the block's own eigen-directions"),
            ("values", "above the run with W_V = 0"),
        )
    )
    moved = [
        f"{words} from {a:.2f} to {b:.2f}"
        for name, words in (
            ("enrichment_after", "the share after the sublayer, in times chance,"),
            ("centred_after", "the centred share"),
            ("gain_rho", "the gains' rank correlation"),
            ("gain_slope", "their slope"),
        )
        if (a := last[name].value) is not None and (b := end[name].value) is not None
    ]
    return [
        (
            f"Beyond the trained {len(layers)} loops, from {span}:"
            f" {'; '.join(moved) or 'nothing was measured in both'}."
        ),
        (
            f"In these {count} loops the sublayer lets the share grow in {grows} and shrink in"
            f" {shrinks} (95 % intervals clear of 1); the share after it is {clear}."
        ),
    ]
