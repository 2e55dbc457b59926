"""What every drawing shares."""

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from eigenloop.report.drawing import label_logarithms


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
