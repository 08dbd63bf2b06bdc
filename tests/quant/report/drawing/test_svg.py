"""Charts: a value stands where it belongs, and axes say round values within."""

import re

import pytest

from quant.report.drawing import svg
from quant.report.drawing.colours import MARKERS, OTHER


def test_a_scale_lays_its_ends_and_what_is_between() -> None:
    scale = svg.Scale(10, 20, 100, 300)
    assert [scale(v) for v in (10, 15, 20)] == [100, 200, 300]
    log = svg.Scale(1, 100, 0, 10, log=True)
    assert [log(v) for v in (1, 10, 100)] == pytest.approx([0, 5, 10])
    assert svg.Scale(3, 3, 0, 10)(3) == 5  # one value stands in the middle


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (57.3, 84.2), (99.1, 100), (0, 0.0003), (20, 1e9)]
)
def test_ticks_are_round_few_and_within(low: float, high: float) -> None:
    ticks = svg.linear_ticks(low, high)
    assert 2 <= len(ticks) <= 7
    assert all(low - 1e-9 * high <= tick <= high * (1 + 1e-9) for tick in ticks)
    steps = {round((b - a) / (ticks[1] - ticks[0]), 6) for a, b in zip(ticks, ticks[1:])}  # noqa: B905, RUF007
    assert steps == {1.0}


@pytest.mark.parametrize(("low", "high"), [(2.6e6, 6.5e6), (4e8, 3.5e9), (1e-3, 1e5), (1.9, 2.1)])
def test_logarithmic_ticks_are_within(low: float, high: float) -> None:
    ticks = svg.log_ticks(low, high)
    assert 1 <= len(ticks) <= 10
    assert ticks == sorted(ticks)
    assert all(low <= tick <= high for tick in ticks)


def test_every_symbol_of_the_page_can_be_drawn() -> None:
    drawn = {m.symbol: svg.symbol(0, 0, m.symbol, 5, "mark") for m in [*MARKERS.values(), OTHER]}
    assert len(set(drawn.values())) == len(drawn)
    assert [name for name, mark in drawn.items() if "<circle" in mark] == ["circle"]


def test_what_the_mouse_reads_is_text() -> None:
    mark = svg.box(0, 0, 5, -1, "b4", "<b>")
    assert "<title>&lt;b&gt;</title>" in mark
    assert 'height="0"' in mark


def test_axes_lie_between_their_ends() -> None:
    across, up = svg.Scale(0, 10, 50, 450), svg.Scale(0, 1, 300, 20)
    marks = "".join(svg.axes(across, up, ("x", "y"), ("{:g}".format, "{:g}".format)))
    heights = [float(y) for y in re.findall(r'y1="([\d.]+)"', marks)]
    assert min(heights) == 20
    assert max(heights) == 300
    assert ">10</text>" in marks


@pytest.mark.parametrize(
    ("written", "short"),
    [("10.0 G", "10 G"), ("2.50 MB", "2.5 MB"), ("300 kB", "300 kB"), ("20", "20")],
)
def test_zeros_after_the_point_are_left_out(written: str, short: str) -> None:
    assert svg.short(written) == short
