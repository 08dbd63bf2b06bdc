import math

import numpy as np
import pytest

from lrp.engine.layers import Layer, list_layers
from quant.allocation.budget import Infeasible, Limits, combine, from_average, from_size, offer
from quant.allocation.cost import CostModel
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
        offer(layers, locks=locks).check(from_average(layers, bits))
        assert offer(layers, locks=locks).least_average == bits


def refused(choices, limits):
    with pytest.raises(Infeasible) as caught:
        choices.check(limits)
    # what it says is nearest can be met, and nothing nearer
    error = caught.value
    choices.check(error.nearest)
    for one in ("weight_bits", "bitops"):
        assert getattr(error.nearest, one) >= getattr(limits, one)
    return error


def test_a_lock_in_the_way_is_named_with_the_nearest_budget():
    # 300 * 2 + 100 * 8 = 1400 weight bits: 3.5 a weight
    choices = offer(PAIR, locks={"head": 8})
    error = refused(choices, Limits(weight_bits=1200))
    assert error.limits == ("size",)
    assert error.locks == {"head": LayerBits(8, 8)}
    assert error.nearest == Limits(weight_bits=1400)
    assert error.average == 3.75  # sqrt((4 * 1000 + 64 * 200) / 1200) = 3.742, for the BitOps
    assert "need 3.5 bits a weight" in str(error)
    assert "the budget gives 3 bits a weight" in str(error)
    assert "unlock head (8 bits), or raise the budget" in str(error)


def test_both_limits_can_be_in_the_way_of_different_locks():
    layers = [*PAIR, layer("attention", 0, 4000)]
    choices = offer(layers, locks={"attention": LayerBits(8, 4), "head": 8, "big": 2})
    error = refused(choices, Limits(1000, 60_000))
    assert error.limits == ("size", "BitOps")
    assert error.locks == {"attention": LayerBits(8, 4), "head": LayerBits(8, 8)}
    size, work = str(error).split("; BitOps: ")
    assert size.startswith("size:") and "unlock head (8 bits), or" in size
    assert "unlock attention (W8A4), or" in work
    offer(layers, locks={"big": 2}).check(Limits(1000, 60_000))


def test_as_few_locks_as_can_be_are_named():
    layers = [layer(f"l{i}", 100 * (i + 1), 1) for i in range(4)]
    locks = {la.name: 8 for la in layers}
    # 8000 weight bits are locked; opening the largest saves 2400, the next 1800
    assert set(refused(offer(layers, locks=locks), Limits(weight_bits=5600)).locks) == {"l3"}
    two = refused(offer(layers, locks=locks), Limits(weight_bits=5599))
    assert set(two.locks) == {"l3", "l2"}
    four = refused(offer(layers, locks=locks), Limits(weight_bits=2000))
    assert len(four.locks) == 4
    assert "l3 (8 bits), l2 (8 bits), l1 (8 bits), 1 more, or" in str(four)


def test_no_lock_is_blamed_where_none_would_help():
    plain = refused(offer(PAIR, (3, 4)), Limits(weight_bits=1000))
    assert plain.locks == {}
    assert "3 bits in every layer need 3 bits a weight" in str(plain)
    assert "offer lower widths" in str(plain)
    locked = refused(offer(PAIR, (3, 4), {"head": 4}), Limits(weight_bits=1000))
    assert locked.locks == {}
    assert "no unlocking is enough" in str(locked)


def test_the_nearest_average_can_be_met_and_a_hundredth_less_cannot():
    for seed in range(5):
        layers = made_up_layers(seed)
        choices = offer(layers, locks={"l0": 8, "l3": LayerBits(3, 7)})
        nearest = refused(choices, from_average(layers, 2)).average
        choices.check(from_average(layers, nearest))
        with pytest.raises(Infeasible):
            choices.check(from_average(layers, nearest - 0.01))


def test_what_is_spent_may_equal_the_limit():
    layers = list_layers(build("vit"), SIZE)
    choices = offer(layers, locks={"head": 8})
    spent = CostModel(layers, 0).cost(uniform(layers, 2, 2) | {"head": LayerBits(8, 8)})
    choices.check(Limits(8 * spent.weight_bytes, spent.bitops))
    with pytest.raises(Infeasible, match="size"):
        choices.check(Limits(8 * spent.weight_bytes - 1, spent.bitops))
    with pytest.raises(Infeasible, match="BitOps"):
        choices.check(Limits(8 * spent.weight_bytes, spent.bitops - 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"menu": ()}, "menu of widths is empty"),
        ({"menu": (2, 9)}, "9 bits"),
        ({"menu": (2, 2.5)}, "2.5 bits"),
        ({"locks": {"tail": 4}}, "cannot lock 'tail'"),
        ({"locks": {"head": 1}}, "1 bits"),
        ({"locks": {"head": LayerBits(4, 16)}}, "16 bits"),
    ],
)
def test_bad_choices_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        offer(PAIR, **change)


def test_a_limit_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="must be a number"):
        offer(PAIR).check(Limits(weight_bits=float("nan")))


def test_models_without_weights_have_a_budget_of_work_alone():
    products = [Layer(f"p{i}", "matmul", "matmul1", "", 0, 100) for i in range(3)]
    choices = offer(products)
    assert choices.least == Limits(0, 1200)
    assert choices.average(from_average(products, 3)) == pytest.approx(3)
    assert np.isfinite(choices.least_average)
