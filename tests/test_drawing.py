"""What every drawing shares."""

import itertools

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from eigenloop.report.drawing import (
    DARK,
    LIGHT,
    both_looks,
    diverging,
    label_logarithms,
    legend_below,
)


@pytest.mark.parametrize("high", [1.01, 1.3, 2.1, 4.9, 7.0, 30.0, 99.0, 150.0, 1e5, 1e12])
@pytest.mark.parametrize("low", [0.03, 1.0, 290.0])
def test_labels_of_logarithmic_axes_are_apart_and_at_least_two(low: float, high: float) -> None:
    figure = Figure(figsize=(4.8, 3.1), layout="constrained")
    axes = figure.add_subplot(xscale="log", yscale="log")
    values = np.geomspace(low, low * high, 20)
    axes.plot(values, values)
    label_logarithms(axes)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    for axis in (axes.xaxis, axes.yaxis):
        limits = sorted(axis.get_view_interval())
        labels = [
            tick.label1
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
            if tick.label1.get_text() and limits[0] <= tick.get_loc() <= limits[1]
        ]
        assert len(labels) >= 2
        boxes = [label.get_window_extent(canvas.get_renderer()) for label in labels]
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


@pytest.mark.parametrize(("look", "ground"), [(LIGHT, "#ffffff"), (DARK, "#1a1d22")])
def test_zero_is_near_the_ground_of_the_page_and_the_ends_are_far_from_it(
    look: dict, ground: str
) -> None:
    with mpl.rc_context(look):
        low, zero, high = diverging()([0.0, 0.5, 1.0])[:, :3]
    distance = [
        float(abs(np.subtract(colour, to_rgb(ground))).max()) for colour in (low, zero, high)
    ]
    assert distance[1] < 0.08
    assert min(distance[0], distance[2]) > 0.5
    assert abs(low - high).max() > 0.3  # the two signs are told apart


@pytest.mark.parametrize(("letters", "columns"), [(5, 3), (20, 2), (60, 1)])
def test_a_legend_has_as_many_columns_as_fit(letters: int, columns: int) -> None:
    figure = Figure(figsize=(4.8, 3.1), layout="constrained")
    axes = figure.add_subplot()
    for name in "abc":
        axes.plot([0, 1], label=name * letters)
    legend_below(figure)
    (legend,) = figure.legends
    assert getattr(legend, "_ncols") == columns  # noqa: B009
    assert columns == 1 or legend.get_window_extent().width <= figure.bbox.width


def test_both_looks_are_one_drawing_in_two_colours() -> None:
    light, dark = both_looks(lambda axes: axes.plot([1, 2], [3, 4], label="a line"), (4.0, 3.0))
    assert light != dark
    for text in (light, dark):
        assert text.count("<svg") == 1
        assert "legend_1" in text
