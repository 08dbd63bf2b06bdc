"""What a budget buys, worked out by hand on three layers."""

from __future__ import annotations

import pytest
import torch

from app import budgets
from lrp.layers import Layer
from lrp.rules import LRP_QVIT
from lrp.scores import ContributionScores
from quant.allocation import LayerBits, Solution

LAYERS = (
    Layer("a", "linear", "a", "", 100, 1000),
    Layer("m", "matmul", "m", "", 0, 500),
    Layer("b", "linear", "b", "", 300, 600),
)
OTHERS = 50
ALLOCATION = {"a": LayerBits(8, 8), "m": LayerBits(4, 4), "b": LayerBits(2, 2)}
SOLUTION = Solution(ALLOCATION, "lrp", 4.0, 0.0)


def test_costs_are_those_counted_by_hand() -> None:
    spent = budgets.Spent.of(LAYERS, SOLUTION, OTHERS)
    assert spent.mixed.size_bytes == 100 * 8 / 8 + 300 * 2 / 8 + 50 * 4
    assert spent.plain.size_bytes == 450 * 4
    assert spent.uniform.size_bytes == 400 * 4 / 8 + 50 * 4
    assert spent.mixed.bitops == 1000 * 64 + 500 * 16 + 600 * 4
    assert spent.plain.bitops == 2100 * 32 * 32
    table = spent.table().set_index("configuration")
    assert table.loc["mixed", "size against float"] == f"{1800 / 375:.1f}×"
    assert table.loc["float", "average bits"] == 32


def test_layer_rows_hold_scores_bits_and_locks() -> None:
    per_image = torch.tensor([[0.2, 0.3, 0.5], [0.4, 0.3, 0.3]])
    scores = ContributionScores(("a", "m", "b"), per_image, LRP_QVIT, "mean-positive")
    rows = budgets.layer_rows(LAYERS, scores, ALLOCATION, {"b": 2}).set_index("layer")
    assert rows["score"].tolist() == pytest.approx([30, 30, 40])
    assert rows["sd"].tolist() == pytest.approx([100 * 0.02**0.5, 0, 100 * 0.02**0.5])
    assert rows["weight bits"].tolist() == [8, 4, 2]
    assert rows["locked"].tolist() == [False, False, True]


@pytest.mark.parametrize(("average", "width"), [(2.0, 2), (3.4, 3), (4.6, 5), (8.0, 8)])
def test_uniform_is_compared_at_the_nearest_whole_width(average: float, width: int) -> None:
    assert budgets.whole_bits(average) == width


def test_configurations_are_named_by_what_they_are() -> None:
    assert budgets.plain(LAYERS, OTHERS).allocation is None
    assert budgets.even(LAYERS, OTHERS, 5).name == "uniform 5 bit"
    assert budgets.mixed(LAYERS, OTHERS, SOLUTION, {}).name == "mixed 4.0 bit"
    assert budgets.mixed(LAYERS, OTHERS, SOLUTION, {"a": 8}).name == "mixed 4.0 bit (1 locked)"


def test_random_scores_spend_the_same_budget_without_knowledge() -> None:
    chance = budgets.chance(LAYERS, OTHERS, 4.0, {"m": 5})
    assert chance.allocation is not None
    assert chance.allocation["m"] == LayerBits(5, 5)
    assert chance.cost.average_bits <= 4.0 + 1e-9
    assert chance.cost.bitops <= 16 * 2100 + 1e-6
    assert set(chance.allocation) == {"a", "m", "b"}
