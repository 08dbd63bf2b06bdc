import threading

import pytest
import torch
import torch.nn.functional as F

from lrp.layers import list_layers
from quant.allocation import LayerBits, uniform
from quant.calibration import calibrate
from quant.fakequant import QuantizedModel, prepare
from tests.models import SIZE, build


@pytest.fixture
def layers(model):
    return list_layers(model, SIZE)


@pytest.fixture
def calibration(model, images):
    return calibrate(model, [images], 3)


def distance(a, b):
    return float((a - b).norm() / b.norm())


def test_eight_bits_are_close_to_float_and_fewer_bits_further(model, images, layers, calibration):
    expected = model(images)
    errors = [
        distance(QuantizedModel(model, calibration, uniform(layers, b, b)).run(images), expected)
        for b in (8, 4, 2)
    ]
    assert errors[0] < 0.25
    assert errors[0] < errors[1] < errors[2]


def test_an_empty_allocation_is_the_float_model(model, images, calibration):
    found = QuantizedModel(model, calibration, {}).run(images)
    torch.testing.assert_close(found, model(images), rtol=1e-5, atol=1e-6)


def test_one_layer_alone_is_the_model_with_that_layer_replaced(images):
    model = build("vit")
    calibration = calibrate(model, [images], 3)
    name = "blocks.1.mlp.fc2"
    bits = LayerBits(3, 5)
    layer = prepare(model, calibration, name, bits)
    expected_model = build("vit")

    class Replaced(torch.nn.Module):
        def forward(self, x):
            return F.linear(layer.operands[0](x), layer.weight, layer.bias)

    expected_model.blocks[1].mlp.fc2 = Replaced()
    found = QuantizedModel(model, calibration, {name: bits}).run(images)
    torch.testing.assert_close(found, expected_model(images), rtol=1e-4, atol=1e-5)


def test_attention_products_are_quantized_on_both_sides(images):
    model = build("vit")
    calibration = calibrate(model, [images], 3)
    name = "blocks.0.attn.matmul1"
    coarse = QuantizedModel(model, calibration, {name: LayerBits(2, 8)}).run(images)
    fine = QuantizedModel(model, calibration, {name: LayerBits(8, 8)}).run(images)
    assert distance(coarse, model(images)) > distance(fine, model(images)) > 0


def test_weight_and_activation_bits_are_separate(model, images, layers, calibration):
    expected = model(images)
    w8a8, w8a3, w3a8 = (
        distance(QuantizedModel(model, calibration, uniform(layers, w, a)).run(images), expected)
        for w, a in ((8, 8), (8, 3), (3, 8))
    )
    assert w8a8 < w8a3
    assert w8a8 < w3a8
    assert w8a3 != w3a8


@pytest.mark.parametrize("bits", [4, 8])
def test_clipping_is_kept_only_where_it_lowers_the_layers_error(bits):
    model = build("vit")
    images = torch.randn(4, *SIZE)
    model.blocks[0].norm1.weight[5] *= 40  # an outlier channel
    calibration = calibrate(model, [images], 4)
    name = "blocks.0.attn.qkv"
    rows, module = calibration.samples[name][0].values, model.blocks[0].attn.qkv
    error = {}
    for clip in (None, 2.0):
        layer = prepare(model, calibration, name, LayerBits(bits, bits), clip)
        found = F.linear(layer.operands[0](rows), layer.weight, layer.bias)
        error[clip] = float((found - module(rows)).square().mean())
    assert error[2.0] <= error[None]


def test_the_float_model_is_bit_identical_before_and_after(model, images, layers, calibration):
    before, weights = model(images), {n: p.clone() for n, p in model.named_parameters()}
    QuantizedModel(model, calibration, uniform(layers, 2, 2)).run(images)
    assert torch.equal(model(images), before)
    assert all(torch.equal(p, weights[n]) for n, p in model.named_parameters())


def test_two_allocations_on_one_model_at_once_give_the_numbers_of_each_alone(
    model, images, layers, calibration
):
    quantized = [QuantizedModel(model, calibration, uniform(layers, b, b)) for b in (3, 6)]
    alone = [q.run(images) for q in quantized]
    found: list[list[torch.Tensor]] = [[], []]

    def work(index):
        found[index] = [quantized[index].run(images) for _ in range(6)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in range(2):
        assert len(found[index]) == 6
        assert all(torch.equal(f, alone[index]) for f in found[index])


def test_bad_allocations_are_refused(model, calibration):
    with pytest.raises(ValueError, match="no layer 'nowhere'"):
        QuantizedModel(model, calibration, {"nowhere": LayerBits(4, 4)})
    with pytest.raises(ValueError, match="9 bits"):
        QuantizedModel(model, calibration, {"patch_embed.proj": LayerBits(9, 4)})
