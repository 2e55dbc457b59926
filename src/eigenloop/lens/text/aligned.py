"""What `alignment` found, in numbers, tables and sentences (NumPy)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eigenloop.lens.text.nulls import KINDS, Kind, Null
from eigenloop.lens.weights.modes import Flag
from eigenloop.system.files import save_table

STATISTICS = (
    "cosine_before", "cosine_after", "enrichment_before", "enrichment_after", "ratio", "percentile", "gain_rho",
    "gain_slope",
)  # fmt: skip
"""Of a layer; a head has the first five."""

LEVEL = 0.05
"""Below which a p-value is called significant in the sentences."""

_NULL_FIELDS = ("mean", "low", "high", "count", "sigmas", "p", "p_adjusted")

COLUMNS = (
    "layer", "block", "head", "flag", "statistic", "value", "low", "high",
    *(f"{kind}_{name}" for kind in KINDS for name in _NULL_FIELDS),
)  # fmt: skip
"""Columns of the table and of alignment.csv; `head` is empty for the whole layer."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A statistic with its 95 % bootstrap interval over passages, and its nulls.

    Args:
        value: None where there is none, with the reason.
        low: end of the interval.
        high: end of the interval.
        nulls: by kind; a kind that does not apply is missing.
        reason: why there is no value.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    nulls: Mapping[Kind, Null]
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain: dict[str, Any] = {"value": self.value, "interval": None, "nulls": {}}
        if self.value is not None:
            plain["interval"] = [self.low, self.high]
        for kind, null in self.nulls.items():
            plain["nulls"][kind] = {name: getattr(null, name) for name in _NULL_FIELDS}
        return {**plain, "reason": self.reason} if self.reason else plain


@dataclass(frozen=True, kw_only=True)
class HeadAlignment:
    """How the tokens of a layer lie to the leading mode of one head's F_h.

    Args:
        head: h.
        eigenvalue: of the mode.
        flag: "positive", "negative", "complex" or "zero".
        statistics: by the first five names of `STATISTICS`.
    """

    head: int
    eigenvalue: complex
    flag: Flag
    statistics: Mapping[str, Estimate]


@dataclass(frozen=True, kw_only=True)
class LayerAlignment:
    """How the tokens of a layer lie to the leading mode of its F, and how its modes grow.

    Args:
        layer: in the order in which the model applies them.
        block: the block that it applies.
        eigenvalue: of the leading mode.
        flag: "positive", "negative", "complex" or "zero".
        sigma: the tokens' scale, 1 where nothing is divided by it.
        statistics: by the names of `STATISTICS`.
        heads: the same for single heads.
    """

    layer: int
    block: int
    eigenvalue: complex
    flag: Flag
    sigma: float
    statistics: Mapping[str, Estimate]
    heads: Sequence[HeadAlignment]

    def __getitem__(self, name: str) -> Estimate:
        """A statistic by its name."""
        return self.statistics[name]


@dataclass(frozen=True, eq=False, kw_only=True)
class Alignment:
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
    """

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

    def notes(self) -> list[str]:
        """What a reader has to know beside the numbers, in sentences."""
        flags = [layer.flag for layer in self.layers]
        counts = ", ".join(f"{flags.count(flag)} {flag}" for flag in dict.fromkeys(flags))
        found = [
            *self.remarks,
            f"{self.tokens} tokens in {self.passages} passages; intervals are 95 %, from {self.resamples} bootstrap "
            f"samples of whole passages; seed {self.seed}",
            f"leading modes by the rule {self.rule}: {counts} of {len(flags)} layers",
            f"p-values are adjusted over the {len(flags)} layers, those of heads over all heads, by the maximum over "
            f"{self.draws} random directions each",
        ]
        if self.passages < 30:
            found.append(f"{self.passages} passages are few: bootstrap intervals are too narrow below about 30")
        missing = dict.fromkeys(e.reason for layer in self.layers for e in layer.statistics.values() if e.reason)
        return [*found, *missing]

    def sentences(self) -> list[str]:
        """One sentence or two per layer, which say no more than the numbers."""
        return [_words(layer) for layer in self.layers]

    def rows(self) -> list[tuple]:
        """One row for each layer, head and statistic, in the order of `COLUMNS`."""
        rows = []
        for layer in self.layers:
            whole = [(None, layer.flag, layer.statistics)]
            for head, flag, statistics in whole + [(h.head, h.flag, h.statistics) for h in layer.heads]:
                for name, found in statistics.items():
                    nulls = [asdict(found.nulls[kind]) if kind in found.nulls else {} for kind in KINDS]
                    cells = [null.get(part) for null in nulls for part in _NULL_FIELDS]
                    rows.append(
                        (layer.layer, layer.block, head, flag, name, found.value, found.low, found.high, *cells)
                    )
        return rows

    def table(self) -> Any:
        """The rows as a pandas DataFrame, or as a list of dictionaries where pandas is missing."""
        try:
            import pandas
        except ImportError:
            return [dict(zip(COLUMNS, row, strict=True)) for row in self.rows()]
        return pandas.DataFrame(self.rows(), columns=list(COLUMNS))

    def save(self, directory: Path) -> Path:
        """Write alignment.csv and give its path.

        Raises:
            InputError: the directory cannot be written to.
        """
        path = Path(directory) / "alignment.csv"
        save_table(path, COLUMNS, self.rows())
        return path

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: for each layer its statistics by name, each with interval and nulls, and its heads."""
        sentences = self.sentences()
        return {
            "model": self.source, "text": self.text, "rule": self.rule, "seed": self.seed, "passages": self.passages,
            "tokens": self.tokens, "resamples": self.resamples, "draws": self.draws, "notes": self.notes(),
            "layers": [
                {
                    "layer": layer.layer, "block": layer.block, "flag": layer.flag, "sigma": layer.sigma,
                    "eigenvalue": _pair(layer.eigenvalue), "sentence": sentence,
                    **{name: found.as_dict() for name, found in layer.statistics.items()},
                    "heads": [
                        {
                            "head": head.head, "flag": head.flag, "eigenvalue": _pair(head.eigenvalue),
                            **{name: found.as_dict() for name, found in head.statistics.items()},
                        }
                        for head in layer.heads
                    ],
                }
                for layer, sentence in zip(self.layers, sentences, strict=True)
            ],
        }  # fmt: skip


def _pair(value: complex) -> list[float]:
    return [value.real, value.imag]


def _span(found: Estimate, places: int = 2) -> str:
    """Value and interval."""
    return f"{found.value:.{places}f} [{found.low:.{places}f}, {found.high:.{places}f}]"


def _versus(found: Estimate, kind: Kind, words: str) -> list[str]:
    null = found.nulls.get(kind)
    return [] if null is None else [f"{words} {null.mean:.2f}"]


def _words(layer: LayerAlignment) -> str:
    ratio, after, rho, slope = (layer[name] for name in ("ratio", "enrichment_after", "gain_rho", "gain_slope"))
    lead = "the plane of the leading complex pair" if layer.flag == "complex" else "the leading eigenvector"
    head = f"Layer {layer.layer}"
    if ratio.value is None or ratio.low is None or ratio.high is None:
        return f"{head}: nothing can be said of {lead} ({ratio.reason})."
    change = "is not told from no change" if ratio.low <= 1 <= ratio.high else "grows" if ratio.low > 1 else "shrinks"
    said = f"{head}: the tokens' share in {lead} {change} across the attention sublayer (x {_span(ratio)}"
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
            said += f", {'and' if crowd.p_adjusted < LEVEL else 'but not clearly'} more than random directions have"
    if rho.value is None or slope.value is None:
        return f"{said}. Its spectral gains are not measured ({rho.reason})."
    others = [*_versus(rho, "other_layers", "other layers' eigenbases"), *_versus(rho, "random_init", "random init")]
    against = f" ({'; '.join(others)})" if others else ""
    slopes = f"slope {_span(slope)} (1 = power step)"
    return f"{said}. Gains against log growth: rank correlation {_span(rho)}{against}, {slopes}."
