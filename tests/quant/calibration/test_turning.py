"""Turned models against the models they are made of, layer by layer."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quant.calibration.calibration import Calibration
from quant.calibration.presets import preset
from quant.calibration.streams import find_streams
from quant.calibration.turning import turned
from quant.primitives.bits import LayerBits
from quant.primitives.formats import FP8, MXFP4
from quant.primitives.transforms import Rotation, mean_keeping, transformed
from tests.models import FAMILIES, SIZE, SMALL, build, random_images

MLP = "blocks.0.mlp.fc1"
# Families whose streams something else reads or writes: post-norms, rotations without a bias, ...
AS_THEY_ARE = (
    *("beit", "cait", "dinov3", "eva02", "aimv2", "rope-mixed", "parallel"),
    *("pit", "swinv2", "swinv2-cr"),
)


def heard(model: nn.Module, images: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Every module's first input and output, by torch's own hooks."""
    given: dict[str, Tensor] = {}
    gave: dict[str, Tensor] = {}

    def hook(name: str) -> Callable[..., None]:
        def keep(_module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            given[name], gave[name] = inputs[0], output

        return keep

    hooks = [m.register_forward_hook(hook(name)) for name, m in model.named_modules()]
    model(images)
    for one in hooks:
        one.remove()
    return given, gave


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_answers_as_before_and_is_left_alone(family):
    model = build(family)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    found, images = turned(model, SIZE), random_images(5)
    torch.testing.assert_close(found.model(images), model(images), rtol=1e-4, atol=1e-5)
    assert bool(found.reads) == (family not in AS_THEY_ARE)
    assert (found.model is model) == (family in AS_THEY_ARE)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name])


@pytest.mark.parametrize("family", [*SMALL, "deit3", "average", "eva02-subnorm"])
def test_layers_read_and_write_what_the_model_does_turned(family):
    model, images = build(family), random_images()
    found = turned(model, SIZE)
    (given, gave), (moved, made) = heard(model, images), heard(found.model, images)
    for name, read in found.reads.items():
        torch.testing.assert_close(read(moved[name]), given[name], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(made[name], _turned(found, name, gave), rtol=1e-3, atol=1e-4)
        weight, bias = model.get_submodule(name).weight, model.get_submodule(name).bias
        if name in found.writes:
            continue
        layer = found.model.get_submodule(name)
        plain = transformed(read, (layer.weight, layer.bias))
        torch.testing.assert_close(plain[0], weight, rtol=1e-3, atol=1e-4)
        expected = torch.zeros_like(plain[1]) if bias is None else bias
        torch.testing.assert_close(plain[1], expected, rtol=1e-3, atol=1e-4)
    if family != "deit3":  # whose layers are scaled on their way to the stream
        for name in found.writes:
            wanted = _turned(found, name, gave)
            torch.testing.assert_close(made[name], wanted, rtol=1e-3, atol=1e-4)


def _turned(found: Any, name: str, gave: dict[str, Tensor]) -> Tensor:
    if name not in found.writes:
        return gave[name]
    axes = ("bchw,cd->bdhw", "...c,cd->...d")
    return torch.einsum(axes[not name.endswith("embed.proj")], gave[name], found.writes[name])


def test_of_the_whole_model_every_layer_behind_a_norm_reads_a_turned_stream():
    found = turned(build("deit"), SIZE)
    blocks = [f"blocks.{index}." for index in range(2)]
    behind = [block + layer for block in blocks for layer in ("attn.qkv", "mlp.fc1")]
    assert set(found.reads) == {*behind, "head", "head_dist"}
    before = [block + layer for block in blocks for layer in ("attn.proj", "mlp.fc2")]
    assert set(found.writes) == {"patch_embed.proj", *before}
    # Swin's first stage begins with a LayerNorm, and a norm over four cells reads it
    assert set(turned(build("swin"), SIZE).reads) == {
        *(f"layers.1.blocks.{i}.{n}" for i in range(2) for n in ("attn.qkv", "mlp.fc1")),
        "head.fc",
    }


class Merging(nn.Module):
    """A stream that a norm over four cells reads: its reader's weight is turned cell by cell."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.place = nn.Conv2d(3, 12, 8, 8), nn.Parameter(torch.randn(16, 12))
        self.norm, self.reduction = nn.LayerNorm(48), nn.Linear(48, 24, bias=False)
        self.last, self.head = nn.LayerNorm(24), nn.Linear(24, 5)
        nn.init.uniform_(self.norm.weight, 0.5, 1.5)
        nn.init.normal_(self.norm.bias)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images).flatten(2).transpose(1, 2) + self.place
        x = self.reduction(self.norm(x.reshape(len(x), 4, 48)))
        return self.head(self.last(x).mean(1))


def test_a_norm_over_several_cells_of_a_stream():
    model, images = Merging().eval().requires_grad_(False), random_images()
    found = turned(model, SIZE)
    torch.testing.assert_close(found.model(images), model(images), rtol=1e-4, atol=1e-5)
    assert set(found.reads) == {"reduction", "head"}
    given, moved = heard(model, images)[0], heard(found.model, images)[0]
    restored = found.reads["reduction"](moved["reduction"])
    torch.testing.assert_close(restored, given["reduction"], rtol=1e-3, atol=1e-4)


def test_a_stream_that_something_else_reads_is_none(monkeypatch):
    model = build("vit")
    assert [stream.size for stream in find_streams(model, random_images())] == [32]
    block, plain = model.blocks[1], type(model.blocks[1]).forward
    monkeypatch.setattr(block, "forward", lambda x, *rest: plain(block, x.abs(), *rest))
    assert find_streams(model, random_images()) == []


def test_a_model_is_turned_once_and_forgotten_with_it():
    model = build("vit")
    assert turned(model, SIZE).model is turned(model, SIZE).model
    kept = weakref.ref(turned(model, SIZE).model)
    del model
    gc.collect()
    assert kept() is None


@pytest.mark.parametrize(("family", "turns"), [("vit", False), ("swin", True), ("parallel", True)])
def test_only_what_cannot_be_turned_is_turned_when_it_runs(family, turns):
    calibration = Calibration(build(family), random_images(), preset("integer"))
    stored = calibration.stored(8)
    behind = [n for n in stored.linear if calibration.surveyed().kinds.get(n) in ("norm", "turned")]
    changed = [isinstance(stored.input(name)[1], Rotation) for name in behind]
    assert any(changed) == turns
    for name, at_run_time in zip(behind, changed, strict=True):
        assert at_run_time != (name in calibration.turned.reads)


@pytest.mark.parametrize("size", [1, 2, 6, 15, 32, 48, 96, 192, 384, 768, 1024])
def test_the_rotation_keeps_the_mean_and_spreads_one_channel_over_all(size):
    turn = mean_keeping(size)
    torch.testing.assert_close(turn.T @ turn, torch.eye(size).double(), rtol=0, atol=1e-6)
    x = torch.randn(7, size, generator=torch.Generator().manual_seed(1)).double() + 1
    torch.testing.assert_close((x @ turn).mean(-1), x.mean(-1))
    normed = nn.LayerNorm(size, elementwise_affine=False).double()
    if size > 1:
        torch.testing.assert_close(normed(x @ turn), normed(x) @ turn, rtol=1e-4, atol=1e-5)
    assert float(turn.abs().max()) <= 1.7 / size**0.5


@pytest.mark.parametrize("code", [MXFP4, FP8])
def test_small_floats_see_what_the_float_model_gives_them(code):
    """Blocks of channels that are turned would all be alike."""
    images = random_images()
    calibration = Calibration(build("vit"), images, preset("bitlens"))
    given, gave = heard(calibration.model, images)
    moved, _ = heard(calibration.turned.model, images)
    names = [name for name in calibration.turned.reads if name.startswith("blocks.0")]
    for name in names:
        layer = calibration.quantized(name, LayerBits(code, code))
        expected = layer.quantizer(given[name])
        close = torch.isclose(layer.encode(moved[name]), expected, rtol=1e-3, atol=1e-3)
        assert float(close.float().mean()) > 0.98  # few are rounded to the next level
    assert len(names) == 2
    layer, plain = calibration.quantized(MLP, LayerBits(code, code)), gave[MLP]
    assert float((layer(moved[MLP]) - plain).norm() / plain.norm()) < 0.3
