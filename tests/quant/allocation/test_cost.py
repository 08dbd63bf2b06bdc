import pytest

from lrp.engine.layers import list_layers
from quant.allocation.cost import CostModel
from quant.primitives.bits import LayerBits, uniform
from tests.models import SIZE


def test_thirty_two_bits_are_the_models_own_size(model):
    layers = list_layers(model, SIZE)
    found = CostModel.of(model, layers).cost({})
    assert found.size_bytes == sum(4 * p.numel() for p in model.parameters())
    assert found.bitops == 1024 * sum(layer.macs for layer in layers)
    assert found.average_bits == 32


def test_an_allocation_costs_the_sum_of_its_layers(model):
    layers = list_layers(model, SIZE)
    allocation = uniform(layers, 3, 5) | {layers[0].name: LayerBits(8, 2)}
    costs = CostModel.of(model, layers)
    found = costs.cost(allocation)
    bits = bitops = 0
    for layer in layers:
        w, a = (8, 2) if layer is layers[0] else (5, 5) if layer.kind == "matmul" else (3, 5)
        bits += layer.parameters * w
        bitops += layer.macs * w * a
    assert found.weight_bytes == bits / 8
    assert found.size_bytes == bits / 8 + 4 * costs.others
    assert found.bitops == bitops


def test_the_uniform_reference_is_the_uniform_allocation(model):
    layers = list_layers(model, SIZE)
    costs = CostModel.of(model, layers)
    assert costs.uniform(4) == costs.cost(uniform(layers, 4, 4))
    between = costs.uniform(4.5)
    assert between.weight_bytes == pytest.approx(CostModel(layers, 0).uniform(9).size_bytes / 2)
