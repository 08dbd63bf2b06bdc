import random
from itertools import combinations

import pytest

from lrp.engine.layers import Layer, list_layers
from quant.allocation.budget import Limits, from_average, offer
from quant.allocation.cost import CostModel
from quant.allocation.infeasible import Infeasible, require_feasible
from quant.primitives.bits import LayerBits, uniform
from tests.models import SIZE, build
from tests.quant.knapsacks import made_up_layers


def layer(name, parameters, macs):
    return Layer(name, "linear", "fc", "", parameters, macs)


PAIR = [layer("big", 300, 1000), layer("head", 100, 200)]


def refused(choices, limits):
    with pytest.raises(Infeasible) as caught:
        require_feasible(choices, limits)
    # what it says is nearest can be met, and nothing nearer
    error = caught.value
    require_feasible(choices, error.nearest)
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
    size, work, remedy = str(error).split("; ")
    assert size.startswith("size:") and work.startswith("BitOps:")
    assert remedy == "unlock head (8 bits), attention (W8A4), or raise the budget"
    require_feasible(offer(layers, locks={"big": 2}), Limits(1000, 60_000))


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


def least_to_open(layers, locks, limits):
    """Try every set of locks, the small ones first."""
    for count in range(len(locks) + 1):
        for opened in combinations(locks, count):
            kept = {name: bits for name, bits in locks.items() if name not in opened}
            least = offer(layers, (2, 4, 8), kept).least
            if least.weight_bits <= limits.weight_bits and least.bitops <= limits.bitops:
                return count
    return 0


@pytest.mark.parametrize("seed", range(40))
def test_no_smaller_set_of_locks_is_enough_where_both_limits_are_exceeded(seed):
    draw = random.Random(seed)
    layers = made_up_layers(seed)
    chosen = draw.sample([la.name for la in layers], min(7, len(layers)))
    locks = {name: LayerBits(draw.choice((3, 4, 8)), draw.choice((2, 5, 8))) for name in chosen}
    least, free = offer(layers, (2, 4, 8), locks).least, offer(layers, (2, 4, 8)).least
    share = draw.random()
    limits = Limits(
        free.weight_bits + share * (least.weight_bits - free.weight_bits),
        free.bitops + draw.random() * (least.bitops - free.bitops),
    )
    error = refused(offer(layers, (2, 4, 8), locks), limits)
    left = {name: bits for name, bits in locks.items() if name not in error.locks}
    assert len(error.locks) == least_to_open(layers, locks, limits)
    require_feasible(offer(layers, (2, 4, 8), left), limits)


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
        require_feasible(choices, from_average(layers, nearest))
        with pytest.raises(Infeasible):
            require_feasible(choices, from_average(layers, nearest - 0.01))


def test_what_is_spent_may_equal_the_limit():
    layers = list_layers(build("vit"), SIZE)
    choices = offer(layers, locks={"head": 8})
    spent = CostModel(layers, 0).cost(uniform(layers, 2, 2) | {"head": LayerBits(8, 8)})
    require_feasible(choices, Limits(8 * spent.weight_bytes, spent.bitops))
    with pytest.raises(Infeasible, match="size"):
        require_feasible(choices, Limits(8 * spent.weight_bytes - 1, spent.bitops))
    with pytest.raises(Infeasible, match="BitOps"):
        require_feasible(choices, Limits(8 * spent.weight_bytes, spent.bitops - 1))


def test_a_limit_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="must be a number"):
        require_feasible(offer(PAIR), Limits(weight_bits=float("nan")))
