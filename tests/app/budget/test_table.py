"""From budgets to what the slider shows: nothing that it says differs from what is spent."""

import math

import numpy as np
import pytest

from app.budget import table as plans
from app.state.budget import AVERAGE, BITOPS, SIZE
from app.work.spending import ROWS, Axis, axis_of
from lrp.engine.layers import Layer
from quant.allocation.budget import Choices, Limits, offer
from quant.allocation.cost import CostModel
from quant.allocation.infeasible import Infeasible, require_feasible
from quant.allocation.objectives import Losses
from quant.allocation.path import BudgetPlan, budget_plan
from quant.evaluation.prediction import Point, Prediction, predict
from quant.primitives.bits import MENU, LayerBits, uniform
from quant.report.purchases import bought

LAYERS = (
    Layer("patch_embed.proj", "conv2d", "proj", "", 768, 49_152),
    Layer("blocks.0.attn.qkv", "linear", "qkv", "blocks.0", 3_072, 52_224),
    Layer("blocks.0.attn.matmul1", "matmul", "matmul1", "blocks.0", 0, 9_248),
    Layer("blocks.1.mlp.fc1", "linear", "fc1", "blocks.1", 4_096, 69_632),
    Layer("blocks.1.mlp.fc2", "linear", "fc2", "blocks.1", 4_096, 69_632),
    Layer("head", "linear", "head", "", 320, 320),
)
COSTS = CostModel(LAYERS, 500)
FREE = Limits()
NAMES = tuple(layer.name for layer in LAYERS)
UNITS = (AVERAGE, SIZE, BITOPS)


def drawn_losses(seed: int = 0) -> Losses:
    scales = np.random.default_rng(seed).random((2, len(LAYERS), 1))
    return Losses(NAMES, MENU, *(scales * 4.0 ** -np.array(MENU)), "sensitivity")


LOSSES = drawn_losses()


def planned(
    unit: str,
    tied: bool = False,
    other: Limits = FREE,
    locks: dict[str, int] | None = None,
) -> tuple[Choices, Axis, BudgetPlan]:
    choices = offer(LAYERS, MENU, locks, tied)
    axis = axis_of(LAYERS, choices, unit, other)
    return choices, axis, budget_plan(choices, LOSSES, axis.limits)


def spent(plan: BudgetPlan, row: int) -> tuple[float, float]:
    """Weight bits and bit operations of a row, added up layer by layer."""
    bits = plan.allocation(row)
    weights = sum(la.parameters * bits[la.name].weight for la in LAYERS)
    work = sum(la.macs * bits[la.name].weight * bits[la.name].activation for la in LAYERS)
    return weights, work


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("tied", [True, False])
def test_budgets_ascend_and_every_one_is_met(unit: str, tied: bool) -> None:
    choices, axis, plan = planned(unit, tied)
    assert len(axis.values) == len(axis.limits) == ROWS
    assert (np.diff(axis.values) > 0).all()
    for row, (value, limits) in enumerate(zip(axis.values, axis.limits, strict=True)):
        require_feasible(choices, limits)
        weights, work = spent(plan, row)
        if unit == SIZE:
            assert weights / 8e6 <= value * (1 + 1e-9)
        if unit == BITOPS:
            assert work / 1e9 <= value * (1 + 1e-9)
        if unit == AVERAGE:
            assert weights <= value * sum(la.parameters for la in LAYERS) * (1 + 1e-9)
            assert work <= value**2 * sum(la.macs for la in LAYERS) * (1 + 1e-9)
    least = plan.allocation(0)
    assert {least[layer.name].weight for layer in LAYERS if layer.parameters} == {2}
    assert unit == SIZE or set(least.values()) == {LayerBits(2, 2)}


@pytest.mark.parametrize("unit", UNITS)
def test_the_widest_widths_are_the_last_budget(unit: str) -> None:
    _, axis, plan = planned(unit)
    bits = plan.allocation(len(axis.values) - 1)
    assert all(
        bits[layer.name].weight == 8 for layer in LAYERS if layer.parameters or unit == BITOPS
    )
    assert axis.values[-1] == pytest.approx(
        {
            AVERAGE: 8,
            SIZE: sum(la.parameters for la in LAYERS) / 1e6,
            BITOPS: 64 * sum(la.macs for la in LAYERS) / 1e9,
        }[unit]
    )


def test_averages_are_twentieths_and_found_again() -> None:
    _, axis, _ = planned(AVERAGE)
    assert axis.values == pytest.approx([2 + row / 20 for row in range(121)])
    assert [axis.row(value) for value in (2, 3.26, 4, 8, 1, 99)] == [0, 25, 40, 120, 0, 120]


@pytest.mark.parametrize("unit", UNITS)
def test_locks_raise_the_least_budget(unit: str) -> None:
    _, free, _ = planned(unit)
    choices, axis, plan = planned(unit, locks={"blocks.1.mlp.fc1": 8, "head": 3})
    assert axis.values[0] > free.values[0]
    assert axis.values[-1] <= free.values[-1]
    for row in (0, len(axis.values) // 2, -1):
        assert plan.allocation(row)["blocks.1.mlp.fc1"] == LayerBits(8, 8)
        assert plan.allocation(row)["head"] == LayerBits(3, 3)
    assert choices.locks.keys() == {"blocks.1.mlp.fc1", "head"}


@pytest.mark.parametrize("unit", UNITS)
def test_where_nothing_is_left_to_decide_there_is_one_budget(unit: str) -> None:
    _, axis, plan = planned(unit, locks=dict.fromkeys(NAMES, 8))
    table = plans.table_of(COSTS, axis, plan, LOSSES, None, None)
    assert len(axis.values) == len(table.values) == 1
    assert plan.allocation(0) == uniform(LAYERS, 8, 8)


def test_other_limits_hold_in_every_row() -> None:
    most = 5 * sum(la.parameters for la in LAYERS)
    _, axis, plan = planned(BITOPS, other=Limits(weight_bits=most))
    assert len(axis.values) == ROWS
    assert max(spent(plan, row)[0] for row in range(ROWS)) <= most
    assert spent(plan, ROWS - 1)[0] > 0.9 * most


def test_limits_below_the_lowest_widths_are_refused() -> None:
    with pytest.raises(Infeasible) as found:
        planned(AVERAGE, other=Limits(bitops=10.0))
    assert found.value.limits == ("BitOps",)


def table(unit: str, prediction: Prediction | None = None, top1: float | None = None):
    _, axis, plan = planned(unit)
    return plan, plans.table_of(COSTS, axis, plan, LOSSES, prediction, top1)


@pytest.mark.parametrize("unit", UNITS)
def test_each_row_costs_what_its_allocation_does(unit: str) -> None:
    plan, found = table(unit)
    for row in range(0, ROWS, 12):
        allocation = plan.allocation(row)
        exact = COSTS.cost(allocation)
        assert found.mixed.size[row] == exact.size_bytes
        assert found.mixed.bitops[row] == exact.bitops
        assert found.mixed.weight_bits[row] == pytest.approx(exact.average_bits)
        by_work = sum(la.macs * allocation[la.name].activation for la in LAYERS)
        assert found.mixed.activation_bits[row] == pytest.approx(
            by_work / sum(la.macs for la in LAYERS)
        )


def test_beside_it_stands_the_widest_uniform_that_costs_no_more() -> None:
    _, found = table(AVERAGE)
    even = found.uniform
    assert even is not None
    for row in (0, 19, 20, 59, 60, 120):
        width = math.floor(2 + row / 20 + 1e-9)
        exact = COSTS.cost(uniform(LAYERS, width, width))
        assert even.weight_bits[row] == even.activation_bits[row] == width
        assert even.size[row] == pytest.approx(exact.size_bytes)
        assert even.bitops[row] == pytest.approx(exact.bitops)
    plain = COSTS.cost({})
    assert (found.plain.size, found.plain.bitops) == (plain.size_bytes, plain.bitops)


@pytest.mark.parametrize("unit", UNITS)
def test_no_two_budgets_are_called_the_same(unit: str) -> None:
    _, found = table(unit)
    texts = [found.text(row) for row in range(ROWS)]
    assert len(set(texts)) == ROWS
    ending = {AVERAGE: " bit", SIZE: " MB", BITOPS: " G"}[unit]
    assert all(text.endswith(ending) for text in texts)
    if unit == AVERAGE:
        assert texts[40] == "4.00 bit"


PREDICTED = predict([Point(0.1, 0.1, 0.95, 0.02, 500), Point(0.02, 0.02, 0.99, 0.02, 500)])


def test_nothing_is_predicted_without_what_it_takes() -> None:
    for found in (table(AVERAGE), table(AVERAGE, None, 0.9), table(AVERAGE, PREDICTED)):
        assert found[1].mixed.predicted is None
        assert found[1].uniform is not None and found[1].uniform.predicted is None


def test_predictions_are_those_of_the_expected_losses() -> None:
    plan, found = table(AVERAGE, PREDICTED, 0.9)
    assert found.mixed.predicted is not None and found.uniform is not None
    for row in (0, 40, 120):
        lost = sum(
            LOSSES.weight[i, bits.weight - 2] + LOSSES.activation[i, bits.activation - 2]
            for i, bits in enumerate(plan.allocation(row).values())
        )
        low, middle, high = PREDICTED.bands(np.array([lost]), 0.9)[0]
        band = (low, middle, min(1.0, high))
        assert found.mixed.predicted[row] == pytest.approx(band)
        assert 0 <= low < middle < high
    middles = [band[1] for band in found.mixed.predicted]
    assert middles == sorted(middles)
    even = [band[1] for band in found.uniform.predicted or ()]
    assert all(a >= b - 1e-12 for a, b in zip(middles, even, strict=True))


@pytest.mark.parametrize("unit", UNITS)
def test_purchases_add_up_to_the_way_from_first_to_last(unit: str) -> None:
    _, axis, plan = planned(unit)
    found = bought(LAYERS, plan, LOSSES)
    bits = {
        (name, side): getattr(pair, field)
        for name, pair in plan.allocation(0).items()
        for side, field in (("w", "weight"), ("a", "activation"))
    }
    for step in found:  # each begins where the one before it ended
        key = (step.layer, "a" if step.what == "activations" else "w")
        assert bits[key] == step.before < step.after
        bits[key] = step.after
    last = plan.allocation(len(axis.values) - 1)
    assert bits == {
        (name, side): getattr(pair, field)
        for name, pair in last.items()
        for side, field in (("w", "weight"), ("a", "activation"))
    }
    first, last = (CostModel(LAYERS, 0).cost(a) for a in (plan.allocation(0), last))
    assert sum(p.size for p in found) == pytest.approx(last.size_bytes - first.size_bytes)
    assert sum(p.bitops for p in found) == pytest.approx(last.bitops - first.bitops)
    assert sum(p.gain for p in found) == pytest.approx(plan.loss[0] - plan.loss[-1])
    assert [p.row for p in found] == sorted(p.row for p in found)
    kinds = {p.layer: p.what for p in found if p.what != "activations"}
    assert kinds["head"] == "weights"
    assert kinds.get("blocks.0.attn.matmul1", "free") == (
        "free" if unit == SIZE else "second operand"
    )


def made_plan(*rows: list[tuple[int, int]]) -> BudgetPlan:
    weight, activation = np.array(rows, np.int8).transpose(2, 0, 1)
    count, zeros = len(rows), np.zeros(len(rows))
    limits = (Limits(),) * count
    return BudgetPlan(
        NAMES[1:3], limits, weight, activation, zeros, zeros, zeros, zeros, zeros, "sensitivity"
    )


def test_a_step_is_said_in_words() -> None:
    plan = made_plan([(2, 2), (2, 2)], [(2, 2), (2, 2)], [(4, 3), (2, 2)], [(4, 3), (2, 2)])
    found = bought(LAYERS[1:3], plan)
    # 3,072 weights by two bits; 52,224 operations by (4 - 2) x 2, then by 4 x (3 - 2)
    assert [(p.row, p.size, p.bitops, p.gain) for p in found] == [
        (2, 768.0, 208_896.0, 0.0),
        (2, 0.0, 208_896.0, 0.0),
    ]
    words = plans.latest_bought(found, 4)
    assert words[:2] == ["nothing yet: the lowest widths"] * 2
    assert (
        words[2]
        == words[3]
        == (
            "blocks.0.attn.qkv weights 2 → 4 bits (+768 B, +209 k BitOps); "
            "blocks.0.attn.qkv activations 2 → 3 bits (+209 k BitOps)"
        )
    )


def test_of_many_purchases_at_once_three_are_said() -> None:
    plan = made_plan([(2, 2), (2, 2)], [(3, 3), (3, 3)])
    assert plans.latest_bought(bought(LAYERS[1:3], plan), 2)[1].endswith(
        "blocks.0.attn.matmul1 second operand 2 → 3 bits (+18.5 k BitOps) and 1 more"
    )


def test_purchases_become_a_table_with_their_budget() -> None:
    _, axis, plan = planned(SIZE)
    found = bought(LAYERS, plan, LOSSES)
    rows = plans.purchases_table(axis, found)
    assert len(rows) == len(found)
    assert rows["budget"].tolist() == [axis.values[p.row] for p in found]
    assert rows["BitOps (M)"].sum() == pytest.approx(sum(p.bitops for p in found) / 1e6)
    assert (rows["to"] - rows["from"] > 0).all()


@pytest.mark.parametrize(("bits", "text"), [((8, 8), "8 bit"), ((4, 6), "W4A6")])
def test_locks_are_written_shortly(bits: tuple[int, int], text: str) -> None:
    assert LayerBits(*bits).in_words("bit") == text
