"""A state for torchao: loaded by plain timm and torchao, it answers as Bitlens measured."""

import io

import pytest
import timm
import torch

from lrp.engine.layers import list_layers
from quant.model.quantized_model import QuantizedModel
from quant.primitives.bits import LayerBits, uniform
from quant.primitives.formats import DYNAMIC, FLOAT
from tests.models import SIZE, SMALL, build, random_images
from tests.quant.export_requests import asked

torchao = pytest.importorskip("torchao.quantization")
module = pytest.importorskip("quant.export.torchao_tensors")


def reloaded(family: str, content: bytes) -> torch.nn.Module:
    """As a user does: timm's model, and the state of the file."""
    name, settings = SMALL[family]
    model = timm.create_model(name, img_size=SIZE[1], num_classes=5, **settings).eval()
    saved = torch.load(io.BytesIO(content), weights_only=True)
    for key, value in saved["state"].items():
        owner, _, part = key.rpartition(".")
        if getattr(model.get_submodule(owner), part, None) is None:
            parameter = torch.nn.Parameter(value, False)
            model.get_submodule(owner).register_parameter(part, parameter)
    model.load_state_dict(saved["state"], assign=True)
    return model.requires_grad_(False)


@pytest.mark.parametrize("bits", [2, 4, 6, 8])  # families by turns
def test_a_state_answers_as_measured(bits: int) -> None:
    family = list(SMALL)[bits % 3]
    layers = list_layers(build(family), SIZE)
    request = asked(family, uniform(layers, bits, DYNAMIC), "bitlens")
    exported = module.export_torchao(request)
    own = QuantizedModel(request.calibration, request.allocation)
    logits = reloaded(family, exported.content)(random_images())
    torch.testing.assert_close(logits, own.run(random_images()), rtol=1e-4, atol=1e-5)
    tensors = torch.load(io.BytesIO(exported.content), weights_only=True)["state"]
    held = [t for t in tensors.values() if isinstance(t, torchao.IntxUnpackedToInt8Tensor)]
    assert len(held) == sum(layer.kind == "linear" for layer in layers)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    assert all(low <= int(t.qdata.min()) and int(t.qdata.max()) <= high for t in held)
    assert exported.report["check"]["equal"] == 1.0


def test_the_same_bits_by_torchaos_own_rounding() -> None:
    """The lines that a report gives run as they stand."""
    layers = list_layers(build("vit"), SIZE)
    request = asked(
        "vit", uniform(layers, 4, DYNAMIC) | {"head": LayerBits(FLOAT, FLOAT)}, "bitlens"
    )
    model = build("vit")
    exec(module.config(request), {"model": model, "torch": torch})
    kinds = {n: type(m.weight) for n, m in model.named_modules() if type(m) is torch.nn.Linear}
    assert kinds.pop("head") is torch.nn.Parameter
    assert set(kinds.values()) == {torchao.IntxUnpackedToInt8Tensor}
    assert torch.isfinite(model(random_images())).all()


@pytest.mark.parametrize(
    ("bits", "said"),
    [
        ({"head": LayerBits(4, 4)}, "head is 4 bits|head is 4: torchao has weights"),
        ({"patch_embed.proj": LayerBits(4, DYNAMIC)}, "patch_embed.proj must stay in float"),
        ({"blocks.0.attn.matmul1": LayerBits(8, 8)}, "matmul1 must stay in float"),
    ],
)
def test_what_torchao_has_no_room_for_is_named(bits, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        module.export_torchao(asked("vit", bits, "bitlens"))
