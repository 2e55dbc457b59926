"""Sections about a text, loops and two checkpoints: counts, medians, what is missing and why,
drawn where it is.
"""

import re
from dataclasses import replace

import numpy as np
import pytest

from eigenloop import lens, report
from eigenloop.lens.loops.contraction import Attractor
from eigenloop.lens.loops.rates import Timescale
from eigenloop.lens.loops.result import Loops
from eigenloop.lens.page import curves
from eigenloop.lens.page.headline import headline_items
from eigenloop.lens.page.text import alignment_section, alignment_sentences, loops_section
from eigenloop.lens.text.aligned import Alignment
from eigenloop.lens.text.estimates import STATISTICS, Estimate, HeadAlignment, LayerAlignment
from eigenloop.lens.text.nulls import Null
from eigenloop.numerics.rates import ModeRate


def estimate(value: float, *, p: float = 0.5, copy: float = 1.0, width: float = 0.1) -> Estimate:
    nulls = {
        "random": Null("random", 1.0, 0.8, 1.2, 99, 2.0, p, p),
        "random_init": Null("random_init", copy, copy - 0.1, copy + 0.1, 1, None),
    }
    return Estimate(value=value, low=value - width, high=value + width, nulls=nulls)  # pyright: ignore[reportArgumentType]


def found(ratios=(1.5, 0.5, 1.05), p=(0.01, 0.9, 0.2), slopes=(0.2, 0.4, 0.3)) -> Alignment:
    layers = []
    for i, (ratio, level, slope) in enumerate(zip(ratios, p, slopes, strict=True)):
        numbers = dict.fromkeys(STATISTICS, estimate(2.0)) | {
            "ratio": estimate(ratio, p=level),
            "gain_slope": estimate(slope, copy=0.9),
            "percentile": estimate(87.6),
        }
        heads = [
            HeadAlignment(
                head=0, eigenvalue=1 + 0j, flag="positive", statistics={"ratio": numbers["ratio"]}
            )
        ]
        layers.append(
            LayerAlignment(
                layer=i,
                block=i,
                eigenvalue=1 + 0j,
                flag="positive",
                sigma=1.0,
                coordinate=3,
                coordinate_share=0.2,
                statistics=numbers,
                heads=heads,
            )
        )
    return Alignment(
        source="m",
        text="a/text.txt",
        rule="consensus",
        seed=0,
        passages=40,
        tokens=1234,
        resamples=99,
        draws=99,
        layers=layers,
    )


def test_the_summary_counts_intervals_and_adjusted_p_values():
    first, second = alignment_sentences(found())
    assert "On 1,234 tokens of a/text.txt" in first
    # 1.05 is not told from 1
    assert "grows in 1 of 3 layers and shrinks in 1 (95 % intervals clear of 1)" in first
    assert "in 1 it grows by more than along random directions" in first
    assert "above chance in 3 layers and below in 0" in first
    assert "slope 0.30 (0.90 in a copy with random weights)" in second


def test_the_section_draws_each_statistic_and_lists_what_it_drew():
    section = alignment_section(found())
    figures = [item for item in section.body if isinstance(item, report.Figure)]
    assert [figure.alt.split(" by layer")[0] for figure in figures] == [
        "Shares over chance",
        "share / chance",
        "share after / share before",
        "rank correlation",
        "slope",
    ]
    assert "1.5, 0.5, 1.05" in figures[2].alt
    rule, layers, heads = (item for item in section.body if isinstance(item, report.Table))
    assert [row.cells[0] for row in layers.body] == [row.cells[0] for row in rule.body] == [0, 1, 2]
    assert layers.body[0].cells[4] == "1.50 [1.40,\N{NO-BREAK SPACE}1.60]"
    assert str(layers.body[0].cells[5]).startswith("88 [")
    assert [row.cells[:2] for row in heads.body] == [(0.01, 0), (0.2, 2), (0.9, 1)]
    assert any(
        "Of 3 heads, 1 turn tokens" in item for item in section.body if isinstance(item, str)
    )
    assert "<svg" in report.render(report.Page("x", "", (section,)))


def test_a_statistic_that_is_nowhere_is_said_and_not_drawn():
    missing = Estimate(value=None, nulls={}, reason="the eigenbasis is too large")
    whole = found()
    layers = [
        LayerAlignment(**{**vars(layer), "statistics": {**layer.statistics, "gain_rho": missing}})
        for layer in whole.layers
    ]
    section = alignment_section(Alignment(**{**vars(whole), "layers": layers}))
    notes = [item.text for item in section.body if isinstance(item, report.Note)]
    assert any("the eigenbasis is too large" in note for note in notes)
    assert len([item for item in section.body if isinstance(item, report.Figure)]) == 4
    table = [item for item in section.body if isinstance(item, report.Table)][1]
    assert table.body[0].cells[6] == report.Missing("the eigenbasis is too large")


def test_the_rule_is_shown_with_what_it_reads_and_a_mark_where_it_fails():
    """Layer 0 fails by p alone; in layer 1 a percentile is missing too, and its reason is given."""
    whole = found()
    numbers = dict(whole.layers[0].statistics) | {
        "enrichment_after": estimate(5.0, p=0.2),
        "share_percentile_after": estimate(97.0),
        "no_values_after": estimate(2.0),
        "participation": Estimate(value=80.0, nulls={}),
        "centred_after": estimate(3.0, p=0.01),
        "centred_percentile": estimate(99.0),
        "no_values_centred": estimate(1.0),
    }
    wide = numbers | {"share_percentile_after": Estimate(value=None, nulls={}, reason="too wide")}
    layers = [
        replace(whole.layers[0], statistics=numbers),
        replace(whole.layers[1], statistics=wide),
    ]
    answer, rule, table, figure = headline_items(replace(whole, layers=layers))
    assert isinstance(answer, str)
    assert isinstance(rule, str)
    assert isinstance(table, report.Table)
    assert isinstance(figure, report.Figure)
    assert (
        "? No, in none of 2 layers. The tokens' share in it is not clearly beyond random directions"
        " (in 2)" in answer
    )
    first, second = table.body
    gap = "\N{NO-BREAK SPACE}"
    assert list(first.cells[:2]) == [0, report.Tag("no")]
    assert list(first.cells[2:7]) == [
        f"5.00 [4.90,{gap}5.10]",
        f"✗{gap}0.2",
        "97",
        f"2.00 [1.90,{gap}2.10]",
        "80.0",
    ]
    assert second.cells[4] == report.Missing("too wide")
    (inner,) = (item for item in first.details if isinstance(item, report.Table))
    told = {row.cells[0]: row.cells for row in inner.body}
    assert told["centred share after"][2] == 0.01
    assert told[f"share after, with W_V{gap}={gap}0"][1] == f"2.00 [1.90,{gap}2.10]"
    assert (
        "Shares over chance by layer: centred share after 3, 3; share after 5, 5; W_V = 0 2, 2"
        in figure.alt
    )


def loops(*, distance: bool) -> Loops:
    series = 0.5 ** np.arange(30.0)
    mode = lens.layer_spectra(lens.planted(np.diag([1.0, 0.2])), rules=("layernorm",)).modes[
        "layernorm"
    ]
    rate = ModeRate(modulus=0.5, error=1e-4, angle=0.1, angle_error=1e-4, first=10, points=12)
    return Loops(
        source="m",
        model_type="bert",
        layer=2,
        part="layer",
        placement="post",
        tokens=9,
        width=2,
        spread=series,
        cosine=1 - series,
        alignment=1 - series / 2,
        distance=series if distance else None,
        mode=mode,
        attractor=Attractor(points=np.ones((1, 2)), residual=1e-12, steps=3, converged=distance),
        consensus=Timescale(name="consensus", fitted=rate, predicted=0.5, angle=0.1, reasons={}),
        approach=Timescale(
            name="attractor",
            fitted=None,
            predicted=None,
            reasons={"fitted": "not reached", "predicted": "no fixed point"},
        ),
        rounding=1e-16,
    )


@pytest.mark.parametrize("distance", [True, False])
def test_loops_are_drawn_with_their_rates_and_the_reason_where_there_is_none(distance):
    section = loops_section(loops(distance=distance))
    assert section.title == "Layer 2, looped"
    table = next(item for item in section.body if isinstance(item, report.Table))
    turn = pytest.approx(np.degrees(0.1))
    assert table.body[0].cells[1:] == (
        0.5,
        1e-4,
        turn,
        0.5,
        turn,
        0.0,
        pytest.approx(1 / np.log(2)),
    )
    assert table.body[1].cells[1] == report.Missing("not reached")
    assert table.body[1].cells[4] == report.Missing("no fixed point")
    assert len([item for item in section.body if isinstance(item, report.Figure)]) == 2


def test_points_and_bands_stay_out_of_a_logarithmic_axis_where_they_cannot_be():
    values = np.array([2.0, -1.0, np.nan, 3.0])
    points = curves.Points("share", values, values - 0.5, values + 0.5)
    band = curves.Band("null", np.ones(4), np.zeros(4), np.full(4, 2.0))
    light, dark = curves.over_depth(
        [0, 1, 2, 3], [points], [band], ylabel="share", level=1.0, log=True
    )
    assert light != dark
    for svg in (light, dark):
        assert "nan" not in "".join(re.findall(r' d="([^"]*)"', svg)).lower()
    markers = re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)" style="fill: #0072b2', light)
    # 2 and 3, each with the ends of its interval, and the legend; neither -1 nor NaN
    assert len(markers) == 3 * 2 + 3
    low, high = (
        sorted({float(y) for x, y in markers if float(x) == place}) for place in _ends(markers)
    )
    assert len(low) == len(high) == 3
    assert low[0] > high[0]  # 3 is higher up than 2


def _ends(markers: list[tuple[str, str]]) -> tuple[float, float]:
    """The leftmost and the rightmost x; the legend lies between them."""
    places = [float(x) for x, _ in markers]
    return min(places), max(places)


def test_the_same_curves_are_the_same_bytes():
    x = np.arange(5)
    series = [curves.Series("a", x, 0.5**x), curves.Series("b", x, 0.8**x)]
    assert curves.over_loops(series, ylabel="y") == curves.over_loops(series, ylabel="y")


@pytest.mark.parametrize(
    ("value", "width", "p", "words"),
    [
        (1.05, 0.1, 0.9, "not told from chance"),
        (1.2, 0.1, 0.9, "above chance, but not clearly more than random directions have"),
        (1.2, 0.1, 0.01, "above chance, and more than random directions have"),
        (0.95, 0.1, 0.01, "not told from chance"),
        (0.8, 0.1, 0.01, "below chance"),
    ],
)
def test_a_sentence_goes_by_the_interval_and_the_null(value, width, p, words):
    after, whole = estimate(value, p=p, width=width), found(ratios=(1.05,), p=(0.2,), slopes=(0.2,))
    layer = replace(
        whole.layers[0], statistics={**whole.layers[0].statistics, "enrichment_after": after}
    )
    (said,) = replace(whole, layers=[layer]).sentences()
    assert f"times chance, {words}. Gains" in said
    assert "is not told from no change across the attention sublayer" in said
    assert "not clearly more than along random directions, adjusted p = 0.2" in said
