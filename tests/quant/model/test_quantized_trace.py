"""Relevance through quantized models: against the models, by hand, and against float's."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assets.models.load import load_model
from lrp.engine.interpreter import Convolution, Linear, UnsupportedOperation
from lrp.engine.layers import list_layers
from lrp.maps.heatmap import heatmap
from lrp.metrics.similarity import likeness
from lrp.propagation.relevance import relevance
from lrp.propagation.rules import ATTN_LRP, LRP_QVIT, PRESETS
from lrp.propagation.trace import Trace
from quant.calibration.calibration import Calibration
from quant.calibration.presets import preset
from quant.layers.quantized import QuantizedLinear
from quant.model.quantized_model import QuantizedModel
from quant.model.quantized_trace import QuantizedTrace
from quant.primitives.bits import Allocation, LayerBits, uniform
from tests.models import SIZE, SMALL, build, random_images, without_constants

NAMES = ("bitlens", "repq-vit")


def every(calibration: Calibration, *widths: int) -> Allocation:
    """Give the layers `widths` in turn."""
    layers = list_layers(calibration.model, tuple(calibration.images.shape[1:]))
    return {
        layer.name: LayerBits(widths[i % len(widths)], widths[(i + 1) % len(widths)])
        for i, layer in enumerate(layers)
    }


def traced(calibration: Calibration, allocation: Allocation, *rules: Any) -> QuantizedTrace:
    images = random_images()
    return QuantizedTrace(images, calibration, allocation, *rules)


@pytest.mark.parametrize(
    ("family", "name", "rules"),
    [
        *((family, "bitlens", "ATTN_LRP") for family in SMALL),
        *(("vit", "repq-vit", rules) for rules in PRESETS),
        ("swin", "bitlens", "LRP_QVIT"),
    ],
)
def test_logits_are_the_quantized_models_to_the_last_bit(calibrated, family, name, rules):
    calibration = calibrated(family, name)
    allocation = every(calibration, 8, 4)
    found = traced(calibration, allocation, PRESETS[rules]).logits
    quantized = QuantizedModel(calibration, allocation)
    assert torch.equal(found.detach(), quantized.run(random_images()))


@pytest.mark.parametrize("family", SMALL)
def test_layers_left_out_stay_in_float_and_rewritten(calibrated, family):
    calibration = calibrated(family)
    some = {n: b for n, b in every(calibration, 4).items() if "qkv" in n or "matmul2" in n}
    quantized = QuantizedModel(calibration, some).run(random_images())
    assert torch.equal(traced(calibration, some).logits.detach(), quantized)
    plain = Trace(calibration.model, random_images()).logits
    assert torch.equal(traced(calibration, {}).logits, plain)
    assert not torch.allclose(quantized, plain)


@pytest.mark.parametrize("model", ["digits-vit", "digits-swin"])
def test_of_a_trained_model_too_and_its_map_is_like_floats(model, tmp_path):
    loaded = load_model(model)
    images = torch.rand(3, *loaded.input_size, generator=torch.Generator().manual_seed(0)) - 0.5
    calibration = Calibration(loaded.model, images, preset("repq-vit"), tmp_path)
    allocation = uniform(list_layers(loaded.model, loaded.input_size), 8, 8)
    trace = QuantizedTrace(images, calibration, allocation)
    quantized = QuantizedModel(calibration, allocation)
    assert torch.equal(trace.logits.detach(), quantized.run(images))
    plain = Trace(loaded.model, images)
    target = plain.logits.argmax(1)
    maps = [heatmap(t, relevance(t, target)) for t in (plain, trace)]
    assert all(likeness(*pair).rank > 0.8 for pair in zip(*maps, strict=True))


@pytest.mark.parametrize("family", SMALL)
def test_at_eight_bits_tokens_have_nearly_the_relevance_they_have_in_float(calibrated, family):
    calibration = calibrated(family)
    plain = relevance(Trace(calibration.model, random_images()), 2)

    def off(bits: int) -> float:
        found = relevance(traced(calibration, every(calibration, bits)), 2)
        return max(
            float((found.blocks[b] - tokens).sum(-1).norm() / tokens.sum(-1).norm())
            for b, tokens in plain.blocks.items()
        )

    assert 0 < off(8) < 0.15
    assert off(8) < off(4) < off(2)


class Twin:
    """A ViT whose layers multiply in the basis they are quantized in, rounding undone by hand."""

    def __init__(self, calibration: Calibration, allocation: Allocation) -> None:
        self.model: Any = calibration.turned.model
        self.found = {n: calibration.quantized(n, bits) for n, bits in allocation.items()}

    def through(self, quantizer: Any, x: Tensor) -> Tensor:
        return x + (quantizer(x.detach()) - x.detach())

    def layer(self, name: str, x: Tensor) -> Tensor:
        layer = self.found[name]
        moved = x if layer.transform is None else layer.transform(x)
        rounded = self.through(layer.quantizer, moved)
        return F.linear(rounded, layer.weight.values, layer.weight.bias)

    def product(self, name: str, a: Tensor, b: Tensor) -> Tensor:
        layer = self.found[name]
        y = self.through(layer.first, a) @ self.through(layer.second, b)
        return (y + y.detach()) / 2

    def norm(self, layer: nn.LayerNorm, x: Tensor) -> Tensor:
        scale = (x.var(-1, unbiased=False, keepdim=True) + layer.eps).rsqrt().detach()
        return (x - x.mean(-1, keepdim=True)) * scale * layer.weight + layer.bias

    def block(self, name: str, x: Tensor) -> Tensor:
        block = self.model.get_submodule(name)
        qkv = self.layer(f"{name}.attn.qkv", self.norm(block.norm1, x))
        q, k, v = qkv.unflatten(-1, (3, block.attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
        scores = self.product(f"{name}.attn.matmul1", q * block.attn.scale, k.transpose(-2, -1))
        mixed = self.product(f"{name}.attn.matmul2", scores.softmax(-1), v)
        x = x + self.layer(f"{name}.attn.proj", mixed.transpose(1, 2).flatten(2))
        hidden = self.layer(f"{name}.mlp.fc1", self.norm(block.norm2, x))
        gated = hidden * (F.gelu(hidden) / hidden).detach()
        return x + self.layer(f"{name}.mlp.fc2", gated)

    def __call__(self, images: Tensor) -> Tensor:
        x = self.layer("patch_embed.proj", Convolution((8, 8), 8).rows(images))
        x = torch.cat([self.model.cls_token.expand(len(x), -1, -1), x], 1) + self.model.pos_embed
        for index in range(len(self.model.blocks)):
            x = self.block(f"blocks.{index}", x)
        return self.layer("head", self.norm(self.model.norm, x)[:, 0])


@pytest.mark.parametrize("name", NAMES)
def test_attn_lrp_is_gradient_times_input_of_a_locally_linear_twin(calibrated, name):
    calibration = calibrated("vit", name)
    allocation = every(calibration, 8)
    x = random_images().requires_grad_()
    logits = Twin(calibration, allocation)(x)
    expected = torch.autograd.grad(logits[:, 1].sum(), x)[0] * x.detach()
    trace = traced(calibration, allocation)
    torch.testing.assert_close(trace.logits, logits, rtol=0.02, atol=0.02)
    found = relevance(trace, 1).pixels
    assert float((found - expected).norm() / expected.norm()) < 0.02


def original(calibration: Calibration, name: str, allocation: Allocation) -> tuple[Tensor, Tensor]:
    """A layer's weight (K, C) and bias in the float model's basis, from what it does to a basis."""
    layer, turned = calibration.quantized(name, allocation[name]), calibration.turned
    assert isinstance(layer, QuantizedLinear)
    size = layer.weight.values.shape[1]
    basis = torch.cat([torch.zeros(1, size), torch.eye(size)])
    if name in turned.reads:  # by the float model's norm, its gain and bias
        norm = turned.reads[name]
        basis = ((basis - norm.shift) / norm.gain) @ norm.turn
    moved = basis if layer.transform is None else layer.transform(basis)
    outputs = F.linear(moved.double(), layer.weight.values.double(), layer.weight.bias.double())
    if name in turned.writes:
        outputs = outputs @ turned.writes[name].T.double()
    return (outputs[1:] - outputs[0]).T, outputs[0]


@pytest.mark.parametrize("name", NAMES)
def test_z_plus_shares_out_by_the_signs_of_the_float_models_basis(calibrated, name):
    """R_j = (x^_j W^_tj)+ / sum over j of the same, at the head, for the target's one."""
    calibration = calibrated("vit", name)
    allocation = every(calibration, 4)
    trace = traced(calibration, allocation, LRP_QVIT)
    (x,) = (t.detach().double() for t in trace.operands["head"])
    weight, bias = original(calibration, "head", allocation)
    torch.testing.assert_close(x @ weight.T + bias, trace.logits.double(), rtol=1e-3, atol=1e-3)
    positive = (x * weight[2]).clamp(min=0)
    expected = positive / positive.sum(1, keepdim=True)
    found = relevance(trace, 2).layers["head"][0].double()
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-4)


class Noting(QuantizedTrace):
    """Also keeps what each layer was given before it was rounded, and what it gave."""

    def __init__(self, *args: Any) -> None:
        self.given: dict[str, tuple[Tensor, ...]] = {}
        self.gave: dict[str, Tensor] = {}
        super().__init__(*args)

    def weigh(self, name: str, form: Linear, input: Tensor, *rest: Any) -> Tensor:
        turned = self._reads.get(name)
        self.given[name] = (input if turned is None else turned(input),)
        return super().weigh(name, form, input, *rest)

    def _written(self, name: str, form: Linear, output: Tensor) -> Tensor:
        self.gave[name] = output
        return super()._written(name, form, output)

    def multiply(self, name: str, input: Tensor, other: Tensor) -> Tensor:
        self.given[name] = input, other
        return super().multiply(name, input, other)


def total(values: Tensor) -> Tensor:
    return values.detach().reshape(len(random_images()), -1).sum(1)


@pytest.mark.parametrize("family", SMALL)
def test_what_rounding_and_biases_take_is_all_that_is_lost(family, tmp_path):
    """start - sum at the pixels = sum over layers of (x^ - x) G and b G.

    Attention is a constant here, and the float model adds none; the quantized one has biases.
    """
    model = without_constants(build(family))
    calibration = Calibration(model, random_images(), preset("bitlens"), tmp_path)
    allocation = every(calibration, 4)
    rules = replace(ATTN_LRP, softmax="constant")
    trace = Noting(random_images(), calibration, allocation, rules)
    lost = torch.zeros(3)
    for name in (n for n in trace.given if not n.endswith("matmul1")):
        x, rounded = trace.given[name][-1], trace.operands[name][-1]
        lost += total((rounded - x) * gradient(trace, rounded))
        if name in trace.gave:
            bias = original(calibration, name, allocation)[1].float()
            spread = bias.view(-1, *[1] * (x.dim() - 2)) if "patch_embed" in name else bias
            lost += total(spread * gradient(trace, trace.gave[name]))
    found = relevance(trace, 1)
    torch.testing.assert_close(total(found.pixels) + lost, found.start, rtol=1e-3, atol=1e-3)
    assert float((lost / found.start).abs().max()) > 1e-3


def gradient(trace: Trace, values: Tensor) -> Tensor:
    return torch.autograd.grad(trace.logits[:, 1].sum(), values, retain_graph=True)[0]


class Overlapping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.head = nn.Conv2d(3, 8, 4, stride=2), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stem(x).flatten(2).mean(2))


def test_a_convolution_whose_patches_overlap_is_refused_unless_it_stays_in_float(tmp_path: Path):
    model = Overlapping().eval().requires_grad_(False)
    calibration = Calibration(model, random_images(), preset("repq-vit"), tmp_path)
    allocation = uniform(list_layers(model, SIZE), 4, 4)
    with pytest.raises(UnsupportedOperation, match="patches of 'stem' overlap"):
        traced(calibration, allocation)
    del allocation["stem"]
    quantized = QuantizedModel(calibration, allocation).run(random_images())
    assert torch.equal(traced(calibration, allocation).logits.detach(), quantized)


def test_a_layer_the_model_has_not_is_named(calibrated):
    with pytest.raises(ValueError, match="no layer 'nowhere'"):
        traced(calibrated("vit"), {"nowhere": LayerBits(4, 4)})


def test_the_float_model_and_the_images_are_left_as_they_were(calibrated):
    calibration = calibrated("vit")
    images, before = random_images(), calibration.model(random_images())
    QuantizedTrace(images, calibration, every(calibration, 4))
    assert torch.equal(images, random_images())
    assert torch.equal(calibration.model(random_images()), before)
