"""Integer layers inside whole models: the same logits as the simulation, from one calibration."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from assets.models.load import LoadedModel, load_model
from assets.sets.image_set import load_images
from assets.sets.selection import Draw, pictures
from lrp.engine.layers import list_layers
from quant.calibration.calibration import Calibration
from quant.calibration.presets import PRESETS, preset
from quant.layers.integer import reason
from quant.layers.runtime import RunningLinear
from quant.model.quantized_model import QuantizedModel
from quant.primitives.bits import Allocation, LayerBits, uniform
from tests.models import SIZE, SMALL, random_images

NO_INTEGERS = reason(code=15, weight=8)
needs_integers = pytest.mark.skipif(NO_INTEGERS is not None, reason=str(NO_INTEGERS))


def reasons(calibration: Calibration, allocation: Allocation) -> dict[str, str | None]:
    """Why each linear layer does not multiply integers."""
    layers = {name: calibration.layer(name, bits) for name, bits in allocation.items()}
    return {n: la.reason for n, la in layers.items() if isinstance(la, RunningLinear)}


@needs_integers
@pytest.mark.parametrize("bits", [(4, 4), (8, 8)])
@pytest.mark.parametrize(
    ("name", "family"),
    [*(("bitlens", family) for family in SMALL), *((name, "vit") for name in PRESETS)],
)
def test_both_paths_give_the_same_logits(calibrated, name, family, bits):
    images, found = random_images(8), []
    for integers in (True, False):
        calibration = calibrated(family, name, integers)
        allocation = uniform(list_layers(calibration.model, SIZE), *bits)
        why = reasons(calibration, allocation)
        if integers and reason(code=2 ** bits[1] - 1, weight=2 ** (bits[0] - 1)) is None:
            assert any(answer is None for answer in why.values())
        if not integers:
            assert all(answer is not None for answer in why.values())
        found.append(QuantizedModel(calibration, allocation).run(images))
    assert torch.equal(*found)


@needs_integers
def test_mixed_widths_give_the_same_logits(calibrated):
    found = []
    for integers in (True, False):
        calibration = calibrated("deit", "bitlens", integers)
        layers = list_layers(calibration.model, SIZE)
        bits = [LayerBits((2, 4, 8)[i % 3], (8, 4)[i % 2]) for i in range(len(layers))]
        allocation = {la.name: b for la, b in zip(layers, bits, strict=True)}
        found.append(QuantizedModel(calibration, allocation).run(random_images()))
    assert torch.equal(*found)


def both(
    loaded: LoadedModel, data: str | Path | None, counts: tuple[int, int], folder: Path
) -> tuple[Tensor, Tensor]:
    """Logits in integers and simulated at W4A4, on other images than those calibrated on."""
    every = load_images(data, loaded)
    draw = Draw(loaded, None, None, *counts, open=lambda *asked: every)
    images, found = torch.cat(list(pictures(draw.calibrating))), []
    allocation = uniform(list_layers(loaded.model, loaded.input_size), 4, 4)
    for integers in (True, False):
        calibration = Calibration(loaded.model, images, preset("bitlens"), folder, integers)
        quantized = QuantizedModel(calibration, allocation)
        found.append(torch.cat([quantized.run(batch) for batch in pictures(draw.measured)]))
    return found[0], found[1]


@needs_integers
@pytest.mark.parametrize("model", ["digits-vit", "digits-swin"])
def test_both_paths_agree_on_200_digits(model, tmp_path):
    integers, simulated = both(load_model(model), None, (8, 200), tmp_path)
    assert len(integers) == 200
    assert torch.equal(integers, simulated)
    assert torch.equal(integers.argmax(1), simulated.argmax(1))
    assert len(integers.argmax(1).unique()) > 5  # it does tell images apart


@needs_integers
@pytest.mark.slow
@pytest.mark.real_data
def test_both_paths_agree_on_real_deit(real_data, tmp_path):
    name = "deit_tiny_patch16_224"
    loaded = load_model(name, real_data / f"{name}.safetensors")
    folder = real_data / "imagenet_sample" / "val"
    integers, simulated = both(loaded, folder, (2, 16), tmp_path)
    assert len(integers) == 16
    assert torch.equal(integers, simulated)
    assert torch.equal(integers.argmax(1), simulated.argmax(1))
