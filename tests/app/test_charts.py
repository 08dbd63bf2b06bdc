"""Charts: every value is in them, unchanged, and where it belongs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from app import charts
from app.tasks import Configuration, Measured
from lrp.layers import Layer
from quant.allocation import LayerBits
from quant.cost import Cost
from quant.evaluation import Evaluation

LAYERS = (
    Layer("patch_embed.proj", "conv2d", "proj", "", 10, 100),
    Layer("blocks.0.attn.qkv", "linear", "qkv", "blocks.0", 30, 300),
    Layer("blocks.0.attn.matmul1", "matmul", "matmul1", "blocks.0", 0, 50),
    Layer("blocks.1.mlp.fc1", "linear", "fc1", "blocks.1", 20, 200),
    Layer("head", "linear", "head", "", 5, 5),
)
MEAN = dict(zip((la.name for la in LAYERS), (0.1, 0.4, 0.05, 0.25, 0.2), strict=True))
DEVIATION = dict.fromkeys(MEAN, 0.06)


def measured(kind: str, top1: float, megabytes: float) -> Measured:
    cost = Cost(megabytes * 1e6, megabytes * 1e6, megabytes * 3e9, 4)
    evaluation = Evaluation(200, top1, top1 - 0.05, top1 + 0.03, 1.0, 0.9, 0.1, 1.0)
    return Measured(Configuration(kind, f"{kind} 4 bit", {}, cost), evaluation, 32)


def test_layers_are_grouped_by_block_in_order() -> None:
    assert charts.blocks_of(LAYERS) == [("", 0, 1), ("0", 1, 3), ("1", 3, 4), ("", 4, 5)]


@pytest.mark.parametrize(
    ("block", "short"), [("", ""), ("blocks.11", "11"), ("layers.2.blocks.0", "2.0")]
)
def test_blocks_have_short_names(block: str, short: str) -> None:
    assert charts.short_block(block) == short


def test_the_score_table_holds_percent_and_error_bars_that_stay_above_zero() -> None:
    table = charts.score_table(LAYERS, MEAN, DEVIATION, chosen="head")
    assert table["score"].tolist() == pytest.approx([10, 40, 5, 25, 20])
    assert table["low"].tolist() == pytest.approx([4, 34, 0, 19, 14])
    assert table["high"].tolist() == pytest.approx([16, 46, 11, 31, 26])
    assert table.loc[table["chosen"], "layer"].tolist() == ["head"]


def test_the_bits_table_prints_both_widths_where_they_differ() -> None:
    bits = {name: LayerBits(4, 4) for name in MEAN} | {"head": LayerBits(8, 6)}
    table = charts.bits_table(LAYERS, bits, {"head": 8})
    assert table["printed"].tolist() == ["4", "4", "4", "4", "8/6"]
    assert table["fixed"].tolist() == ["by score"] * 4 + ["by hand"]
    assert table["mark"].tolist() == ["", "", "", "", "▾"]


def test_bars_stand_side_by_side_without_touching() -> None:
    table = charts.layer_table(LAYERS, None)
    assert (table["left"].to_numpy()[1:] > table["right"].to_numpy()[:-1]).all()
    assert (table["right"] > table["left"]).all()


def test_the_bits_chart_is_the_same_for_every_budget() -> None:
    # Else the browser would build it anew while the slider moves.
    assert charts.bits_spec(LAYERS, dark=False) == charts.bits_spec(LAYERS, dark=False)
    text = json.dumps(charts.bits_spec(LAYERS, dark=True))
    assert "datum.chosen" in text
    assert "printed" in text


@pytest.mark.parametrize("dark", [False, True])
def test_more_bits_are_lighter_for_every_eye(dark: bool) -> None:
    spec = charts.bits_spec(LAYERS, dark)
    scale = spec["layer"][0]["encoding"]["color"]["scale"]
    assert scale["domain"] == [2, 3, 4, 5, 6, 7, 8]
    rgb = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in scale["range"]])
    assert (np.diff(rgb @ [0.2126, 0.7152, 0.0722]) > 0).all()


def test_axis_labels_stand_at_the_middle_of_their_block() -> None:
    axis = charts.score_spec(LAYERS, dark=False)["layer"][0]["encoding"]["x"]["axis"]
    labels = json.loads(axis["labelExpr"].removesuffix("[datum.value]"))
    assert axis["values"] == [0.5, 2.0, 3.5, 4.5]
    assert labels == {"0.5": "", "2": "0", "3.5": "1", "4.5": ""}


@pytest.mark.parametrize(("axis", "factor"), [("size", 1), ("BitOps", 3)])
def test_the_trade_off_has_a_point_with_its_interval_for_each_row(axis: str, factor: int) -> None:
    rows = [measured("float", 0.9, 8), measured("mixed", 0.8, 2), measured("mixed", 0.7, 1)]
    traces = {t.name: t for t in charts.trade_off(rows, axis, dark=False).data}
    assert set(traces) == {"float", "mixed"}
    mixed = traces["mixed"]
    assert list(mixed.y) == pytest.approx([70, 80])
    assert list(mixed.x) == pytest.approx([factor, 2 * factor], rel=0.1)
    assert list(mixed.error_y.array) == pytest.approx([3, 3])
    assert list(mixed.error_y.arrayminus) == pytest.approx([5, 5])


def test_kinds_differ_in_symbol_as_well_as_colour() -> None:
    symbols = [look.symbol for look in charts.LOOKS.values()]
    assert len(set(symbols)) == len(symbols)
