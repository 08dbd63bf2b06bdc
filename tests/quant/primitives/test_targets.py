"""Targets as data: what each has can be spent on, at its price."""

from dataclasses import replace

import numpy as np
import pytest

from quant.allocation.budget import Limits, from_average, offer
from quant.allocation.cost import CostModel
from quant.allocation.exact import exact
from quant.allocation.infeasible import Infeasible
from quant.allocation.objectives import by_scores
from quant.allocation.path import budget_plan
from quant.analysis.widths import PLAIN, passes_with, widths_of
from quant.calibration.passes import PALETTED, weights_in
from quant.primitives.bits import LayerBits
from quant.primitives.formats import FLOAT, HALF, MXFP4, label, price
from quant.primitives.targets import ANY, TARGETS, Target, target
from tests.quant.knapsacks import made_up_layers

EVERY = pytest.mark.parametrize("to", TARGETS.values(), ids=TARGETS)
LAYERS = made_up_layers(1)


def scores():
    return dict(zip((la.name for la in LAYERS), np.linspace(1, 9, len(LAYERS)), strict=True))


@EVERY
def test_one_pair_is_the_cheapest_on_both_sides(to: Target) -> None:
    for pairs in (to.pairs, to.products):
        first = pairs[0]
        assert all(price(a) >= price(b) for pair in pairs for a, b in zip(pair, first, strict=True))
    assert to.integers | to.floats <= {*to.pairs, *to.products}
    assert target(to.key) is to and to.says.endswith(".")


@EVERY
def test_every_width_is_held_by_a_pass_that_solves_it(to: Target) -> None:
    found = widths_of(to)
    for pairs, kind in ((to.pairs, 0), (to.products, 1)):
        for weight, activation in pairs:
            for width, side in ((weight, 0), (activation, 1)):
                if width == FLOAT:
                    continue
                number = found[width][kind][side]
                assert number is not None
                if (kind, side) == (0, 0):
                    assert width in weights_in(number)
                else:
                    assert number % PALETTED == width
    assert passes_with(PLAIN) == {2, 3, 4, 5, 6, 7, 8}


@EVERY
def test_a_path_of_budgets_takes_only_what_the_target_has(to: Target) -> None:
    choices, losses = offer(LAYERS, target=to, tied=False), by_scores(scores(), widths=to.widths)
    costs = CostModel(LAYERS, 0)
    averages = np.linspace(choices.least_average, to.widest, 13)
    limits = [from_average(LAYERS, float(average), to) for average in averages]
    plan = budget_plan(choices, losses, limits)
    before = None
    for row, limit in enumerate(limits):
        allocation = plan.allocation(row)
        for layer in LAYERS:
            bits = allocation[layer.name]
            pairs = to.of(layer)
            assert (bits.weight, bits.activation) in pairs
            if before is not None:  # nested
                assert price(bits.weight) >= price(before[layer.name].weight)
                assert price(bits.activation) >= price(before[layer.name].activation)
        spent = costs.cost(allocation)
        assert 8 * spent.weight_bytes <= limit.weight_bits * (1 + 1e-9)
        assert spent.bitops <= limit.bitops * (1 + 1e-9)
        best = exact(choices, losses, limit)
        assert best.loss <= plan.loss[row] + 1e-12
        before = allocation


def test_float_loses_nothing_and_can_be_locked_anywhere() -> None:
    losses = by_scores(scores())
    whole = {layer.name: LayerBits(FLOAT, FLOAT) for layer in LAYERS}
    assert losses.of(whole) == 0
    choices = offer(LAYERS, locks={LAYERS[0].name: FLOAT})
    plan = budget_plan(choices, losses, [Limits()])
    assert plan.allocation(0)[LAYERS[0].name].is_float


@pytest.mark.parametrize(
    ("to", "lock", "said"),
    [
        ("int8", LayerBits(4, 8), "INT8 has weights of 8, float"),
        ("mx", LayerBits(8, 8), "weights of MXFP4, MXFP6, FP8"),
        ("weights", LayerBits(4, 4), "inputs of 16"),
        ("any", LayerBits(4, HALF), "Any width has weights of 2"),
    ],
)
def test_a_lock_outside_the_target_is_refused(to: str, lock: LayerBits, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        offer(LAYERS, locks={LAYERS[0].name: lock}, target=target(to))


def test_a_width_outside_the_target_is_refused() -> None:
    with pytest.raises(ValueError, match="4: INT8 has 8, float only"):
        offer(LAYERS, menu=(4, 8), target=target("int8"))
    with pytest.raises(ValueError, match="choose from any, int8"):
        target("tpu")
    with pytest.raises(ValueError, match=r"average bits 9: use 4\.25 to 8"):
        from_average(LAYERS, 9, target("mx"))


def test_a_budget_below_the_targets_fewest_bits_says_what_they_need() -> None:
    choices = offer(LAYERS, target=target("weights"))
    with pytest.raises(Infeasible, match="the fewest bits in every layer need 4 bits a weight"):
        exact(choices, by_scores(scores(), widths=target("weights").widths), Limits(8.0))


def test_prices_decide_and_not_the_numbers_that_stand_for_formats() -> None:
    to = target("mx")
    choices = offer(LAYERS, target=to)
    assert choices.size[0].tolist() == [LAYERS[0].parameters * bits for bits in (4.25, 6.25, 8)]
    assert choices.work[0, 0] == LAYERS[0].macs * 4.25**2
    assert label(int(choices.cheapest[0, 0])) == "MXFP4" == label(MXFP4)
    assert choices.average(Limits()) == 8
    assert replace(ANY).widest == 8 and to.narrowest == 4.25
