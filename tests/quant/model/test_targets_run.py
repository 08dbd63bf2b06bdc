"""Models run under every target, and their layers are as sensitive as runs by hand say."""

import numpy as np
import pytest
import torch

from lrp.engine.layers import list_layers
from quant.analysis.sensitivity_estimation import find
from quant.analysis.widths import widths_of
from quant.calibration.passes import PALETTED, needed
from quant.calibration.store import file_of
from quant.model.quantized_model import QuantizedModel
from quant.primitives.bits import LayerBits
from quant.primitives.formats import (
    BF16,
    FLOAT,
    FP8,
    HALF,
    MXFP4,
    NVFP4,
    PALETTES,
    label,
    prices,
)
from quant.primitives.targets import TARGETS, Target
from tests.models import SIZE, SMALL, random_images

QUICK = "lrp-qvit:norm=tensor"
EVERY = pytest.mark.parametrize("to", TARGETS.values(), ids=TARGETS)


def dearest(to: Target, layers, step: int):
    """An allocation of a target's pairs by price, from the dearest."""
    found = {}
    for layer in layers:
        pairs = to.of(layer)
        ordered = sorted(pairs, key=lambda pair: -prices(np.array(pair)).prod())
        found[layer.name] = LayerBits(*ordered[min(step, len(ordered) - 1)])
    return found


def divergence(plain, logits) -> float:
    log, moved = (x.double().log_softmax(1) for x in (plain, logits))
    return float((log.exp() * (log - moved)).sum(1).mean())


@EVERY
@pytest.mark.parametrize("family", SMALL)
def test_models_run_under_every_target(calibrated, family: str, to: Target) -> None:
    calibration, images = calibrated(family, QUICK), random_images()
    layers = list_layers(calibration.model, SIZE)
    plain = calibration.model(images)
    for step, most in ((0, 0.02), (1, 2.0)):
        allocation = dearest(to, layers, step)
        logits = QuantizedModel(calibration, allocation).run(images)
        assert torch.isfinite(logits).all()
        assert divergence(plain, logits) < most


@pytest.mark.parametrize("family", SMALL)
def test_layers_in_float_are_layers_left_out(calibrated, family: str) -> None:
    calibration, images = calibrated(family, QUICK), random_images()
    layers = list_layers(calibration.model, SIZE)
    some = {la.name: LayerBits(8, 8) for la in layers[::2]}
    rest = {la.name: LayerBits(FLOAT, FLOAT) for la in layers[1::2]}
    said, left = (QuantizedModel(calibration, bits).run(images) for bits in (some | rest, some))
    assert torch.equal(said, left)
    whole = QuantizedModel(calibration, dict.fromkeys(rest, LayerBits(32, 32)))
    torch.testing.assert_close(whole.run(images), calibration.model(images), rtol=1e-4, atol=1e-5)
    assert needed(rest) == set()


@pytest.mark.parametrize("code", [FP8, MXFP4, NVFP4, BF16, HALF], ids=label)
def test_float_formats_are_rounded_by_plain_modules_alike(calibrated, code: int) -> None:
    """Each linear layer: its input through the format, then torch's own linear layer."""
    calibration = calibrated("vit", QUICK)
    stored = calibration.stored(code)
    name = "blocks.1.mlp.fc2"
    layer = calibration.quantized(name, LayerBits(code, code))
    x = torch.randn(2, 5, layer.weight.values.shape[1])
    plain = torch.nn.Linear(*layer.weight.values.T.shape)
    plain.weight.data, plain.bias.data = layer.weight.values, layer.weight.bias
    quantizer, transform = stored.input(name)
    assert transform is None
    expected = plain(quantizer(x))
    running = calibration.layer(name, LayerBits(code, code))
    torch.testing.assert_close(running(x), expected, rtol=1e-5, atol=1e-6)


def test_palettes_are_passes_of_their_own(calibrated) -> None:
    calibration = calibrated("vit", QUICK)
    bits = LayerBits(PALETTES[4], 8)
    layer = calibration.quantized("head", bits)
    assert all(2 <= len(row.unique()) <= 16 for row in layer.weight.values)
    assert needed({"head": bits}) == {8 + PALETTED}
    assert file_of(8 + PALETTED) == "a8-palettes.safetensors"
    assert file_of(MXFP4) == "aMXFP4.safetensors"
    assert file_of(4) == "a4.safetensors"


@pytest.mark.parametrize("key", ["mx", "coreml", "torchao", "weights"])
def test_measured_sensitivities_are_runs_with_one_side_quantized(calibrated, key: str) -> None:
    """On the side of inputs, where a run by hand needs no bias of its own."""
    calibration, to = calibrated("vit", QUICK), TARGETS[key]
    found = find(calibration, "measured", 2, widths=widths_of(to))
    assert found.widths == tuple(widths_of(to)) and FLOAT not in found.widths
    assert (found.weight >= 0).all() and (found.activation >= 0).all()
    images = calibration.images[:2]
    plain = calibration.model(images)
    name = "head"
    row = found.names.index(name)
    for column, width in enumerate(found.widths):
        number = widths_of(to)[width][0].inputs
        if number is None:
            assert found.activation[row, column] == 0
            continue
        quantizer, transform = calibration.stored(number).input(name)
        assert transform is None
        head = calibration.model.get_submodule(name)
        hook = head.register_forward_pre_hook(lambda _m, args, q=quantizer: (q(args[0]),))
        logits = calibration.model(images)
        hook.remove()
        assert found.activation[row, column] == pytest.approx(
            divergence(plain, logits), rel=0.02, abs=1e-7
        )
