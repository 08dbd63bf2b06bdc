import math

import numpy as np
import pytest

from lrp.engine.layers import Layer, list_layers
from quant.allocation.budget import Limits, combine, from_average, from_size, offer
from quant.allocation.cost import CostModel
from quant.allocation.infeasible import require_feasible
from quant.primitives.bits import LayerBits, uniform
from tests.models import SIZE, build
from tests.quant.knapsacks import every_total, made_up_layers, made_up_losses

FREE = Limits()


def layer(name, parameters, macs):
    return Layer(name, "linear", "fc", "", parameters, macs)


PAIR = [layer("big", 300, 1000), layer("head", 100, 200)]


@pytest.mark.parametrize("average", [2, 3.3, 8])
def test_an_average_is_the_cost_of_uniform_bits(average):
    layers = list_layers(build("swin"), SIZE)
    found, reference = from_average(layers, average), CostModel(layers, 0).uniform(average)
    assert found.weight_bits == pytest.approx(8 * reference.weight_bytes, rel=1e-12)
    assert found.bitops == pytest.approx(reference.bitops, rel=1e-12)


@pytest.mark.parametrize("average", [1.9, 8.1, math.nan, math.inf])
def test_averages_end_at_two_and_eight(average):
    with pytest.raises(ValueError, match=f"average bits {average}: use 2 to 8"):
        from_average(PAIR, average)


def test_the_tighter_of_two_budgets_counts():
    assert combine(from_size(100), Limits(900, 50)) == Limits(800, 50)
    assert combine(from_size(100), Limits(bitops=50)) == Limits(800, 50)
    assert combine(FREE, FREE) == FREE


def test_tied_layers_take_one_width_and_separate_ones_every_pair():
    tied = offer(PAIR, (4, 2, 4, 8))
    assert tied.weight.tolist() == tied.activation.tolist() == [[2, 4, 8]] * 2
    separate = offer(PAIR, (2, 4), tied=False)
    pairs = list(zip(separate.weight[1].tolist(), separate.activation[1].tolist(), strict=True))
    assert sorted(pairs) == [(2, 2), (2, 4), (4, 2), (4, 4)]


def test_a_lock_fixes_both_sides_in_the_menu_or_not():
    for tied in (True, False):
        found = offer(PAIR, (2, 4), {"big": 5, "head": LayerBits(8, 3)}, tied)
        assert set(found.weight[0].tolist()) == set(found.activation[0].tolist()) == {5}
        assert set(found.weight[1].tolist()) == {8}
        assert set(found.activation[1].tolist()) == {3}


@pytest.mark.parametrize("tied", [True, False])
def test_the_least_that_can_be_spent_is_what_trying_everything_finds(tied):
    layers = made_up_layers(0, 4)
    locks = {"l1": LayerBits(7, 3)}
    least = offer(layers, (3, 5, 8), locks, tied).least
    totals = every_total(layers, made_up_losses(layers, 0), (3, 5, 8), tied, locks)
    assert (least.weight_bits, least.bitops) == (totals[0].min(), totals[1].min())


@pytest.mark.parametrize("average", [2, 3.1, 4, 8])
def test_a_budget_of_an_average_reads_as_that_average(average):
    layers = made_up_layers(3)
    limits, choices = from_average(layers, average), offer(layers)
    assert choices.average(limits) == pytest.approx(average)
    assert choices.average(Limits(bitops=limits.bitops)) == pytest.approx(average)
    assert choices.average(FREE) == 8


def test_uniform_bits_meet_their_own_budget():
    layers = list_layers(build("vit"), SIZE)
    for bits in range(2, 9):
        locks = uniform(layers, bits, bits)
        require_feasible(offer(layers, locks=locks), from_average(layers, bits))
        assert offer(layers, locks=locks).least_average == bits


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"menu": ()}, "menu of widths is empty"),
        ({"menu": (2, 9)}, "9 bits"),
        ({"menu": (2, 2.5)}, "2.5 bits"),
        ({"locks": {"tail": 4}}, "cannot lock 'tail'"),
        ({"locks": {"head": 1}}, "1 bits"),
        (
            {"locks": {"head": LayerBits(4, 16)}},
            "head cannot be W4A16: Any width has weights of 2, 3",
        ),
    ],
)
def test_bad_choices_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        offer(PAIR, **change)


def test_models_without_weights_have_a_budget_of_work_alone():
    products = [Layer(f"p{i}", "matmul", "matmul1", "", 0, 100) for i in range(3)]
    choices = offer(products)
    assert choices.least == Limits(0, 1200)
    assert choices.average(from_average(products, 3)) == pytest.approx(3)
    assert np.isfinite(choices.least_average)
