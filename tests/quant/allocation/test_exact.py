import dataclasses

import numpy as np
import pytest

from lrp.engine.layers import Layer, list_layers
from quant.allocation.budget import Limits, from_average, offer
from quant.allocation.cost import CostModel
from quant.allocation.exact import exact
from quant.allocation.infeasible import Infeasible
from quant.allocation.objectives import Losses
from quant.primitives.bits import LayerBits
from tests.models import SIZE, build
from tests.quant.knapsacks import (
    WIDTHS,
    every_total,
    least_loss,
    loss_of,
    made_up_layers,
    made_up_losses,
    spent_by,
)

SIZES = {True: (6, WIDTHS), False: (4, (2, 3, 5, 6, 8))}  # layers and menu, tied and separate


def as_good_as_everything(layers, losses, limits, menu, tied, locks=None):
    found = exact(offer(layers, menu, locks, tied), losses, limits)
    best = least_loss(every_total(layers, losses, menu, tied, locks), limits)
    assert loss_of(losses, found.allocation) == pytest.approx(best, rel=1e-9)
    assert found.loss == pytest.approx(best, rel=1e-9)
    assert found.bound <= found.loss
    assert found.gap <= 1e-9
    size, work = spent_by(layers, found.allocation)
    assert size <= limits.weight_bits + 1e-6 and work <= limits.bitops + 1e-6
    return found


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("average", [2, 2.3, 3.7, 5, 6.6, 8])
def test_it_is_as_good_as_trying_everything(tied, average):
    count, menu = SIZES[tied]
    for seed in range(4):
        layers = made_up_layers(seed, count)
        losses = made_up_losses(layers, seed, noise=0.3 + 0.7 * (seed % 2))
        as_good_as_everything(layers, losses, from_average(layers, average), menu, tied)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("one", ["weight_bits", "bitops"])
def test_a_single_limit_is_spent_as_well(tied, one):
    count, menu = SIZES[tied]
    for seed in range(3):
        layers = made_up_layers(seed, count)
        limits = Limits(**{one: getattr(from_average(layers, 3.3), one)})
        losses = made_up_losses(layers, seed)
        as_good_as_everything(layers, losses, limits, menu, tied)


@pytest.mark.parametrize("tied", [True, False])
def test_locks_are_kept_and_the_rest_is_still_best(tied):
    count, menu = SIZES[tied]
    locks = {"l1": LayerBits(4, 8), "l3": LayerBits(2, 2)}
    for seed in range(3):
        layers, losses = made_up_layers(seed, count), made_up_losses(made_up_layers(seed, count), 9)
        limits = from_average(layers, 5)
        found = as_good_as_everything(layers, losses, limits, menu, tied, locks)
        assert {name: found.allocation[name] for name in locks} == locks


def test_losses_that_rise_with_the_bits_leave_bits_unspent():
    layers = made_up_layers(0, 3)
    rising = np.tile(np.arange(7.0), (3, 1))
    losses = Losses(tuple(la.name for la in layers), WIDTHS, rising, rising, "random-0")
    found = exact(offer(layers), losses, from_average(layers, 8))
    assert set(found.allocation.values()) == {LayerBits(2, 2)}
    assert found.gap == 0


@pytest.mark.parametrize("scale", [0.0, 1e-12, 1e12])
def test_the_scale_of_the_losses_does_not_matter(scale):
    layers = made_up_layers(2)
    losses = made_up_losses(layers, 2)
    scaled = dataclasses.replace(
        losses, weight=losses.weight * scale, activation=losses.activation * scale
    )
    as_good_as_everything(layers, scaled, from_average(layers, 4.1), WIDTHS, True)


def test_a_layer_that_cannot_be_helped_does_not_hide_the_others():
    layers = made_up_layers(4)
    losses = made_up_losses(layers, 4)
    losses.weight[1] = 1e5
    as_good_as_everything(layers, losses, from_average(layers, 4.1), WIDTHS, True)


def test_the_same_budget_as_the_lock_alone_can_fit():
    layers = made_up_layers(1)
    choices = offer(layers, locks={layer.name: 4 for layer in layers})
    found = exact(choices, made_up_losses(layers, 1), from_average(layers, 4))
    assert set(found.allocation.values()) == {LayerBits(4, 4)}
    assert found.bound == found.loss


def test_one_layer_can_be_all_there_is():
    layers = [Layer("only", "linear", "fc", "", 10, 10)]
    losses = made_up_losses(layers, 0, noise=0)
    assert exact(offer(layers), losses, from_average(layers, 5.9)).allocation == {
        "only": LayerBits(5, 5)
    }


@pytest.mark.parametrize("tied", [True, False])
def test_real_budgets_are_kept_to_the_bit(tied):
    layers = list_layers(build("swin"), SIZE)
    losses = made_up_losses(layers, 1)
    for average in (2.05, 4, 6.5):
        solution = exact(offer(layers, tied=tied), losses, from_average(layers, average))
        costs = CostModel(layers, 0)
        found, reference = costs.cost(solution.allocation), costs.uniform(average)
        assert 8 * found.weight_bytes <= 8 * reference.weight_bytes + 1e-3
        assert found.bitops <= reference.bitops + 1e-3
        assert solution.average_bits == pytest.approx(average)
        assert solution.gap <= 1e-9


def test_without_time_the_best_found_comes_with_an_honest_gap():
    layers = made_up_layers(0, 60)
    losses = made_up_losses(layers, 0, noise=1)
    choices, limits = offer(layers, tied=False), from_average(layers, 3.3)
    hasty, proven = exact(choices, losses, limits, 1e-9), exact(choices, losses, limits)
    assert hasty.bound <= proven.loss * (1 + 1e-9) <= hasty.loss * (1 + 2e-9)
    assert proven.bound == pytest.approx(proven.loss, rel=1e-9)
    size, work = spent_by(layers, hasty.allocation)
    assert size <= limits.weight_bits and work <= limits.bitops


def test_what_cannot_be_met_is_refused():
    layers = made_up_layers(0)
    losses = made_up_losses(layers, 0)
    with pytest.raises(Infeasible, match="unlock l0"):
        exact(offer(layers, locks={"l0": 8}), losses, from_average(layers, 2))
    with pytest.raises(ValueError, match="time limit of 0"):
        exact(offer(layers), losses, from_average(layers, 4), 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ("a", "b", "c", "d", "e")}, "other layers"),
        ({"widths": tuple(range(3, 10))}, "no losses at 2 bits"),
        ({"weight": np.full((5, 7), np.nan)}, "losses of 'l0' are not finite"),
        ({"activation": np.full((5, 7), np.inf)}, "losses of 'l0' are not finite"),
    ],
)
def test_losses_that_do_not_fit_are_refused(change, message):
    layers = made_up_layers(0)
    losses = dataclasses.replace(made_up_losses(layers, 0), **change)
    with pytest.raises(ValueError, match=message):
        exact(offer(layers), losses, from_average(layers, 4))
