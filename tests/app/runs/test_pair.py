"""Two runs side by side, and how they are drawn, on made-up answers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.runs import charts
from app.runs.charts import ACTIVATIONS, WEIGHTS
from app.runs.compare import bit_rows, classes_changed, spent_differently
from app.runs.pair import Contender, RunComparison, compared, kind, why_not
from app.work.history import Filter
from lrp.engine.layers import Layer
from quant.evaluation.comparison import ClassAccuracy
from quant.history.recipe import Recipe
from quant.history.runs import FILE, Run, Runs
from quant.primitives.bits import LayerBits
from tests.app import runs_made as made

LAYERS = [
    Layer("stem", "conv2d", "", "", 10, 100),
    Layer("blocks.0.fc1", "linear", "", "blocks.0", 20, 200),
    Layer("blocks.0.attn.matmul1", "matmul", "matmul1", "blocks.0", 0, 50),
]
NAMES = [layer.name for layer in LAYERS]
ONE = dict(zip(NAMES, (LayerBits(8, 8), LayerBits(4, 6), LayerBits(4, 4)), strict=True))
OTHER = dict(zip(NAMES, (LayerBits(6, 8), LayerBits(4, 3), LayerBits(7, 4)), strict=True))


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / FILE)


def pair(runs: Runs, wrong: set[int], other: set[int]) -> RunComparison:
    one = made.keep(runs, made.recipe(8), made.answers(wrong))
    found = compared([made.keep(runs, made.recipe(4), made.answers(other)), one])
    assert found is not None
    return found


def test_the_older_of_two_is_a_and_every_image_has_one_outcome(runs: Runs) -> None:
    found = pair(runs, {1, 2, 3}, {3, 4})
    assert [side.name for side in found.sides] == ["uniform 8 bits", "uniform 4 bits"]
    right = set(range(made.IMAGES)) - {1, 2, 3}
    both = len(right - {4})
    assert list(found.outcomes.values()) == [both, 1, 2, 1]
    assert found.difference[0] == pytest.approx((58 - 57) / 60)
    assert [(c.index, kind(c)) for c in found.changes] == [
        (1, "only B right"),
        (2, "only B right"),
        (4, "only A right"),
    ]
    assert charts.outcome_table(found)["images"].sum() == made.IMAGES


def test_one_alone_stands_against_float_and_float_alone_against_nothing(runs: Runs) -> None:
    quantized = made.keep(runs, made.recipe(4), made.answers({1, 2}, {2, 9}))
    found = compared([quantized])
    assert found is not None
    float_side = found.one
    assert float_side.allocation is None
    assert float_side.answers.evaluation(1).top1 == pytest.approx(58 / 60)
    assert found.difference == pytest.approx((0.0, *found.difference[1:]))
    assert compared([made.keep(runs, made.recipe(None), made.answers(set()))]) is None
    assert compared([]) is None


def test_a_run_cut_short_is_compared_on_what_it_answered(runs: Runs) -> None:
    short = made.keep(runs, made.recipe(3), made.answers({1}).part(0, 10), done=False)
    whole = made.keep(runs, made.recipe(8), made.answers({2, 30}))
    found = compared([short, whole])
    assert found is not None
    assert (found.images, why_not(found)) == (10, "")
    assert [found.evaluation(side).top1 for side in found.sides] == [0.9, 0.9]


@pytest.mark.parametrize(
    ("changes", "comparable"),
    [
        ({"images": 30, "images_key": "the first half"}, True),  # drawn in the same order
        ({"images_key": "others", "data": "/elsewhere"}, False),
        ({"images_key": "others", "data": "/elsewhere", "seed": 1}, False),
    ],
)
def test_only_runs_on_the_same_images_are_compared(
    runs: Runs, changes: dict[str, object], comparable: bool
) -> None:
    one = made.keep(runs, made.recipe(8), made.answers({1}))
    other = made.keep(runs, replace(made.recipe(4), **changes), made.answers({2}))
    assert (why_not(RunComparison(Contender("A", one), Contender("B", other))) == "") == comparable


def test_the_draw_of_a_folder_matters_where_it_calibrates_too(runs: Runs) -> None:
    def run(**changes: object) -> Run:
        recipe: Recipe = made.recipe(4, data="/birds", **changes)
        return made.keep(runs, recipe, made.answers({1}))

    one = run(images_key="a")
    for other, same in (
        (run(images_key="b", images=30), True),
        (run(images_key="c", calibration_images=8), False),
        (run(images_key="d", seed=1), False),
    ):
        found = RunComparison(Contender("A", one), Contender("B", other))
        assert (why_not(found) == "") == same


def test_a_filter_takes_what_has_every_word(runs: Runs) -> None:
    run = made.keep(runs, made.recipe(4), made.answers({1}))
    runs.note(run.id, "After the Fix")
    run = runs.get(run.id)
    assert Filter(text="fix uniform SWIN").takes(run)
    assert not Filter(text="fix before").takes(run)
    assert Filter(model="digits-swin", objective="uniform", state="done").takes(run)
    assert not Filter(state="running").takes(run)
    assert not Filter(objective="float").takes(run)


def test_bits_go_up_for_a_and_down_for_b_and_equal_ones_are_faint() -> None:
    table = charts.bits_table(LAYERS, ONE, OTHER, WEIGHTS)
    ends = dict(zip(zip(table["layer"], table["side"], strict=True), table["end"], strict=True))
    assert ends == {
        ("stem", "A"): 8,
        ("blocks.0.fc1", "A"): 4,
        ("blocks.0.attn.matmul1", "A"): 4,
        ("stem", "B"): -6,
        ("blocks.0.fc1", "B"): -4,
        ("blocks.0.attn.matmul1", "B"): -7,
    }
    assert set(table[table["same"]]["layer"]) == {"blocks.0.fc1"}
    inputs = charts.bits_table(LAYERS, ONE, OTHER, ACTIVATIONS)
    assert set(inputs[~inputs["same"]]["layer"]) == {"blocks.0.fc1"}
    assert set(charts.bits_table(LAYERS, None, OTHER, WEIGHTS)["side"]) == {"B"}


def test_where_bits_differ_is_said() -> None:
    said = spent_differently(ONE, OTHER, WEIGHTS)
    assert "more bits than A in 1 layers, fewer in 1 and as many in 1" in said
    assert "blocks.0.attn.matmul1 (+3)" in said
    assert "blocks.0.fc1 (−3)" in spent_differently(ONE, OTHER, ACTIVATIONS)
    assert "the same bits" in spent_differently(ONE, ONE, WEIGHTS)
    assert "A is float" in spent_differently(None, ONE, WEIGHTS)
    assert "B is float" in spent_differently(ONE, None, WEIGHTS)
    rows = bit_rows(tuple(LAYERS), None, ONE)
    assert list(rows["A weight bits"]) == [32, 32, 32]
    assert list(rows["B activation bits"]) == [8, 6, 4]


def test_classes_stand_in_the_order_of_their_change_and_only_so_many_are_drawn() -> None:
    classes = [ClassAccuracy(k, 50, 0.5, 0.5 + 0.01 * (-1) ** k * k) for k in range(30)]
    table = charts.class_table(classes, [f"bird {k}" for k in range(29)])
    assert list(table["class"][:3]) == ["class 29", "bird 28", "bird 27"]
    np.testing.assert_allclose(table["B"] - table["A"], table["change"])
    points = charts.class_points(table)
    assert points["class"].nunique() == charts.MOST_CLASSES
    assert "bird 0" not in set(points["class"])
    said = classes_changed(table)
    assert "class 29 loses most (−29.0 points) and bird 28 gains most (+28.0)" in said
    assert "A class has 50 images here" in said


def test_classes_of_few_images_are_not_told_apart() -> None:
    table = charts.class_table([ClassAccuracy(0, 1, 0.0, 1.0), ClassAccuracy(1, 1, 1.0, 1.0)], ())
    assert "1 of 2 classes change, but a class has 1 image here" in classes_changed(table)
