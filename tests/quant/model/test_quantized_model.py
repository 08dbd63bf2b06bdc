"""Quantized models against the float model, against one another, and in threads."""

import threading
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from lrp.engine.layers import list_layers
from quant.calibration.calibration import Calibration
from quant.calibration.origins import Affine
from quant.calibration.presets import PRESETS, preset
from quant.calibration.store import Stored, file_of
from quant.calibration.survey import Survey, rewrite
from quant.calibration.tuning.kept import digest_of, learned_name
from quant.layers.quantized import QuantizedLinear
from quant.model.quantized_model import QuantizedModel
from quant.primitives.bits import Allocation, LayerBits, uniform
from tests.models import SIZE, SMALL, build, random_images


def all_layers(calibration: Calibration, weight_bits: int, activation_bits: int) -> Allocation:
    return uniform(list_layers(calibration.model, SIZE), weight_bits, activation_bits)


def run(calibration: Calibration, allocation: Allocation, images: Tensor | None = None) -> Tensor:
    images = random_images() if images is None else images
    return QuantizedModel(calibration, allocation).run(images)


def error(calibration: Calibration, weight_bits: int, activation_bits: int) -> float:
    found = run(calibration, all_layers(calibration, weight_bits, activation_bits))
    expected = calibration.model(random_images())
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("family", SMALL)
@pytest.mark.parametrize("name", PRESETS)
def test_eight_bits_are_close_to_float_and_fewer_bits_further(calibrated, family, name):
    calibration = calibrated(family, name)
    eight, four, two = (error(calibration, bits, bits) for bits in (8, 4, 2))
    assert 0 < eight < 0.1
    assert eight < four < two


def test_scales_a_token_pay_where_patches_differ_in_size(tmp_path):
    model, layers = build("vit"), list_layers(build("vit"), SIZE)
    sizes = torch.logspace(-1, 0.5, 16)[torch.randperm(16, generator=torch.manual_seed(1))]
    images = random_images(12) * sizes.view(4, 4).kron(torch.ones(8, 8))
    errors = {}
    for name in ("bitlens", "bitlens-dynamic"):
        calibration = Calibration(model, images[:8], preset(name), tmp_path / name)
        found = QuantizedModel(calibration, uniform(layers, 8, 4)).run(images[8:])
        errors[name] = float((found - model(images[8:])).norm())
    assert errors["bitlens-dynamic"] < 0.9 * errors["bitlens"]


@pytest.mark.parametrize("family", SMALL)
def test_weight_and_activation_bits_are_separate(calibrated, family):
    calibration = calibrated(family)
    best, few_inputs, few_weights = (error(calibration, *b) for b in ((8, 8), (8, 2), (2, 8)))
    assert best < few_inputs
    assert best < few_weights
    assert few_inputs != few_weights


@pytest.mark.parametrize("family", SMALL)
def test_an_empty_allocation_is_the_float_model(calibrated, family):
    calibration = calibrated(family)
    expected = calibration.model(random_images())
    torch.testing.assert_close(run(calibration, {}), expected, rtol=1e-5, atol=1e-6)


class Replaced(nn.Module):
    """A layer's float arithmetic with dequantized weights and a quantized input."""

    def __init__(self, layer: QuantizedLinear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        layer, weight = self.layer, self.layer.weight
        values = weight.codes.double() * weight.scale.double()[:, None]
        encoded = layer.quantizer(x if layer.transform is None else layer.transform(x))
        return (torch.einsum("...c,kc->...k", encoded.double(), values) + weight.bias).float()


def rewritten(calibration: Calibration) -> dict[str, Affine]:
    survey = Survey(calibration.turned.model)
    survey.run(calibration.shown)
    chosen = calibration.preset
    return rewrite(survey, chosen.centred, chosen.heads)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("layer", ["mlp.fc1", "mlp.fc2", "attn.qkv", "attn.proj"])
def test_one_layer_alone_is_the_model_with_that_layer_replaced(calibrated, name, layer):
    calibration = calibrated("vit", name)
    full = f"blocks.1.{layer}"
    allocation = {full: LayerBits(2, 4)}
    found = run(calibration, allocation)
    expected = deepcopy(calibration.turned.model)
    for other, (weight, bias) in rewritten(calibration).items():  # the same float model
        module = expected.get_submodule(other)
        module.weight.data, module.bias.data = weight, bias
    owner, attribute = full.rsplit(".", 1)
    file = learned_name(digest_of(allocation)) if PRESETS[name].tuned else file_of(4)
    stored = Stored(calibration.folder / file, torch.device("cpu"))
    setattr(expected.get_submodule(owner), attribute, Replaced(stored.solved(full, 2).at(2)))
    torch.testing.assert_close(found, expected(random_images()), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("family", SMALL)
def test_each_layer_alone_at_eight_bits_is_close_to_float(calibrated, family):
    calibration = calibrated(family)
    expected = calibration.model(random_images())
    for layer in list_layers(calibration.model, SIZE):
        found = run(calibration, {layer.name: LayerBits(8, 8)})
        assert float((found - expected).norm() / expected.norm()) < 0.1, layer.name


def test_attention_products_are_quantized_on_both_sides(calibrated):
    calibration = calibrated("vit")
    name = "blocks.0.attn.matmul1"
    expected = calibration.model(random_images())
    first, second, fine = (
        float((run(calibration, {name: LayerBits(*bits)}) - expected).norm())
        for bits in ((8, 2), (2, 8), (8, 8))
    )
    assert first > fine > 0
    assert second > fine


@pytest.mark.parametrize("family", SMALL)
def test_the_float_model_is_bit_identical_before_and_after(family, tmp_path):
    model, images = build(family), random_images()
    before, weights = model(images), {n: p.clone() for n, p in model.named_parameters()}
    calibration = Calibration(model, images, preset("bitlens"), tmp_path)
    QuantizedModel(calibration, all_layers(calibration, 4, 4)).run(images)
    assert torch.equal(model(images), before)
    assert all(torch.equal(p, weights[n]) for n, p in model.named_parameters())
    assert torch.equal(images, random_images())


@pytest.mark.parametrize("family", SMALL)
def test_two_allocations_on_one_model_at_once_give_the_numbers_of_each_alone(calibrated, family):
    calibration = calibrated(family)
    allocations = [all_layers(calibration, 2, 4), all_layers(calibration, 8, 8)]
    alone = [run(calibration, allocation) for allocation in allocations]
    found: list[list[Tensor]] = [[], []]
    start = threading.Barrier(2)

    def work(index: int) -> None:
        start.wait()
        found[index] = [run(calibration, allocations[index]) for _ in range(5)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in range(2):
        assert len(found[index]) == 5
        assert all(torch.equal(f, alone[index]) for f in found[index])


def test_batches_do_not_see_each_other(calibrated):
    calibration = calibrated("swin")
    quantized = QuantizedModel(calibration, all_layers(calibration, 4, 4))
    images = random_images()
    together = quantized.run(images)
    for index in range(len(images)):
        alone = quantized.run(images[index : index + 1])
        torch.testing.assert_close(alone[0], together[index], rtol=1e-3, atol=1e-3)


def test_bad_allocations_are_refused(calibrated):
    calibration = calibrated("vit")
    with pytest.raises(ValueError, match="no layer 'nowhere'"):
        run(calibration, {"nowhere": LayerBits(4, 4)})
    with pytest.raises(ValueError, match=r"no layer 'blocks\.0\.attn\.matmul7'"):
        run(calibration, {"blocks.0.attn.matmul7": LayerBits(4, 4)})
    for bits in (LayerBits(9, 4), LayerBits(4, 9), LayerBits(1, 4), LayerBits(4, 0)):
        for name in ("patch_embed.proj", "blocks.0.attn.matmul1"):
            with pytest.raises(ValueError, match="bits: use a whole number from 2 to 8"):
                run(calibration, {name: bits})
