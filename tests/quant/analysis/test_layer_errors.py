"""A layer's errors: against dequantized operands put through the layer by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from quant.analysis.layer_errors import drift_of, errors_of, stream_sqnr
from quant.calibration.calibration import Calibration
from quant.calibration.presets import preset
from quant.layers.quantized import Rounded
from quant.model.float_layers import Replay, Seen
from quant.primitives.bits import LayerBits
from quant.primitives.quantizers import Uniform
from quant.primitives.transforms import Transform
from tests.models import SIZE, build, random_images

WIDTHS = (3, 8)
LINEAR = ("blocks.0.attn.qkv", "blocks.1.attn.proj", "blocks.0.mlp.fc1", "blocks.1.mlp.fc2", "head")
PRODUCTS = ("blocks.0.attn.matmul1", "blocks.1.attn.matmul2")
PRESETS = ("bitlens", "repq-vit")
Found = tuple[Calibration, dict[str, Seen]]


@pytest.fixture(params=PRESETS)
def found(calibrated, request) -> Found:
    """A calibration with passes at two widths, and what its layers see."""
    calibration = calibrated("vit", request.param)
    calibration.solve(WIDTHS)
    return calibration, Replay(calibration.surveyed(), random_images()).seen


def passes(calibration: Calibration):
    return {width: calibration.stored(width) for width in WIDTHS}


def brought_back(turned: Transform | None, rounded: Rounded) -> tuple[Tensor, Tensor]:
    """The weight (K, C) and bias for the float model's input, from what each unit vector gives."""
    units = torch.eye(rounded.codes.shape[1], dtype=torch.double)
    rows = torch.cat([torch.zeros_like(units[:1]), units]).float()
    moved = (rows if turned is None else turned(rows)).double()
    given = F.linear(moved, rounded.codes.double() * rounded.scale[:, None], rounded.bias.double())
    return (given[1:] - given[0]).T.float(), given[0].float()


def by_hand(calibration: Calibration, seen: Seen, width: int):
    """Weight and bias of weights alone and of both, and the dequantized input."""
    (x,) = seen.operands
    wide, narrow = (calibration.stored(w).solved(seen.name, width) for w in (8, width))
    moved = x if narrow.transform is None else narrow.transform(x)
    coded = narrow.quantizer(moved)
    coded = coded if narrow.transform is None else narrow.transform.inverse(coded)
    weights = [brought_back(s.transform, s.weights[width]) for s in (wide, narrow)]
    return weights[0], weights[1], coded


def close(found: Tensor, expected: Tensor) -> bool:
    return bool((found - expected).norm() < 1e-3 * expected.norm())


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("width", WIDTHS)
def test_a_linear_layer_by_hand(found, name, width):
    calibration, every = found
    seen = every[name]
    (x,), (weight, bias) = seen.operands, seen.affine
    alone, together, coded = by_hand(calibration, seen, width)
    errors = errors_of(seen, passes(calibration), width, corrected=False)
    wanted = x @ weight.T + bias
    torch.testing.assert_close(errors.wanted, wanted)
    assert close(errors.weights(), F.linear(x, *alone) - wanted)
    assert close(errors.input(), F.linear(coded, weight, bias) - wanted)
    assert close(errors.both(), F.linear(coded, *together) - wanted)


def test_weights_alone_do_not_depend_on_the_inputs_pass(found):
    calibration, every = found
    stored = passes(calibration)
    narrow, wide = (stored[width].solved("head", 3).weights[3] for width in WIDTHS)
    assert not torch.equal(narrow.bias, wide.bias)
    only = errors_of(every["head"], {8: stored[8], 3: stored[8]}, 3, corrected=False)
    both = errors_of(every["head"], stored, 3, corrected=False)
    assert torch.equal(only.weights(), both.weights())
    assert not torch.equal(only.input(), both.input())


@pytest.mark.parametrize("width", WIDTHS)
def test_a_convolution_by_hand(found, width):
    """Patches do not overlap: put back in their places, they make an image to convolve."""
    calibration, every = found
    seen, layer = every["patch_embed.proj"], calibration.turned.model.patch_embed.proj
    alone, together, coded = by_hand(calibration, seen, width)
    sides = {"kernel_size": layer.kernel_size, "stride": layer.stride}
    image = F.fold(coded.transpose(1, 2), SIZE[1:], **sides)
    plain = F.fold(seen.operands[0].transpose(1, 2), SIZE[1:], **sides)
    assert torch.equal(plain, random_images())

    def convolved(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        output = F.conv2d(x, weight.view(layer.weight.shape), bias, layer.stride)
        return output.flatten(2).transpose(1, 2)

    wanted = convolved(plain, layer.weight, layer.bias)
    errors = errors_of(seen, passes(calibration), width, corrected=False)
    torch.testing.assert_close(errors.wanted, wanted)
    assert close(errors.weights(), convolved(plain, *alone) - wanted)
    assert close(errors.input(), convolved(image, layer.weight, layer.bias) - wanted)
    assert close(errors.both(), convolved(image, *together) - wanted)


def dequantized(x: Tensor, quantizer: Uniform) -> Tensor:
    scale, zero = quantizer.qparams.scale, quantizer.qparams.zero_point
    codes = torch.clamp(torch.round(x / scale) + zero, 0, 2**quantizer.bits - 1)
    return scale * (codes - zero)


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("width", WIDTHS)
def test_an_attention_product_by_hand(found, name, width):
    """The second factor stands for weights; both are quantized by the pass of that width."""
    calibration, every = found
    a, b = every[name].operands
    first, second = (calibration.stored(width).operand(name, side) for side in (0, 1))
    assert first.bits == second.bits == width
    coded_a = dequantized(a, first) if isinstance(first, Uniform) else first(a)
    coded_b = dequantized(b, second)
    errors = errors_of(every[name], passes(calibration), width, corrected=True)
    torch.testing.assert_close(errors.wanted, a @ b)
    assert close(errors.weights(), a @ coded_b - a @ b)
    assert close(errors.input(), coded_a @ b - a @ b)
    assert close(errors.both(), coded_a @ coded_b - a @ b)


@pytest.mark.parametrize("name", [*LINEAR, "patch_embed.proj"])
def test_a_corrected_bias_takes_the_mean_error_off_and_no_more(found, name):
    calibration, every = found
    seen, stored = every[name], passes(calibration)
    plain = errors_of(seen, stored, 3, corrected=False).input().flatten(0, -2)
    corrected = errors_of(seen, stored, 3, corrected=True).input().flatten(0, -2)
    mean = torch.stack(list(plain)).sum(0) / len(plain)
    torch.testing.assert_close(corrected, plain - mean, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(drift_of(seen, stored[3]), mean, rtol=1e-3, atol=1e-5)
    assert float(mean.norm()) > 1e-3  # there was something to take off


@pytest.mark.parametrize("family", ["vit", "swin"])
def test_squares_of_the_two_operands_errors_add_up(calibrated, family):
    """What losses are made by. Rounding of weights makes up for some of the input's error.

    The head reads a row an image: too few for two errors to be apart.
    """
    calibration = calibrated(family)
    calibration.solve(WIDTHS)
    seen = Replay(calibration.surveyed(), random_images()).seen
    for name, one in seen.items():
        if name.startswith("head"):
            continue
        sizes = []
        for width in WIDTHS:
            errors = errors_of(one, passes(calibration), width, corrected=True)
            parts = errors.weights(), errors.input(), errors.both()
            sizes.append([float(part.square().sum()) for part in parts])
        weights, inputs, both = sizes[0]
        assert both == pytest.approx(weights + inputs, rel=0.5), name
        assert all(wide < 0.1 * narrow for narrow, wide in zip(*sizes, strict=True)), name


def test_a_layers_errors_are_those_of_the_running_layer():
    calibration = Calibration(build("swin"), random_images(), preset("repq-vit"))
    calibration.solve([4])
    stored = {4: calibration.stored(4)}
    for name, seen in Replay(calibration.surveyed(), random_images()).seen.items():
        errors = errors_of(seen, stored, 4, corrected=False)
        running = calibration.quantized(name, LayerBits(4, 4))
        assert torch.equal(errors.both(), running(*seen.operands) - errors.wanted), name


@pytest.mark.parametrize(("name", "bits"), [("repq-vit", 8), ("repq-vit", 16), ("integer", 8)])
def test_sums_and_norms_have_the_error_of_their_grid(name, bits, tmp_path):
    images = random_images()
    calibration = Calibration(build("vit"), images, preset(f"{name}:stream={bits}"), tmp_path)
    model = calibration.surveyed().turned.model  # of the preset integer, with its stream turned
    found = stream_sqnr(calibration, images)
    assert list(found) == list(calibration.surveyed().stream)
    x = model._pos_embed(model.patch_embed(images)).double()
    step = (x.max() - x.min()) / (2**bits - 1)
    noise = ((x / step).round() * step - x).square().sum()
    assert found["add1"] == pytest.approx(float(10 * (x.square().sum() / noise).log10()), abs=0.3)
    assert float(stream_sqnr(calibration, images[:1])["add1"]) > 6 * bits - 25


def test_without_integer_sums_there_are_no_errors_of_them(calibrated):
    calibration = calibrated("vit", "repq-vit")
    assert stream_sqnr(calibration, random_images()) == {}
