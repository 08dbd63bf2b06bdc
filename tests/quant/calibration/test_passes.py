"""One pass: what each layer is fitted to, and that it sees what the quantized model will see."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lrp.engine.interpreter import Convolution, Linear
from lrp.engine.layers import list_layers
from lrp.propagation.trace import Trace
from quant.calibration import passes as module
from quant.calibration.calibration import Calibration
from quant.calibration.presets import PRESETS, preset
from quant.calibration.store import Stored, file_of
from quant.model.quantized_model import QuantizedModel
from quant.primitives.bits import MENU, uniform
from quant.primitives.quantizers import Codebook, Logarithmic, Scaled, Uniform
from quant.primitives.transforms import Rescaling
from tests.models import SIZE, SMALL, build, random_images


class Watched(QuantizedModel):
    """Keeps the input of every linear layer."""

    def run(self, images: Tensor) -> Tensor:
        self.inputs: dict[str, Tensor] = {}
        return super().run(images)

    def weigh(self, name: str, form: Linear, input: Tensor, *rest: Any) -> Tensor:
        if not isinstance(form, Convolution):
            self.inputs[name] = input
        return super().weigh(name, form, input, *rest)


@pytest.fixture
def seen(monkeypatch) -> list[Tensor]:
    """The rows every linear layer was solved on, in order."""
    kept: list[Tensor] = []

    def solve(chosen, kind, rows, *rest):
        kept.append(rows)
        return original(chosen, kind, rows, *rest)

    original = module.solve_linear
    monkeypatch.setattr(module, "solve_linear", solve)
    return kept


@pytest.fixture
def floats(monkeypatch) -> list[Tensor]:
    """The float half of every operand the passes met, in order."""
    kept: list[Tensor] = []

    def side_by_side(self, plain, quantized, *inputs):
        kept.extend(x.chunk(2)[0] for x in inputs)
        return original(self, plain, quantized, *inputs)

    original = module.Solver._side_by_side
    monkeypatch.setattr(module.Solver, "_side_by_side", side_by_side)
    return kept


def close(found: Tensor, expected: Tensor, share: float) -> bool:
    return bool((found - expected).norm() <= share * expected.norm())


@pytest.mark.parametrize("family", ["vit", "swin"])
@pytest.mark.parametrize("name", ["bitlens", "bitlens-affine"])
def test_the_last_layer_is_fitted_to_what_the_quantized_model_gives_it(
    family, name, seen, floats, tmp_path
):
    model, images = build(family), random_images()
    calibration = Calibration(model, images, preset(name), tmp_path)
    calibration.solve([4])
    layers = list_layers(model, SIZE)
    quantized = Watched(calibration, uniform(layers, 4, 4))
    quantized.run(calibration.shown)
    last = [la.name for la in layers if la.kind == "linear"][-1]
    found = quantized.inputs[last].flatten(0, -2)
    # sums in another order may round a value the other way here and there
    off, moved = (seen[-1] - found).norm(), (floats[-1].flatten(0, -2) - found).norm()
    assert off < 0.3 * moved
    assert off < 0.02 * found.norm()
    plain = Watched(calibration, {})
    plain.run(calibration.shown)
    given, read = floats[-1].flatten(0, -2), calibration.turned.reads.get(last)
    given = given if read is None else read(given)
    assert close(given, plain.inputs[last].flatten(0, -2), 1e-4)


@pytest.mark.parametrize("name", ["lrp-qvit", "repq-vit"])
def test_without_order_every_layer_is_fitted_to_the_float_model(name, seen, tmp_path):
    model, images = build("vit"), random_images()
    Calibration(model, images, preset(name), tmp_path).solve([4])
    operands = Trace(model, images).operands
    linear = [la.name for la in list_layers(model, SIZE) if la.kind == "linear"]
    for layer, rows in zip(linear, seen[1:], strict=True):  # the first is the stem
        wanted = operands[layer][0].detach().reshape(-1, rows.shape[1])
        torch.testing.assert_close(rows, wanted, rtol=1e-4, atol=1e-5)


def stored(calibration: Calibration, bits: int) -> Stored:
    calibration.solve([bits])
    return Stored(calibration.folder / file_of(bits), torch.device("cpu"))


@pytest.mark.parametrize("family", SMALL)
@pytest.mark.parametrize("name", PRESETS)
def test_every_layer_is_solved_at_every_width(calibrated, family, name):
    calibration = calibrated(family, name)
    found, count = stored(calibration, 4), 0
    for layer in list_layers(calibration.model, SIZE):
        assert layer.name in found
        count += 1
        if layer.kind == "matmul":
            assert all(found.operand(layer.name, side).bits == 4 for side in (0, 1))
            continue
        for width in MENU:
            solved = found.solved(layer.name, width)
            assert solved.quantizer.bits == 4
            codes = solved.weights[width].codes.int()
            assert codes.dim() == 2
            assert codes.numel() == layer.parameters
            assert int((codes.amax(1) - codes.amin(1)).max()) < 2**width
            assert torch.isfinite(solved.weights[width].bias).all()
    assert count == len(found.linear) + len(found.products)


def test_presets_choose_the_quantizers_they_name(calibrated):
    kinds = {
        "bitlens": (True, Codebook, Codebook),
        "bitlens-affine": (True, Uniform, Uniform),
        "bitlens-dynamic": (True, (Codebook, Scaled), Codebook),
        "bitlens-tuned": (True, Codebook, Codebook),
        "integer": (True, Uniform, Uniform),
        "lrp-qvit": (False, Uniform, Logarithmic),
        "repq-vit": (False, Uniform, Logarithmic),
    }
    assert set(kinds) == set(PRESETS)
    for name, (turned, gelu, softmax) in kinds.items():
        found = stored(calibrated("vit", name), 4)
        for block in range(2):
            at = f"blocks.{block}"
            for layer in ("attn.qkv", "mlp.fc1"):
                change = found.solved(f"{at}.{layer}", 4).transform
                assert isinstance(change, Rescaling)
                assert bool((change.factor == 1).all()) == turned
            assert isinstance(found.solved(f"{at}.mlp.fc2", 4).quantizer, gelu)
            assert isinstance(found.operand(f"{at}.attn.matmul2", 0), softmax)
            heads = 2 if name.startswith("bitlens") else 1
            for product, side in (("matmul1", 0), ("matmul1", 1), ("matmul2", 1)):
                quantizer = found.operand(f"{at}.attn.{product}", side)
                assert quantizer.qparams.scale.numel() == heads


def test_the_uniform_preset_is_uniform_throughout(calibrated):
    for family in SMALL:
        found = stored(calibrated(family, "bitlens-affine"), 4)
        for name in found.linear:
            assert isinstance(found.solved(name, 4).quantizer, Uniform)
        for name in found.products:
            assert all(isinstance(found.operand(name, side), Uniform) for side in (0, 1))


@pytest.mark.parametrize(
    "change",
    [
        {"gelu": "halves"},
        {"gelu": "adalog", "softmax": "adalog"},
        {"gelu": "uniform", "norm": "tensor"},
        {"norm": "clipped", "ranges": "percentile", "sequential": False},
        {"norm": "repq", "bias": False, "rounding": "nearest", "ridge": 0.01},
        {"ranges": "tensor", "per_head": False, "ridge": 0.1},
        {"centred": False, "softmax": "log-sqrt2"},
        {"heads": False, "softmax": "uniform", "gelu": "rotated"},
    ],
)
def test_every_choice_works_with_the_others(change, tmp_path):
    model, images = build("registers"), random_images()
    calibration = Calibration(model, images, replace(preset("bitlens"), **change), tmp_path)
    found = QuantizedModel(calibration, uniform(list_layers(model, SIZE), 8, 8)).run(images)
    expected = model(images)
    assert 0 < float((found - expected).norm() / expected.norm()) < 0.3  # AdaLog after GELU


def test_bias_correction_takes_the_mean_error_away(seen, tmp_path):
    model, images = build("vit"), random_images()
    calibration = Calibration(model, images, preset("bitlens"), tmp_path)
    calibration.solve([3])
    found, rows = stored(calibration, 3), seen[-1]
    head = calibration.turned.model.head
    for width in (2, 4):
        layer = found.solved("head", width).at(width)
        error = layer(rows) - F.linear(rows, head.weight, head.bias)
        assert error.mean(0).abs().max() < 1e-4
        assert error.abs().max() > 1e-3


def test_more_rows_than_are_kept_are_drawn(monkeypatch, seen, tmp_path):
    monkeypatch.setattr(module, "ROWS", 20)
    model, images = build("registers"), random_images()
    calibration = Calibration(model, images, preset("bitlens"), tmp_path)
    found = QuantizedModel(calibration, uniform(list_layers(model, SIZE), 8, 8)).run(images)
    assert {len(rows) for rows in seen} <= {20, 6}
    assert torch.isfinite(found).all()
