"""The residual stream as integers: which tensors those are, and what the model then computes."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lrp.engine.layers import list_layers
from lrp.engine.names import block_of
from quant.calibration.calibration import Calibration
from quant.calibration.passes import Pass
from quant.calibration.presets import preset
from quant.calibration.residual_stream import fit_stream, stream_of
from quant.calibration.store import Stored, file_of, save_pass
from quant.model.quantized_model import QuantizedModel
from quant.model.quantized_trace import QuantizedTrace
from quant.primitives.bits import Allocation, LayerBits, uniform
from quant.primitives.formats import FLOAT
from quant.primitives.quantizers import Uniform
from tests.models import FAMILIES, SIZE, SMALL, TOKENS, build, random_images

PARTS = ["norm1", "add1", "norm2", "add2"]
BLOCKS = {
    "vit": [f"blocks.{i}" for i in range(TOKENS["depth"])],
    "swin": [f"layers.{stage}.blocks.{i}" for stage in (0, 1) for i in (0, 1)],
}
BLOCKS["deit"] = BLOCKS["vit"]
Call = Callable[..., Tensor]


def in_blocks(family: str) -> list[str]:
    return [f"{block}.{part}" for block in BLOCKS[family] for part in PARTS]


@pytest.mark.parametrize("family", SMALL)
def test_every_sum_and_norm_is_named_in_the_order_they_run(family: str) -> None:
    found = list(stream_of(build(family), random_images(1)))
    if family != "swin":
        assert found == ["add1", *in_blocks(family), "norm"]
        return
    wanted = ["patch_embed.norm", *in_blocks(family), "norm"]
    wanted.insert(9, "layers.1.downsample.norm")
    assert found == wanted


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - {"parallel"}))
def test_each_block_of_any_family_has_two_sums_and_two_norms(family: str) -> None:
    model = build(family)
    found = stream_of(model, random_images(1))
    blocks = {block_of(layer.name) for layer in list_layers(model, SIZE)} - {""}
    assert blocks
    for block in blocks:
        assert [n for n in found if n.startswith(f"{block}.add")] == [
            f"{block}.add1",
            f"{block}.add2",
        ]
        norms = [n for n in found if n.startswith(f"{block}.norm")]
        assert norms[:2] == [f"{block}.norm1", f"{block}.norm2"]
    inner = [n for n in found if ".attn." in n or ".mlp." in n]  # norms of queries, of hidden units
    assert inner == []
    assert any(n in found for n in ("norm", "fc_norm", "stages.1.blocks.1.norm3"))


class Quantized(nn.Module):
    """torch's own quantizer of a tensor, with the scale and zero point that a file holds."""

    def __init__(self, found: dict[str, Any]) -> None:
        super().__init__()
        self.found, self.asked = found, list[str]()

    def forward(self, name: str, x: Tensor) -> Tensor:
        self.asked.append(name)
        q = self.found[name].qparams
        most = 2**q.bits - 1
        return torch.fake_quantize_per_tensor_affine(x, float(q.scale), int(q.zero_point), 0, most)


def block_forward(name: str, block: Any, quantized: Call, x: Tensor, **_: Any) -> Tensor:
    """What timm's Block and SwinTransformerBlock compute, with both sums quantized."""
    if hasattr(block, "_attn"):
        size = x.shape
        x = quantized(f"{name}.add1", x + block._attn(block.norm1(x))).flatten(1, 2)
        return quantized(f"{name}.add2", x + block.mlp(block.norm2(x))).view(size)
    x = quantized(f"{name}.add1", x + block.attn(block.norm1(x)))
    return quantized(f"{name}.add2", x + block.mlp(block.norm2(x)))


def by_timm(model: Any, quantized: Call, names: list[str]) -> nn.Module:
    """timm's own model, whose sums and norms are quantized where they are computed."""
    for name, module in dict(model.named_modules()).items():
        if name in names:
            module.register_forward_hook(lambda _m, _i, output, n=name: quantized(n, output))
        if name and block_of(name) == name:
            module.forward = partial(block_forward, name, module, quantized)
    if "add1" in names:
        positions = model._pos_embed
        model._pos_embed = lambda x: quantized("add1", positions(x))
    return model


def calibrated(family: str, name: str, folder: Any) -> Calibration:
    return Calibration(build(family), random_images(), preset(name), folder)


@pytest.mark.parametrize("family", SMALL)
@pytest.mark.parametrize("bits", [8, 16])
def test_the_model_is_timms_with_its_sums_and_norms_quantized(family, bits, tmp_path):
    # repq-vit rewrites no weights, so that all other layers are the float model's own.
    calibration = calibrated(family, f"repq-vit:stream={bits}", tmp_path)
    layers = list_layers(calibration.model, SIZE)
    head: Allocation = {la.name: LayerBits(8, FLOAT) for la in layers if "head" in la.name}
    found = QuantizedModel(calibration, head).run(random_images())
    stored = Stored(tmp_path / file_of(FLOAT), torch.device("cpu")).stream()
    assert {quantizer.bits for quantizer in stored.values()} == {bits}
    expected = build(family)
    for name in head:
        owner, _, attribute = name.rpartition(".")
        layer = calibration.quantized(name, head[name])
        expected.get_submodule(owner)._modules[attribute] = _Module(layer)
    quantized = Quantized(stored)
    wanted = by_timm(expected, quantized, list(stored))(random_images())
    assert quantized.asked == list(stored) == list(calibration.surveyed().stream)
    moved = (wanted - build(family)(random_images())).norm()
    # Sums in another order may round a value the other way here and there.
    assert (found - wanted).norm() < 0.1 * moved


class _Module(nn.Module):
    def __init__(self, layer: Call) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class Watched(QuantizedModel):
    """Keeps the ends of every sum and norm before they are quantized."""

    def passed(self, name: str, output: Tensor) -> Tensor:
        if name in self.stream:
            ends = self.__dict__.setdefault("ends", {})
            ends[name] = float(output.min()), float(output.max())
        return super().passed(name, output)


def test_ranges_are_those_of_what_the_layers_before_give(tmp_path):
    calibration = calibrated("vit", "integer:stream=8", tmp_path)
    model = Watched(calibration, _all(calibration, 4))
    model.run(calibration.shown)
    plain = Watched(calibration, {"head": LayerBits(4, 4)})
    plain.run(calibration.shown)
    closer = 0
    for name, quantizer in model.stream.items():
        scale = float(quantizer.qparams.scale)
        steps, floats = ((high - low) / 255 for low, high in (model.ends[name], plain.ends[name]))
        assert steps == pytest.approx(scale, rel=0.05)
        closer += abs(steps - scale) < abs(floats - scale)
    assert closer > 0.8 * len(model.stream)


def _all(calibration: Calibration, bits: int) -> Allocation:
    return uniform(list_layers(calibration.model, SIZE), bits, bits)


def test_it_is_off_by_default_and_then_nothing_of_it_is_there(tmp_path):
    assert preset("integer").stream == 0
    calibration = calibrated("vit", "integer", tmp_path / "off")
    allocation = _all(calibration, 8)
    assert calibration.stream(allocation) == {}
    assert calibration.stored(8).stream() == {}
    found = QuantizedModel(calibration, allocation).run(random_images())
    same = calibrated("vit", "integer:stream=off", tmp_path / "same")
    assert torch.equal(found, QuantizedModel(same, allocation).run(random_images()))
    on = calibrated("vit", "integer:stream=8", tmp_path / "on")
    assert not torch.equal(found, QuantizedModel(on, allocation).run(random_images()))


def test_a_model_of_which_nothing_is_quantized_is_float(tmp_path):
    calibration = calibrated("vit", "integer:stream=8", tmp_path)
    found = QuantizedModel(calibration, {}).run(random_images())
    torch.testing.assert_close(found, calibration.model(random_images()), rtol=1e-5, atol=1e-6)


def test_a_model_of_several_widths_has_the_quantizers_of_its_widest_inputs(tmp_path):
    calibration = calibrated("vit", "integer:stream=8", tmp_path)
    mixed = _all(calibration, 3) | {"head": LayerBits(2, 6)}
    wanted, found = calibration.stored(6).stream(), calibration.stream(mixed)
    assert list(found) == list(wanted)
    for name, quantizer in found.items():
        assert torch.equal(quantizer.qparams.scale, wanted[name].qparams.scale)


@pytest.mark.parametrize("family", SMALL)
def test_a_trace_is_of_the_same_model(family, tmp_path):
    calibration = calibrated(family, "integer:stream=8", tmp_path)
    allocation = _all(calibration, 6)
    trace = QuantizedTrace(random_images(), calibration, allocation)
    quantized = QuantizedModel(calibration, allocation)
    assert torch.equal(trace.logits.detach(), quantized.run(random_images()))
    trace.logits.sum().backward()
    assert trace.images.grad is not None
    assert bool(trace.images.grad.abs().sum() > 0)  # past the rounding


@pytest.mark.parametrize("bits", [8, 16])
def test_its_quantizers_come_back_from_the_file(bits, tmp_path):
    x = torch.randn(2, 5, 7)
    made = Pass(8, stream={"add1": fit_stream(x, bits), "norm": fit_stream(x * 3, bits)})
    save_pass(made, tmp_path / "a8.safetensors")
    found = Stored(tmp_path / "a8.safetensors", torch.device("cpu")).stream()
    assert list(found) == ["add1", "norm"]
    for name, quantizer in found.items():
        assert isinstance(quantizer, Uniform)
        assert quantizer.bits == bits
        assert torch.equal(quantizer(x), made.stream[name](x))
    assert float((found["add1"](x) - x).abs().max()) <= float(x.max() - x.min()) / (2**bits - 1)


def test_what_is_not_finite_is_refused_by_name(tmp_path):
    model = build("vit")
    model.blocks[1].norm2.weight.data[3] = torch.inf
    calibration = Calibration(model, random_images(), preset("integer:stream=8"), tmp_path)
    with pytest.raises(ValueError, match=r"the output of blocks\.1\.norm2 is not finite"):
        calibration.solve([8])
