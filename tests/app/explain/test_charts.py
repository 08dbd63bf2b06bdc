"""Charts of relevance: every value is in them, unchanged, and told apart without colour."""

import numpy as np
import pytest

from app.explain import charts
from app.explain.conservation import Conservation
from app.work.explanations import Curves


def test_the_histogram_counts_every_value_with_its_sign() -> None:
    values = np.array([-2.0] * 3 + [0.01] * 10 + [1.9] * 4)
    bars = charts.histogram(values, "tokens", dark=False).data[0]
    assert sum(bars.y) == 17
    assert sum(y for x, y in zip(bars.x, bars.y, strict=True) if x < -0.5) == 3
    left, right = bars.marker.color[0], bars.marker.color[-1]
    assert left != right


def test_a_histogram_of_nothing_is_still_a_chart() -> None:
    assert sum(charts.histogram(np.zeros(5), "tokens", dark=True).data[0].y) == 5


@pytest.mark.parametrize("blocks", [2, 12, 24])
def test_what_is_left_is_plotted_from_the_pixels_to_the_class(blocks: int) -> None:
    left = {"class": 1.0}
    left |= {f"blocks.{n}": 0.5 + 0.01 * n for n in reversed(range(blocks))} | {"pixels": -0.25}
    figure = charts.remaining(Conservation(left, ()), "blocks.1", dark=False)
    line = figure.data[0]
    assert list(line.x) == ["pixels", *(f"blocks.{n}" for n in range(blocks)), "class"]
    assert [line.y[0], line.y[1], line.y[-1]] == pytest.approx([-25, 50, 100])
    assert line.marker.size.index(max(line.marker.size)) == 2  # the chosen block stands out
    shown = figure.layout.xaxis.ticktext
    assert shown[0] == "pixels"
    assert shown[-1] == "class"
    assert len(shown) <= charts.MANY + 2


def test_both_orders_of_deletion_are_plotted_for_each_method() -> None:
    shares = np.linspace(0, 1, 5)
    curves = {
        name: Curves(shares, shares[::-1] * scale, shares[::-1])
        for name, scale in (("one", 0.5), ("other", 0.8))
    }
    figure = charts.deletion(curves, dark=True)
    assert [trace.name for trace in figure.data] == ["one", "one", "other", "other"]
    assert list(figure.data[2].y) == pytest.approx([80, 60, 40, 20, 0])
    assert list(figure.data[3].y) == pytest.approx([100, 75, 50, 25, 0])
    assert list(figure.data[0].x) == pytest.approx([0, 25, 50, 75, 100])
    assert sum(bool(trace.showlegend) for trace in figure.data) == 2  # one entry a method


def test_methods_differ_in_dash_and_symbol_as_well_as_colour() -> None:
    flat = Curves(np.array([0.0, 1.0]), np.ones(2), np.ones(2))
    figure = charts.deletion({str(n): flat for n in range(6)}, dark=False)
    looks = {(t.line.dash, t.marker.symbol) for t in figure.data}
    assert len(looks) == 6
