"""Tensors that are constant, zero, dead, or not finite: a finite result, or the layer's name."""

from collections.abc import Callable

import pytest
import timm
import torch
from torch import Tensor, nn

from lrp.engine.layers import list_layers
from quant.calibration.calibration import Calibration
from quant.calibration.presets import PRESETS, preset
from quant.model.quantized_model import QuantizedModel
from quant.primitives.bits import uniform
from tests.models import SIZE as SWIN
from tests.models import build
from tests.models import random_images as swin_images

SIZE = (3, 4, 4)
WIDTHS = (2, 8)
Change = Callable[[dict[str, Tensor]], object]


def random_images(count: int = 3, size: tuple[int, ...] = SIZE) -> Tensor:
    return torch.randn(count, *size, generator=torch.Generator().manual_seed(5))


def small(**keywords: object) -> nn.Module:
    torch.manual_seed(3)
    shape = {"img_size": 4, "patch_size": 2, "embed_dim": 8, "mlp_ratio": 2, "depth": 1}
    model = timm.create_model(
        "vit_tiny_patch16_224", num_classes=5, num_heads=2, **(shape | keywords)
    )
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval().requires_grad_(False)


def results(model: nn.Module, images: Tensor, name: str) -> list[Tensor]:
    """Logits at the ends of the widths, on the images that calibrated and on others."""
    calibration = Calibration(model, images, preset(name))
    layers = list_layers(model, tuple(images.shape[1:]))
    others = random_images(5, images.shape[1:])[3:]
    found = []
    for bits in WIDTHS:
        quantized = QuantizedModel(calibration, uniform(layers, bits, bits))
        found += [quantized.run(images), quantized.run(others)]
    return found


def zeroed(*names: str) -> Change:
    return lambda parameters: [parameters[name].zero_() for name in names]


def rows_zeroed(parameters: dict[str, Tensor]) -> None:
    for name, parameter in parameters.items():
        if parameter.dim() == 2 and name.endswith("weight"):
            parameter[1] = 0  # a dead output channel
            parameter[:, 2] = 0  # and a dead input


FINITE: dict[str, Change] = {
    "a layer of zero weights": zeroed("blocks.0.mlp.fc1.weight", "blocks.0.attn.proj.weight"),
    "queries, keys and values of zero": zeroed(
        "blocks.0.attn.qkv.weight", "blocks.0.attn.qkv.bias"
    ),
    "fc2 and head of zero": zeroed("blocks.0.mlp.fc2.weight", "head.weight", "head.bias"),
    "a stem of zero": zeroed("patch_embed.proj.weight"),
    "a model of zero": lambda p: [v.zero_() for v in p.values()],
    "dead rows and columns": rows_zeroed,
    "dead channels of a norm": lambda p: p["blocks.0.norm1.weight"][2:5].zero_(),
    "a norm without gain": zeroed("blocks.0.norm1.weight", "blocks.0.norm2.weight"),
    "a norm of nearly no gain": lambda p: p["blocks.0.norm1.weight"][2:4].fill_(1e-30),
    "tiny weights": lambda p: p["blocks.0.mlp.fc1.weight"].mul_(1e-20),
    "the tiniest weights": lambda p: p["blocks.0.attn.qkv.weight"].mul_(1e-42),
    "one outlying weight": lambda p: p["blocks.0.mlp.fc1.weight"][0].fill_(1e4),
}


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("case", FINITE)
def test_dead_and_tiny_weights_give_finite_logits(name: str, case: str) -> None:
    model = small()
    FINITE[case](dict(model.named_parameters()))
    for logits in results(model, random_images(), name):
        assert torch.isfinite(logits).all()


IMAGES = {
    "constant": torch.full((3, *SIZE), 0.7),
    "zero": torch.zeros(3, *SIZE),
    "one": random_images(1),
    "one of zeros": torch.zeros(1, *SIZE),
    "tiny": random_images() * 1e-30,
    "large": random_images() * 1e6,
}


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("images", IMAGES)
def test_images_without_content_or_company_give_finite_logits(name: str, images: str) -> None:
    for logits in results(small(), IMAGES[images], name):
        assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", PRESETS)
def test_one_token_gives_finite_logits(name: str) -> None:
    model = small(img_size=2, class_token=False, global_pool="avg")
    for count in (1, 3):
        for logits in results(model, random_images(count, (3, 2, 2)), name):
            assert torch.isfinite(logits).all()


BROKEN = {
    "patch_embed.proj": "patch_embed.proj",
    "blocks.0.attn.qkv": "blocks.0.attn.qkv",
    "blocks.0.attn.proj": "blocks.0.attn.proj",
    "blocks.0.mlp.fc1": "blocks.0.mlp.fc1",
    "blocks.0.mlp.fc2": "blocks.0.mlp.fc2",
    "blocks.0.norm1": "blocks.0.attn.qkv",
    "blocks.0.norm2": "blocks.0.mlp.fc1",
    "norm": "head",
    "head": "head",
}


@pytest.mark.parametrize(
    ("part", "value", "name"),
    [
        *(("weight", "nan", name) for name in PRESETS),
        ("weight", "inf", "bitlens"),
        ("bias", "inf", "bitlens"),
    ],
)
@pytest.mark.parametrize("owner", BROKEN)
def test_what_is_not_finite_names_its_layer(owner: str, part: str, value: str, name: str) -> None:
    model = small()
    dict(model.named_parameters())[f"{owner}.{part}"].flatten()[1] = float(value)
    with pytest.raises(ValueError, match=rf"of {BROKEN[owner]} is not finite"):
        results(model, random_images(), name)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_images_that_are_not_finite_name_the_stem(value: float, name: str) -> None:
    images = random_images()
    images[1, 0, 3, 2] = value
    with pytest.raises(ValueError, match=r"the input of patch_embed\.proj is not finite"):
        results(small(), images, name)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("owner", ["patch_embed.proj", "blocks.0.attn.qkv", "blocks.0.mlp.fc2"])
def test_values_whose_squares_overflow_give_finite_logits_or_name_a_layer(
    owner: str, name: str
) -> None:
    model = small()
    dict(model.named_parameters())[f"{owner}.weight"].mul_(1e20)
    names = [layer.name for layer in list_layers(model, SIZE)]
    try:
        found = results(model, random_images(), name)
    except ValueError as error:
        assert any(layer in str(error) for layer in names)
    else:
        assert all(torch.isfinite(logits).all() for logits in found)


@pytest.mark.parametrize("name", PRESETS)
def test_huge_images_give_finite_logits_or_name_a_layer(name: str) -> None:
    model = small()
    names = [layer.name for layer in list_layers(model, SIZE)]
    try:
        found = results(model, random_images() * 1e20, name)
    except ValueError as error:
        assert any(layer in str(error) for layer in names)
    else:
        assert all(torch.isfinite(logits).all() for logits in found)


@pytest.mark.parametrize("name", ["bitlens", "lrp-qvit"])
def test_dead_windows_of_a_swin(name: str) -> None:
    model = build("swin")
    model.layers[0].blocks[0].attn.qkv.weight.zero_()
    model.layers[0].blocks[1].attn.relative_position_bias_table.zero_()
    model.layers[1].downsample.norm.weight.zero_()
    calibration = Calibration(model, torch.zeros(2, *SWIN), preset(name))
    quantized = QuantizedModel(calibration, uniform(list_layers(model, SWIN), 4, 4))
    assert torch.isfinite(quantized.run(swin_images())).all()
