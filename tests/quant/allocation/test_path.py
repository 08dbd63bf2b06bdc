import dataclasses

import numpy as np
import pytest
from scipy.optimize import linprog

from lrp.engine.layers import list_layers
from quant.allocation.budget import Limits, from_average, offer
from quant.allocation.cost import CostModel
from quant.allocation.exact import exact
from quant.allocation.infeasible import Infeasible
from quant.allocation.path import budget_plan
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

AVERAGES = np.linspace(2, 8, 25)


def path(layers, averages=AVERAGES):
    return [from_average(layers, average) for average in averages]


def is_sound(plan, layers, losses, nested=True):
    """Check what holds for every plan: costs, limits, bounds, order."""
    for row, limits in enumerate(plan.limits):
        allocation = plan.allocation(row)
        size, work = spent_by(layers, allocation)
        assert (plan.weight_bits[row], plan.bitops[row]) == (size, work)
        assert size <= limits.weight_bits + 1e-3 and work <= limits.bitops + 1e-3
        assert plan.loss[row] == pytest.approx(loss_of(losses, allocation), rel=1e-9)
    assert (plan.bound <= plan.loss).all()
    assert (np.diff(plan.loss) <= 0).all()  # more budget never loses more
    if nested:
        assert (np.diff(plan.weight.astype(int), axis=0) >= 0).all()
        assert (np.diff(plan.activation.astype(int), axis=0) >= 0).all()


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("noise", [0, 0.3, 2])
def test_every_row_keeps_its_budget_and_its_bound(tied, nested, noise):
    for seed in range(3):
        layers = made_up_layers(seed, 12)
        losses = made_up_losses(layers, seed, noise)
        plan = budget_plan(offer(layers, tied=tied), losses, path(layers), nested)
        is_sound(plan, layers, losses, nested)


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_the_bound_is_below_the_best_there_is(tied, nested):
    menu, count = (WIDTHS, 5) if tied else ((2, 3, 5, 8), 4)
    for seed in range(6):
        layers = made_up_layers(seed, count)
        losses = made_up_losses(layers, seed, noise=1)
        plan = budget_plan(offer(layers, menu, tied=tied), losses, path(layers), nested)
        totals = every_total(layers, losses, menu, tied)
        best = np.array([least_loss(totals, limits) for limits in plan.limits])
        assert (plan.bound <= best * (1 + 1e-9)).all()
        assert (best <= plan.loss * (1 + 1e-9)).all()


def linear_program(layers, losses, limits, tied):
    """The best bound that any prices can prove, by a general solver."""
    pairs = [(w, a) for w in WIDTHS for a in WIDTHS if w == a or not tied]
    loss = [
        losses.weight[i, w - 2] + losses.activation[i, a - 2]
        for i in range(len(layers))
        for w, a in pairs
    ]
    spent = [
        [la.parameters * w for la in layers for w, a in pairs],
        [la.macs * w * a for la in layers for w, a in pairs],
    ]
    each = np.kron(np.eye(len(layers)), np.ones(len(pairs)))
    room = [limits.weight_bits, limits.bitops]
    scale = np.array(room)[:, None]
    return linprog(loss, np.array(spent) / scale, [1, 1], each, np.ones(len(layers))).fun


@pytest.mark.parametrize("tied", [True, False])
def test_the_bound_is_near_that_of_the_linear_program(tied):
    layers = made_up_layers(0, 20)
    losses = made_up_losses(layers, 0)
    plan = budget_plan(offer(layers, tied=tied), losses, path(layers))
    for row in (0, 1, 6, 12, 20, 24):
        best = linear_program(layers, losses, plan.limits[row], tied)
        assert best * 0.99 <= plan.bound[row] <= best * (1 + 1e-5)  # the solver's tolerance


@pytest.mark.parametrize("tied", [True, False])
def test_rows_of_their_own_are_close_to_exact(tied):
    layers = made_up_layers(5, 40)
    losses = made_up_losses(layers, 5)
    choices, limits = offer(layers, tied=tied), path(layers, [2.3, 3, 4, 5.1, 7])
    plan = budget_plan(choices, losses, limits, nested=False)
    best = np.array([exact(choices, losses, one).loss for one in limits])
    assert (plan.bound <= best * (1 + 1e-9)).all()
    assert (plan.loss >= best * (1 - 1e-9)).all()
    assert (plan.loss <= best * 1.03).all()


@pytest.mark.parametrize("tied", [True, False])
def test_locks_hold_in_every_row(tied):
    layers = made_up_layers(1, 12)
    losses = made_up_losses(layers, 1)
    locks = {"l2": LayerBits(3, 6), "l7": 8}
    choices = offer(layers, (2, 4, 8), locks, tied)
    averages = np.linspace(choices.least_average, 8, 30)
    plan = budget_plan(choices, losses, path(layers, averages))
    is_sound(plan, layers, losses)
    for row in range(30):
        allocation = plan.allocation(row)
        assert allocation["l2"] == LayerBits(3, 6)
        assert allocation["l7"] == LayerBits(8, 8)
        free = [bits for name, bits in allocation.items() if name not in locks]
        assert {b.weight for b in free} | {b.activation for b in free} <= {2, 4, 8}
        assert not tied or all(bits.weight == bits.activation for bits in free)


@pytest.mark.parametrize("one", ["weight_bits", "bitops"])
def test_a_path_of_one_limit_leaves_the_other_free(one):
    layers = made_up_layers(2, 10)
    losses = made_up_losses(layers, 2, noise=0)
    limits = [Limits(**{one: getattr(both, one)}) for both in path(layers)]
    plan = budget_plan(offer(layers), losses, limits)
    is_sound(plan, layers, losses)
    if one == "weight_bits":  # what weighs nothing costs nothing
        assert (plan.weight[:, 2] == 8).all()


def test_losses_that_rise_with_the_bits_buy_nothing():
    layers = made_up_layers(0)
    rising = np.tile(np.arange(7.0), (5, 1))
    losses = dataclasses.replace(made_up_losses(layers, 0), weight=rising, activation=rising)
    plan = budget_plan(offer(layers, tied=False), losses, path(layers))
    assert (plan.weight == 2).all() and (plan.activation == 2).all()
    assert (plan.gap == 0).all()


def test_the_ends_of_the_path_are_the_fewest_and_the_most_bits():
    layers = made_up_layers(3, 12)
    plan = budget_plan(offer(layers, tied=False), made_up_losses(layers, 3, noise=0), path(layers))
    assert (plan.weight[0] == 2).all() and (plan.activation[0] == 2).all()
    assert (plan.weight[-1] == 8).all() and (plan.activation[-1] == 8).all()
    assert plan.gap[[0, -1]] == pytest.approx(0, abs=1e-9)


def test_losses_of_zero_have_no_gap():
    layers = made_up_layers(3)
    losses = made_up_losses(layers, 3)
    losses = dataclasses.replace(losses, weight=0 * losses.weight, activation=0 * losses.activation)
    plan = budget_plan(offer(layers, tied=False), losses, path(layers))
    is_sound(plan, layers, losses)
    assert (plan.gap == 0).all()


def test_costs_are_those_of_the_allocation():
    layers = list_layers(build("swin"), SIZE)
    losses = made_up_losses(layers, 0)
    plan = budget_plan(offer(layers, tied=False), losses, path(layers, [2, 3.35, 5, 8]))
    for row in range(4):
        found = CostModel(layers, 0).cost(plan.allocation(row))
        assert plan.weight_bits[row] == 8 * found.weight_bytes
        assert plan.bitops[row] == found.bitops


def test_a_row_is_a_solution_with_its_certificate():
    layers = made_up_layers(3, 12)
    losses = made_up_losses(layers, 3)
    plan = budget_plan(offer(layers), losses, path(layers))
    solution = plan.solution(10)
    assert solution.allocation == plan.allocation(10)
    assert solution.objective == losses.objective
    assert solution.average_bits == pytest.approx(AVERAGES[10])
    assert solution.limits == plan.limits[10]
    assert solution.gap == pytest.approx(1 - solution.bound / solution.loss)
    assert plan.gap[10] == pytest.approx(solution.gap)


def test_the_same_path_is_the_same_plan():
    layers = made_up_layers(3, 12)
    losses = made_up_losses(layers, 3)
    one, other = (budget_plan(offer(layers), losses, path(layers)) for _ in range(2))
    assert np.array_equal(one.weight, other.weight)


def test_a_budget_need_not_be_part_of_a_path():
    layers = made_up_layers(3, 12)
    losses = made_up_losses(layers, 3)
    is_sound(budget_plan(offer(layers), losses, path(layers, [4.2])), layers, losses)
    falling = path(layers, [5, 3])
    plan = budget_plan(offer(layers), losses, falling, nested=False)
    assert plan.loss[0] < plan.loss[1]
    with pytest.raises(ValueError, match="nested bits need growing budgets"):
        budget_plan(offer(layers), losses, falling)


def test_budgets_that_cannot_be_met_are_refused():
    layers = made_up_layers(0)
    losses = made_up_losses(layers, 0)
    with pytest.raises(Infeasible, match="unlock l0"):
        budget_plan(offer(layers, locks={"l0": 8}), losses, path(layers))
    with pytest.raises(ValueError, match="no budgets"):
        budget_plan(offer(layers), losses, [])
    with pytest.raises(ValueError, match="other layers"):
        budget_plan(offer(layers[1:]), losses, path(layers[1:]))
