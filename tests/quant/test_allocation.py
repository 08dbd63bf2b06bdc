import itertools
import random

import pytest

from lrp.layers import Layer, list_layers
from quant.allocation import LayerBits, allocate, check_budget, menu_for, uniform
from quant.cost import cost, uniform_cost
from tests.models import SIZE, build


def made_up_layers(seed, count=6):
    chance = random.Random(seed)
    layers = [
        Layer(f"l{i}", "linear", "fc", "", chance.randrange(50, 900), chance.randrange(100, 4000))
        for i in range(count)
    ]
    layers[2] = Layer("l2", "matmul", "matmul1", "", 0, 700)
    return layers, {layer.name: chance.random() ** 3 for layer in layers}


def error(layers, scores, bits):
    return sum(scores[la.name] * 4.0**-b for la, b in zip(layers, bits, strict=True))


def brute_force(layers, scores, budget, choices):
    total_weights = sum(la.parameters for la in layers)
    total_macs = sum(la.macs for la in layers)
    return min(
        error(layers, scores, bits)
        for bits in itertools.product(*choices)
        if sum(la.parameters * b for la, b in zip(layers, bits, strict=True))
        <= budget * total_weights
        and sum(la.macs * b * b for la, b in zip(layers, bits, strict=True))
        <= budget**2 * total_macs
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("budget", [3.3, 4, 6])
def test_it_is_as_good_as_trying_everything(seed, budget):
    layers, scores = made_up_layers(seed)
    solution = allocate(layers, scores, budget)
    bits = [solution.allocation[la.name].weight for la in layers]
    best = brute_force(layers, scores, budget, [menu_for(budget)] * len(layers))
    assert error(layers, scores, bits) == pytest.approx(best, rel=1e-6)
    assert solution.gap == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_locks_are_honoured_and_the_rest_is_still_best(seed):
    layers, scores = made_up_layers(seed)
    locks = {"l1": 8, "l4": 2}
    solution = allocate(layers, scores, 4.5, locks=locks)
    assert {n: solution.allocation[n].weight for n in locks} == locks
    choices = [(locks[la.name],) if la.name in locks else menu_for(4.5) for la in layers]
    bits = [solution.allocation[la.name].weight for la in layers]
    best = brute_force(layers, scores, 4.5, choices)
    assert error(layers, scores, bits) == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("budget", [2, 3.7, 4, 6.5, 8])
def test_both_limits_hold_on_a_real_architecture(budget):
    model = build("swin")
    layers = list_layers(model, SIZE)
    chance = random.Random(1)
    scores = {layer.name: 10 ** chance.uniform(-5, 0) for layer in layers}
    found = cost(layers, allocate(layers, scores, budget).allocation, 0)
    reference = uniform_cost(layers, budget, 0)
    assert found.weight_bytes <= reference.weight_bytes * (1 + 1e-9)
    assert found.bitops <= reference.bitops * (1 + 1e-9)


def test_a_full_budget_buys_every_layer_everything():
    layers, scores = made_up_layers(0)
    assert set(allocate(layers, scores, 8).allocation.values()) == {LayerBits(8, 8)}


def test_the_same_budget_as_the_lock_alone_can_fit():
    layers, scores = made_up_layers(1)
    locks = {layer.name: 4 for layer in layers}
    assert set(allocate(layers, scores, 4, locks=locks).allocation.values()) == {LayerBits(4, 4)}


def test_an_impossible_budget_says_what_is_needed():
    layers, scores = made_up_layers(1)
    locks = {layer.name: 6 for layer in layers}
    with pytest.raises(ValueError, match="already need 6; raise the budget or unlock"):
        allocate(layers, scores, 4, locks=locks)


def test_menus_reach_two_bits_to_either_side():
    assert menu_for(4) == (2, 3, 4, 5, 6)
    assert menu_for(6) == (4, 5, 6, 7, 8)
    assert menu_for(4.5) == (2, 3, 4, 5, 6, 7)
    assert menu_for(2) == (2, 3, 4)


def test_uniform_gives_attention_products_activation_bits():
    layers, _ = made_up_layers(0)
    found = uniform(layers, 4, 8)
    assert found["l2"] == LayerBits(8, 8)
    assert found["l0"] == LayerBits(4, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"average_bits": 1.9}, "average bits 1.9: use 2 to 8"),
        ({"average_bits": float("nan")}, "average bits nan"),
        ({"locks": {"head": 4}}, "cannot lock 'head'"),
        ({"locks": {"l0": 9}}, "9 bits"),
        ({"menu": ()}, "menu of widths is empty"),
    ],
)
def test_bad_budgets_are_refused(change, message):
    layers, scores = made_up_layers(0)
    with pytest.raises(ValueError, match=message):
        check_budget(layers, **({"average_bits": 4} | change))
    with pytest.raises(ValueError, match=message):
        allocate(layers, scores, **({"average_bits": 4} | change))


@pytest.mark.parametrize("bad", [None, float("nan"), -1.0])
def test_bad_scores_name_their_layer(bad):
    layers, scores = made_up_layers(0)
    scores["l3"] = bad
    if bad is None:
        del scores["l3"]
    with pytest.raises(ValueError, match="no usable score for 'l3'"):
        allocate(layers, scores, 4)


def test_the_first_and_last_layer_can_be_spared():
    layers, _ = made_up_layers(0)
    found = uniform(layers, 4, 5, ends=8)
    for layer in layers:
        bits = found[layer.name]
        if layer in (layers[0], layers[-1]):
            assert bits == LayerBits(8, 8)
        else:
            assert bits == uniform(layers, 4, 5)[layer.name]
    with pytest.raises(ValueError, match="9 bits"):
        uniform(layers, 4, 4, ends=9)
