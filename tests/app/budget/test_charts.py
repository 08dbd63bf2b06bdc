"""The charts of the Budget page: every value is in them, unchanged, and where it belongs."""

import math
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from app.budget import charts
from app.budget.charts import MARKERS, OTHER, MeasuredPoint
from app.components.budget_table import BudgetTable, Figures, Plain
from app.state.budget import AVERAGE, BITOPS
from app.work.spending import Axis
from lrp.engine.layers import Layer
from quant.allocation.budget import Limits
from quant.allocation.cost import Cost
from quant.allocation.path import BudgetPlan
from quant.history.runs import FILE, Run, Runs
from quant.report.drawing.colours import DARK_BITS, LIGHT_BITS
from tests.app import runs_made as made

NAMES = ("patch_embed.proj", "blocks.0.attn.qkv", "blocks.0.mlp.fc1", "blocks.1.mlp.fc1", "head")
BLOCKS = ("", "blocks.0", "blocks.0", "blocks.1", "")
LAYERS = [Layer(n, "linear", "", b, 10, 10) for n, b in zip(NAMES, BLOCKS, strict=True)]
Z = 1.959964


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """46 of 60 right."""
    return made.keep(Runs(tmp_path / FILE), made.recipe(4), made.answers(set(range(14))))


def point(run: Run, kind: str, megabytes: float = 2.0) -> MeasuredPoint:
    return MeasuredPoint(
        run, f"{kind} 4 bits", kind, Cost(megabytes * 1e6, 1e6, megabytes * 3e9, 4)
    )


def table(predicted: list[tuple[float, float, float]] | None) -> BudgetTable:
    figures = Figures([3e6, 1e6, 2e6], [30e9, 10e9, 20e9], [2, 3, 4], [2, 3, 4], predicted)
    bits = np.array([[2], [3], [4]])
    return BudgetTable(
        "Average bits", " bit", 2, [2, 3, 4], [("head", "", "linear")], bits, bits,
        figures, None, Plain(8e6, 1e12), [0, 0, 0], ["", "", ""],
    )  # fmt: skip


def traces(figure: go.Figure) -> dict[str, go.Scatter]:
    return {trace.name: trace for trace in figure.data if trace.name}


@pytest.mark.parametrize(("axis", "factor"), [("size", 1), ("BitOps", 3)])
def test_each_run_is_a_point_with_its_interval(run: Run, axis: str, factor: int) -> None:
    points = [point(run, "uniform", 2), point(run, "float", 8), point(run, "uniform", 1)]
    found = traces(charts.trade_off(points, None, 0, axis, dark=False))
    assert list(found) == ["float", "uniform"]
    even = found["uniform"]
    assert list(even.x) == pytest.approx([2 * factor, factor])
    p, n = 46 / 60, 60  # Wilson's interval, by hand
    middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    assert list(even.y) == pytest.approx([100 * p] * 2)
    assert list(even.error_y.array) == pytest.approx([100 * (middle + half - p)] * 2, abs=1e-3)
    assert list(even.error_y.arrayminus) == pytest.approx([100 * (p - middle + half)] * 2, abs=1e-3)
    assert list(even.customdata) == [run.id, run.id]
    assert even.text[0] == "uniform 4 bits repq-vit, 60 images"
    assert "measured" in even.hovertemplate


def test_kinds_differ_in_symbol_as_well_as_colour(run: Run) -> None:
    markers = [*MARKERS.values(), OTHER]
    for field in ("symbol", "light", "dark"):
        assert len({getattr(marker, field) for marker in markers}) == len(markers)
    for dark in (False, True):
        found = traces(
            charts.trade_off(
                [point(run, kind) for kind in (*MARKERS, "from a file")], None, 0, "size", dark
            )
        )
        assert len(found) == len(markers)
        assert found["from a file"].marker.symbol == OTHER.symbol
        assert found["lrp"].marker.color == (MARKERS["lrp"].dark if dark else MARKERS["lrp"].light)


@pytest.mark.parametrize(("axis", "costs"), [("size", [1, 2, 3]), ("BitOps", [10, 20, 30])])
def test_the_predicted_curve_goes_from_cheap_to_dear_within_its_band(
    run: Run, axis: str, costs: list[float]
) -> None:
    bands = [(0.5, 0.9, 0.95), (0.1, 0.3, 0.4), (0.4, 0.6, 0.7)]
    figure = charts.trade_off([point(run, "lrp")], table(bands), 1, axis, dark=True)
    high, low, middle, here, _ = figure.data
    for trace, place in ((low, 0), (middle, 1), (high, 2)):
        assert list(trace.x) == pytest.approx(costs)
        ordered = [bands[row][place] for row in (1, 2, 0)]
        assert list(trace.y) == pytest.approx([100 * value for value in ordered])
    assert low.fill == "tonexty"
    assert (list(here.x), list(here.y)) == ([pytest.approx(costs[0])], [pytest.approx(30)])
    assert middle.name == "predicted"
    assert "predicted" in here.name
    assert {t.hoverinfo for t in (low, middle, high, here)} == {"skip"}  # clicks are for points


def test_without_predictions_there_are_points_only(run: Run) -> None:
    for found in (None, table(None)):
        figure = charts.trade_off([point(run, "lrp")], found, 0, "size", dark=False)
        assert [trace.name for trace in figure.data] == ["lrp"]


def drawn_path(unit: str = AVERAGE, side: str = "weight", dark: bool = False) -> go.Figure:
    weight = np.array([[2, 2, 2, 2, 2], [2, 3, 2, 2, 7], [4, 3, 5, 7, 7]], np.int8)
    zeros, limits = np.zeros(3), (Limits(),) * 3
    plan = BudgetPlan(NAMES, limits, weight, weight + 1, zeros, zeros, zeros, zeros, zeros, "lrp")
    axis = Axis(unit, (2.0, 3.0, 4.0), limits)
    return charts.path(axis, plan, LAYERS, side, 1, dark)


@pytest.mark.parametrize(("side", "more"), [("weight", 0), ("activation", 1)])
def test_the_path_shows_each_layers_bits_at_each_budget(side: str, more: int) -> None:
    (cells,) = drawn_path(side=side).data
    assert list(cells.x) == [2, 3, 4]
    assert list(cells.y) == list(NAMES)
    bits = np.array(cells.z) - more
    assert bits.tolist() == [[2, 2, 4], [2, 3, 3], [2, 2, 5], [2, 2, 7], [2, 7, 7]]


@pytest.mark.parametrize(("dark", "colours"), [(False, LIGHT_BITS), (True, DARK_BITS)])
def test_each_width_has_the_colour_it_has_in_the_slider(dark: bool, colours: list[str]) -> None:
    (cells,) = drawn_path(dark=dark).data
    for width, colour in enumerate(colours, 2):
        at = (width - cells.zmin) / (cells.zmax - cells.zmin)
        below = [c for place, c in cells.colorscale if place <= at][-1]
        above = next(c for place, c in cells.colorscale if place >= at)
        assert below == above == colour


def test_blocks_are_named_at_their_middle_and_the_budget_is_marked() -> None:
    layout = drawn_path(BITOPS).layout
    assert layout.yaxis.tickvals[0] in NAMES[1:3]
    assert layout.yaxis.tickvals[1:] == (NAMES[3],)
    assert layout.yaxis.ticktext == ("block 0", "block 1")
    assert layout.yaxis.autorange == "reversed"  # the first layer on top
    assert layout.xaxis.title.text == "BitOps (G)"
    assert {layout.shapes[0].x0, layout.shapes[0].x1} == {3.0}
