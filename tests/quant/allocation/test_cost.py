import pytest

from lrp.engine.layers import list_layers
from quant.allocation.cost import cost, other_parameters, uniform_cost
from quant.primitives.bits import LayerBits, uniform
from tests.models import SIZE


def test_thirty_two_bits_are_the_models_own_size(model):
    layers = list_layers(model, SIZE)
    found = cost(layers, {}, other_parameters(model, layers))
    assert found.size_bytes == sum(4 * p.numel() for p in model.parameters())
    assert found.bitops == 1024 * sum(layer.macs for layer in layers)
    assert found.average_bits == 32


def test_an_allocation_costs_the_sum_of_its_layers(model):
    layers = list_layers(model, SIZE)
    allocation = uniform(layers, 3, 5) | {layers[0].name: LayerBits(8, 2)}
    others = other_parameters(model, layers)
    found = cost(layers, allocation, others)
    bits = bitops = 0
    for layer in layers:
        w, a = (8, 2) if layer is layers[0] else (5, 5) if layer.kind == "matmul" else (3, 5)
        bits += layer.parameters * w
        bitops += layer.macs * w * a
    assert found.weight_bytes == bits / 8
    assert found.size_bytes == bits / 8 + 4 * others
    assert found.bitops == bitops


def test_the_uniform_reference_is_the_uniform_allocation(model):
    layers = list_layers(model, SIZE)
    others = other_parameters(model, layers)
    assert uniform_cost(layers, 4, others) == cost(layers, uniform(layers, 4, 4), others)
    between = uniform_cost(layers, 4.5, others)
    assert between.weight_bytes == pytest.approx(uniform_cost(layers, 9, 0).size_bytes / 2)
