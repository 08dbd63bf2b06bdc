import math

import pytest

from quant.allocation.budget import Limits
from quant.allocation.path import Solution
from quant.primitives.bits import LayerBits, uniform
from tests.quant.knapsacks import made_up_layers


def test_uniform_gives_attention_products_activation_bits():
    found = uniform(made_up_layers(0), 4, 8)
    assert found["l2"] == LayerBits(8, 8)
    assert found["l0"] == LayerBits(4, 8)


def test_the_first_and_last_layer_can_be_spared():
    layers = made_up_layers(0)
    found = uniform(layers, 4, 5, ends=8)
    for layer in layers:
        bits = found[layer.name]
        if layer in (layers[0], layers[-1]):
            assert bits == LayerBits(8, 8)
        else:
            assert bits == uniform(layers, 4, 5)[layer.name]
    with pytest.raises(ValueError, match="9 bits"):
        uniform(layers, 4, 4, ends=9)


@pytest.mark.parametrize(
    ("loss", "bound", "gap"),
    [(2.0, 1.5, 0.25), (2.0, 2.0, 0), (0.0, 0.0, 0), (-1.0, -2.0, 1), (2.0, -math.inf, math.inf)],
)
def test_the_gap_is_relative_to_the_loss(loss, bound, gap):
    assert Solution({}, "lrp", 4, Limits(), loss, bound).gap == gap


@pytest.mark.parametrize("text", ["W4A8", "w4a8"])
def test_widths_are_read_as_people_write_them(text: str) -> None:
    assert str(LayerBits.read(text)) == "W4A8"


@pytest.mark.parametrize("text", ["4", "W4", "A4W4", "W9A4", "W4A1", "W4A4x", ""])
def test_other_widths_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"write weight and activation bits|bits: use"):
        LayerBits.read(text)
