"""Charts: every value is in them, unchanged, and where it belongs."""

import json

import pandas as pd
import pytest

from app.look import altair_charts
from lrp.engine.layers import Layer
from lrp.engine.names import number_of

LAYERS = (
    Layer("patch_embed.proj", "conv2d", "proj", "", 10, 100),
    Layer("blocks.0.attn.qkv", "linear", "qkv", "blocks.0", 30, 300),
    Layer("blocks.0.attn.matmul1", "matmul", "matmul1", "blocks.0", 0, 50),
    Layer("blocks.1.mlp.fc1", "linear", "fc1", "blocks.1", 20, 200),
    Layer("head", "linear", "head", "", 5, 5),
)
MEAN = dict(zip((la.name for la in LAYERS), (0.1, 0.4, 0.05, 0.25, 0.2), strict=True))
DEVIATION = dict.fromkeys(MEAN, 0.06)


def test_layers_are_grouped_by_block_in_order() -> None:
    assert altair_charts.blocks_of(LAYERS) == [("", 0, 1), ("0", 1, 3), ("1", 3, 4), ("", 4, 5)]


@pytest.mark.parametrize(
    ("block", "short"), [("", ""), ("blocks.11", "11"), ("layers.2.blocks.0", "2.0")]
)
def test_blocks_have_short_names(block: str, short: str) -> None:
    assert number_of(block) == short


def test_the_score_table_holds_percent_and_error_bars_that_stay_above_zero() -> None:
    table = altair_charts.score_table(LAYERS, MEAN, DEVIATION, chosen="head")
    assert table["score"].tolist() == pytest.approx([10, 40, 5, 25, 20])
    assert table["low"].tolist() == pytest.approx([4, 34, 0, 19, 14])
    assert table["high"].tolist() == pytest.approx([16, 46, 11, 31, 26])
    assert table.loc[table["chosen"], "layer"].tolist() == ["head"]


def test_bars_stand_side_by_side_without_touching() -> None:
    table = altair_charts.layer_table(LAYERS, None)
    assert (table["left"].to_numpy()[1:] > table["right"].to_numpy()[:-1]).all()
    assert (table["right"] > table["left"]).all()


def test_axis_labels_stand_at_the_middle_of_their_block() -> None:
    axis = altair_charts.score_spec(LAYERS, dark=False)["layer"][0]["encoding"]["x"]["axis"]
    labels = json.loads(axis["labelExpr"].removesuffix("[datum.value]"))
    assert axis["values"] == [0.5, 2.0, 3.5, 4.5]
    assert labels == {"0.5": "", "2": "0", "3.5": "1", "4.5": ""}


@pytest.mark.parametrize("dark", [False, True])
def test_a_specification_holds_no_table_and_is_made_once(dark: bool) -> None:
    spec = altair_charts.score_spec(LAYERS, dark)
    assert altair_charts.score_spec(LAYERS, dark) is spec
    assert altair_charts.score_spec(LAYERS, not dark) != spec
    bars, errors, edges = (layer["data"] for layer in spec["layer"])
    assert bars == errors == {"name": "source"}  # as Streamlit names the table it is given
    assert edges == {"values": [{"edge": 1}, {"edge": 3}, {"edge": 4}]}
    assert "datasets" not in spec


def test_a_click_on_a_bar_picks_its_layer() -> None:
    spec = altair_charts.score_spec(LAYERS, dark=False)
    (pick,) = spec["params"]
    assert pick["name"] == altair_charts.PICK
    assert pick["select"] == {"type": "point", "fields": ["layer"]}
    assert pick["views"] == [spec["layer"][0]["name"]]


def sensed() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "layer": list(MEAN),
            "weights": [1.0, 0.0, 3.0, 0.5, 2.0],
            "activations": [0.5, 4.0, 0.0, 0.25, 1.0],
        }
    )


def test_a_layers_two_sensitivities_stand_one_upon_the_other() -> None:
    rows = altair_charts.sensitivity_table(LAYERS, sensed())
    weights, activations = (rows[rows["what"] == what] for what in ("weights", "activations"))
    assert weights["below"].tolist() == [0] * 5
    assert weights["above"].tolist() == weights["loss"].tolist() == [1, 0, 3, 0.5, 2]
    assert activations["below"].tolist() == [1, 0, 3, 0.5, 2]
    assert activations["above"].tolist() == [1.5, 4, 3, 0.75, 3]
    assert activations["loss"].tolist() == [0.5, 4, 0, 0.25, 1]
    for part in (weights, activations):
        assert part["layer"].tolist() == list(MEAN)
        assert part["middle"].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]


@pytest.mark.parametrize("dark", [False, True])
def test_the_sensitivity_chart_draws_from_below_to_above_by_kind(dark: bool) -> None:
    encoding = altair_charts.sensitivity_spec(LAYERS, dark)["layer"][0]["encoding"]
    assert encoding["y"]["field"] == "above"
    assert encoding["y2"] == {"field": "below"}
    assert encoding["color"]["field"] == "what"
    scale = encoding["color"]["scale"]
    assert scale["domain"] == ["weights", "activations"]
    assert len(set(scale["range"])) == 2
    fields = set(altair_charts.sensitivity_table(LAYERS, sensed()).columns)
    assert {tip["field"] for tip in encoding["tooltip"]} <= fields
    names = [encoding[c]["field"] for c in ("x", "x2", "y", "y2", "color")]
    assert set(names) <= fields
