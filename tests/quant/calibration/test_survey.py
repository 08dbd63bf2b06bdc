"""Rewritten weights compute what timm's own forward computes, in every family."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrp.engine.interpreter import Interpreter, Linear
from lrp.engine.names import is_product
from quant.calibration.calibration import Calibration
from quant.calibration.origins import Affine
from quant.calibration.presets import preset
from quant.calibration.survey import Survey, rewrite
from quant.model.quantized_model import QuantizedModel
from quant.primitives.bits import LayerBits
from tests.models import FAMILIES, build, random_images

# What may change: q and k together, and v. Rotary turns q and k after the layer, cosine attention
# normalises them, talking heads mix the attention after softmax; the rest has q, k and v apart.
SCORES_STAY = {"dinov3", "eva02", "rope-mixed", "swinv2", "swinv2-cr", "eva02-subnorm", "relative"}
VALUES_STAY = {"cait", "eva02-subnorm", "relative"}


class Swapped(Interpreter):
    """The model with some layers' weights replaced; keeps what these layers give."""

    def __init__(self, model: nn.Module, weights: Mapping[str, Affine]) -> None:
        super().__init__(model)
        self.weights, self.outputs = weights, dict[str, Tensor]()

    def weigh(self, name: str, form: Linear, input: Tensor, *affine: Any) -> Tensor:
        self.outputs[name] = form.apply(input, *self.weights.get(name, affine))
        return self.outputs[name]


def rewritten(
    model: nn.Module, images: Tensor, centred: bool = True, rotated: bool = True
) -> tuple[Survey, dict[str, Affine]]:
    survey = Survey(model)
    survey.run(images)
    return survey, rewrite(survey, centred, rotated)


def parts(output: Tensor, heads: int) -> Tensor:
    """q, k and v: (3, B, h, N, d)."""
    return output.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_with_rewritten_weights_gives_timms_logits(family: str) -> None:
    model, images = build(family), random_images()
    survey, weights = rewritten(model, images)
    other = random_images(5)[3:] * 2  # other images than those it was surveyed on
    for batch in (images, other):
        found = Swapped(model, weights).run(batch)
        torch.testing.assert_close(found, model(batch), rtol=1e-3, atol=1e-4)
    scores = [a.qkv for a in survey.attentions if a.scores]
    values = [a.proj for a in survey.attentions if a.mixes and a.proj]
    assert bool(scores) == (family not in SCORES_STAY)
    assert bool(values) == (family not in VALUES_STAY)
    named = {name for name, _ in model.named_modules()}
    assert set(weights) <= named


@pytest.mark.parametrize("family", FAMILIES)
def test_what_may_not_change_does_not(family: str) -> None:
    """Of each qkv layer, the sections that are not rewritten keep their outputs."""
    model, images = build(family), random_images()
    survey, weights = rewritten(model, images)
    plain, changed = Swapped(model, {}), Swapped(model, weights)
    plain.run(images), changed.run(images)
    for attention in survey.attentions:
        before, after = (
            parts(outputs[attention.qkv], attention.heads)
            for outputs in (plain.outputs, changed.outputs)
        )
        free = (attention.scores, attention.scores, attention.mixes and bool(attention.proj))
        for section, may_change in enumerate(free):
            same = torch.allclose(before[section], after[section], rtol=1e-4, atol=1e-4)
            assert same != may_change, (attention.qkv, section)


@pytest.mark.parametrize("family", ["vit", "deit3", "swin", "beit", "pit"])
def test_means_of_keys_and_values_are_gone(family: str) -> None:
    model, images = build(family), random_images()
    survey, weights = rewritten(model, images, rotated=False)
    swapped = Swapped(model, weights)
    swapped.run(images)
    assert survey.attentions
    for attention in survey.attentions:
        _, keys, values = parts(swapped.outputs[attention.qkv], attention.heads)
        for x in (keys, values):
            assert x.mean(dim=(0, 2)).abs().max() < 1e-4 * x.abs().max()
        assert attention.key_mean.abs().max() > 1e-3  # there was something to take off


def test_balanced_heads_have_equal_moments() -> None:
    model, images = build("vit"), random_images()
    survey, weights = rewritten(model, images)
    swapped = Swapped(model, weights)
    swapped.run(images)
    for attention in survey.attentions:
        query, keys, _ = parts(swapped.outputs[attention.qkv], attention.heads)
        for q, k in zip(query.unbind(1), keys.unbind(1), strict=True):
            first, second = (torch.einsum("bnd,bne->de", x, x) for x in (q, k))
            # the survey's moments of q hold its scale, d^-1/2: the two are in proportion
            ratio = float(first.trace() / second.trace())
            torch.testing.assert_close(
                first, second * ratio, rtol=0.05, atol=0.05 * float(first.abs().max())
            )


@pytest.mark.parametrize(("centred", "rotated"), [(True, False), (False, True), (False, False)])
@pytest.mark.parametrize("family", ["deit", "swin"])
def test_either_half_alone_is_the_same_function_too(
    family: str, centred: bool, rotated: bool
) -> None:
    model, images = build(family), random_images()
    _, weights = rewritten(model, images, centred, rotated)
    found = Swapped(model, weights).run(images)
    torch.testing.assert_close(found, model(images), rtol=1e-3, atol=1e-4)


def test_the_models_own_weights_are_left_alone() -> None:
    model, images = build("vit"), random_images()
    kept = {name: p.clone() for name, p in model.named_parameters()}
    rewritten(model, images)
    assert all(torch.equal(p, kept[name]) for name, p in model.named_parameters())


def test_gains_are_those_of_the_norm_before_the_layer() -> None:
    model = build("vit")
    survey, _ = rewritten(model, random_images())
    for i, block in enumerate(model.blocks):
        for layer, norm in (("attn.qkv", block.norm1), ("mlp.fc1", block.norm2)):
            gain, bias = survey.norms[f"blocks.{i}.{layer}"]
            assert torch.equal(gain, norm.weight) and torch.equal(bias, norm.bias)


@pytest.mark.parametrize("family", ["vit", "swin"])
def test_a_model_without_constants_or_keys_survives(family: str) -> None:
    model, images = build(family), random_images()
    blocks = model.blocks if family == "vit" else model.layers[0].blocks
    blocks[0].attn.qkv.weight.zero_()
    blocks[0].attn.qkv.bias.zero_()
    blocks[1].attn.proj.weight.zero_()
    _, weights = rewritten(model, images)
    assert all(torch.isfinite(t).all() for affine in weights.values() for t in affine)
    found = Swapped(model, weights).run(images)
    torch.testing.assert_close(found, model(images), rtol=1e-3, atol=1e-4)


def rescaled(model: nn.Module) -> nn.Module:
    """Scale some channels of each LayerNorm up and others down; the next weights take it back."""
    for block in model.blocks:
        for norm, layer in ((block.norm1, block.attn.qkv), (block.norm2, block.mlp.fc1)):
            scale = torch.ones_like(norm.weight)
            scale[::7], scale[3], scale[5] = 1e4, 1e-4, -1e6
            norm.weight.mul_(scale), norm.bias.mul_(scale)
            layer.weight.div_(scale)
    return model


@pytest.mark.parametrize("name", ["bitlens", "repq-vit"])
def test_scaling_channels_of_a_norm_changes_nothing(name: str) -> None:
    images, bits = random_images(4), LayerBits(8, 8)
    plain, scaled = build("vit"), rescaled(build("vit"))
    torch.testing.assert_close(scaled(images), plain(images), rtol=1e-3, atol=1e-4)
    logits = []
    for model in (plain, scaled):
        calibration = Calibration(model, images, preset(name))
        allocation = dict.fromkeys(calibration.surveyed().layers, bits)
        logits.append(QuantizedModel(calibration, allocation).run(images))
    error = (logits[0] - plain(images)).norm()
    assert (logits[1] - plain(images)).norm() < 2 * error


def test_what_is_moved_out_of_a_norm_is_told_from_what_is_not() -> None:
    """Rows keep their norm through windows, padding and slices; sums and other orders do not."""

    class Moves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(6)
            self.layers = nn.ModuleDict({name: nn.Linear(6, 2) for name in MOVED})

        def forward(self, x: Tensor) -> Tensor:
            x = x.flatten(2).transpose(1, 2)[:, :10, :]
            x = self.norm(torch.cat([x, x], -1))
            return sum(self.layers[name](move(x)).sum() for name, move in MOVED.items())

    MOVED = {
        "same": lambda x: x,
        "token": lambda x: x[:, 0],
        "windows": lambda x: F.pad(x, (0, 0, 0, 2)).view(2, 3, 4, 6).roll(1, 1).flatten(0, 1),
        "twice": lambda x: torch.cat([x, x], 1),
        "sum": lambda x: x + x.mean(1, keepdim=True),
        "scaled": lambda x: x * 2,
        "turned": lambda x: x.flip(-1),
        "shuffled": lambda x: x.transpose(1, 2).reshape(2, 10, 6),
        "written": lambda x: x.clone().clamp_(-1, 1),
    }
    survey = Survey(Moves().eval().requires_grad_(False))
    survey.run(torch.randn(2, 3, 4, 4))
    assert set(survey.norms) == {f"layers.{n}" for n in ("same", "token", "windows", "twice")}


@pytest.mark.parametrize("family", ["vit", "swin", "relative", "aimv2"])
def test_layers_that_are_treated_more_plainly_are_named(family: str) -> None:
    found = Calibration(build(family), random_images(2), preset("bitlens")).surveyed()
    if family in ("vit", "swin"):
        assert found.plainer == {}
    elif family == "relative":  # queries, keys and values are layers of their own
        assert all(name.endswith(("matmul1", "matmul2")) for name in found.plainer)
        assert len(found.plainer) == sum(map(is_product, found.layers))
    else:  # the gated MLP's product comes straight out of nothing
        assert all(name.endswith("fc2") for name in found.plainer) and found.plainer
