"""Charts of quantized layers hold what was measured, in both themes."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from app.layers import (
    attention,
    charts,
    clipping,
    spread,
)
from app.layers.attention import MEAN
from app.look import units
from lrp.engine.layers import Layer
from quant.analysis.anatomy import AttentionMaps, Histogram, side
from quant.analysis.clipping import LIMITS, Clipping
from quant.analysis.layer_errors import BOTH, SqnrByWidth
from quant.primitives.bits import LayerBits
from quant.primitives.qparams import QParams
from quant.primitives.quantizers import Uniform

LAYERS = (
    Layer("embed", "conv2d", "embed", "", 10, 10),
    Layer("blocks.0.qkv", "linear", "qkv", "blocks.0", 10, 10),
    Layer("blocks.0.matmul2", "matmul", "matmul2", "blocks.0", 0, 10),
)


@pytest.fixture
def seen() -> Histogram:
    x = torch.randn(5000, generator=torch.Generator().manual_seed(0))
    return side(x, Uniform(QParams(torch.tensor(0.5), torch.tensor(4.0), 3)))


@pytest.fixture
def swept() -> SqnrByWidth:
    errors = np.linspace(0, 80, 63).reshape(3, 3, 7)
    errors[0, BOTH, 6] = math.inf
    return SqnrByWidth(tuple(layer.name for layer in LAYERS), tuple(range(2, 9)), errors)


@pytest.fixture
def clipped() -> Clipping:
    scale = torch.tensor([1.0, 1.0, 1.2, 9.0])
    return Clipping(
        low=np.array([-7.0, -7, -8, -70]),
        high=np.array([7.0, 7, 8, 70]),
        channels=QParams(scale, torch.full((4,), 8.0), 4),
        touched=tuple(1 if k < 1.7 else 0 for k in LIMITS),
        errors=tuple(20 - abs(k - 1.5) for k in LIMITS),
        off=10.0,
        plain=19.0,
        own=22.0,
    )


@pytest.mark.parametrize("dark", [True, False])
def test_a_spread_shows_counts_and_stairs(seen: Histogram, dark: bool) -> None:
    before, after, stairs = charts.spread(seen, "input", dark).data
    assert np.nansum(before.y) == np.nansum(after.y) == 5000
    assert set(np.round(np.unique(stairs.y), 6)) <= {0.5 * (k - 4) for k in range(8)}


def test_a_spreads_table_leaves_out_empty_bins(seen: Histogram) -> None:
    table = spread.table(seen)
    assert table["values before"].sum() == table["values after"].sum() == 5000
    assert ((table["values before"] > 0) | (table["values after"] > 0)).all()


def test_the_curve_has_no_infinite_points(swept: SqnrByWidth) -> None:
    figure = charts.by_width(swept, "embed", ("w", "a", "both"), False)
    assert [trace.name for trace in figure.data] == ["w", "a", "both"]
    assert np.isnan(figure.data[BOTH].y[6])
    assert np.isfinite(figure.data[0].y).all()


def test_the_strip_has_a_cell_a_layer_and_width(swept: SqnrByWidth) -> None:
    table = charts.strip_table(LAYERS, swept, BOTH, "blocks.0.qkv")
    assert len(table) == 21
    assert table["SQNR"].between(charts.BOTTOM, charts.TOP).all()
    assert set(table[table["chosen"]]["layer"]) == {"blocks.0.qkv"}
    assert charts.strip_spec(LAYERS, True) != charts.strip_spec(LAYERS, False)


def test_ranges_are_sorted_and_marked_where_clipped(clipped: Clipping) -> None:
    table = charts.range_table(clipped, 1.0)
    assert list(table["channel"]) == [0, 1, 2, 3]
    assert list(table["clipping"]) == ["untouched"] * 3 + ["touched"]
    widths = table["covered to"] - table["covered from"]
    scale = np.array([1.0, 1, 1.2, 9])
    assert widths.iloc[3] == pytest.approx(15 * (scale.mean() + scale.std()))
    np.testing.assert_allclose(widths.iloc[:3], 15 * scale[:3], rtol=1e-6)


def test_thresholds_are_beside_the_ways_without(clipped: Clipping) -> None:
    table = charts.limit_table(clipped, 2.0)
    assert table[table["here"]]["K"].tolist() == [2.0]
    ends = table.groupby("way")["SQNR"].agg(["min", "max"])
    assert ends.loc["one range"].tolist() == [10, 10]
    assert ends.loc["the preset's way"].tolist() == [22, 22]
    assert clipped.best == LIMITS.index(1.5)


def test_the_threshold_is_said(clipped: Clipping) -> None:
    said = clipping.sentence(clipped, 1.5)
    assert "K = 1.5 touches **1 of 4** channels and lowers the output's error by 1.0 dB" in said
    assert "raises" in clipping.sentence(clipped, 5.0)
    assert "best K here is 1.5" in said
    ways = pd.DataFrame(clipping.ways(clipped, 1.5, LayerBits(4, 3)))
    assert set(ways["bits (weights, input)"]) == {"4, 3"}


def test_attention_is_arranged_as_patches() -> None:
    head = np.arange(81.0).reshape(9, 9)
    found = attention.on_patches(head, 1, (32, 64))
    assert found is not None
    np.testing.assert_array_equal(found, [[1, 2, 3, 4], [5, 6, 7, 8]])
    square = attention.on_patches(head, 0, (30, 30))
    assert square is not None
    np.testing.assert_array_equal(square.ravel(), head.mean(0))
    assert attention.on_patches(np.ones((8, 8)), 1, (32, 32)) is None


def test_moved_attention_is_counted() -> None:
    plain = np.array([[[0.5, 0.5], [1.0, 0.0]]])
    quantized = np.array([[[0.25, 0.75], [1.0, 0.0]]])
    table = attention.table(plain, quantized)
    assert table["attention moved (%)"].tolist() == [12.5]
    assert table["most in a row (%)"].tolist() == [25]
    found = AttentionMaps(plain, quantized, 1)
    assert "**12.5" in attention.sentence(found, MEAN, LayerBits(4, 4))
    assert "in head 0" in attention.sentence(found, 0, LayerBits(4, 4))


@pytest.mark.parametrize(
    ("value", "said"),
    [(25.21, "25.2 dB"), (-3.0, "−3.0 dB"), (math.inf, "no error"), (-math.inf, "no signal")],
)
def test_decibels_are_said(value: float, said: str) -> None:
    assert units.decibels(value) == said
