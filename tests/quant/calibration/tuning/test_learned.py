"""One layer as parameters: what it gives, what it passes on, what it becomes."""

import pytest
import torch
from torch import Tensor

from quant.calibration.tuning.learned import LearnedQuantizer, learned
from quant.layers.quantized import FloatWeight, QuantizedLinear, QuantizedProduct, Rounded
from quant.primitives.floats import SmallFloat
from quant.primitives.formats import FP8
from quant.primitives.qparams import QParams
from quant.primitives.quantizers import Logarithmic, Quantizer, Scaled, Uniform, codebook
from quant.primitives.transforms import Rotation, signs

UNIFORM = Uniform(QParams(torch.tensor(0.25), torch.tensor(6.0), 4))
HEADS = Uniform(QParams(torch.tensor([[[0.2]], [[0.3]]]), torch.tensor([[[3.0]], [[8.0]]]), 4))
CODEBOOK = codebook(torch.tensor([100.0, 120.0, 128.0, 150.0]), 0.05, 128, 2)
LOGARITHM = Logarithmic(1.0, 2**0.5, 4, 3.0)
QUANTIZERS: list[Quantizer] = [UNIFORM, HEADS, CODEBOOK, LOGARITHM]
SCALED: list[Quantizer] = [Scaled(levels) for levels in (UNIFORM, CODEBOOK, LOGARITHM)]


def inputs() -> Tensor:
    return torch.randn(3, 2, 7, 8, generator=torch.Generator().manual_seed(0))


def linear(quantizer: Quantizer = UNIFORM, turned: bool = True) -> QuantizedLinear:
    draw = torch.Generator().manual_seed(1)
    codes = torch.randint(-8, 8, (5, 8), generator=draw).to(torch.int8)
    weight = Rounded(codes, torch.rand(5, generator=draw) / 9 + 0.05, torch.randn(5))
    transform = Rotation(signs(8), torch.full((8,), 0.1)) if turned else None
    return QuantizedLinear(quantizer, weight, transform)


@pytest.mark.parametrize("quantizer", [*QUANTIZERS, *SCALED, SmallFloat(FP8, 1.0)])
def test_a_quantizer_not_yet_learned_is_what_it_was(quantizer):
    torch.testing.assert_close(LearnedQuantizer(quantizer)(inputs()), quantizer(inputs()))


@pytest.mark.parametrize("quantizer", [*QUANTIZERS, *SCALED])
def test_a_stretched_quantizer_becomes_what_it_gave(quantizer):
    found = LearnedQuantizer(quantizer)
    found.stretch.data += 0.3
    torch.testing.assert_close(found.made()(inputs()), found(inputs()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("quantizer", [UNIFORM, CODEBOOK])
def test_gradients_pass_inside_the_range_and_stretch_it_outside(quantizer):
    lowest, highest = quantizer(torch.tensor([-99.0, 99.0])).tolist()
    x = inputs().requires_grad_()
    found = LearnedQuantizer(quantizer)
    output = found(x)
    inside = (x > lowest) & (x < highest)
    (slope,) = torch.autograd.grad(output.sum(), x, retain_graph=True)
    assert torch.equal(slope, inside.float())
    (stretch,) = torch.autograd.grad(output.sum(), found.stretch)
    wanted = torch.where(inside, output - x, output).sum()  # LSQ: the error, or the end
    torch.testing.assert_close(stretch, wanted, rtol=1e-4, atol=1e-4)


def test_levels_of_scaled_rows_are_stretched_as_much_as_rows_are_large():
    x, given = inputs().requires_grad_(), torch.randn(3, 2, 7, 8)
    scaled, plain = LearnedQuantizer(Scaled(UNIFORM)), LearnedQuantizer(UNIFORM)
    sizes = x.detach().square().mean(-1, keepdim=True).sqrt()
    (found,) = torch.autograd.grad((given * scaled(x)).sum(), scaled.stretch)
    (wanted,) = torch.autograd.grad((given * sizes * plain(x / sizes)).sum(), plain.stretch)
    assert wanted.abs() > 0.1
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_a_layer_learns_its_codes_scales_and_bias_and_becomes_what_it_gave():
    layer = linear()
    found = learned(layer)
    x = inputs().flatten(1, 2)
    torch.testing.assert_close(found(x), layer(x))
    for name, parameter in found.named_parameters():
        step = 0.7 if name == "codes" else 0.1
        parameter.data += step * torch.randn_like(parameter)
    made = found.made()
    torch.testing.assert_close(made(x), found(x), rtol=1e-4, atol=1e-4)
    before, after = layer.weight, made.weight
    assert isinstance(before, Rounded) and isinstance(after, Rounded)
    assert after.codes.dtype == torch.int8 and not torch.equal(after.codes, before.codes)
    assert bool((after.codes.amax(1) <= before.codes.amax(1)).all())
    assert bool((after.codes.amin(1) >= before.codes.amin(1)).all())


def test_gradients_of_codes_are_those_of_the_weights_they_stand_for():
    layer = linear(turned=False)
    found, x = learned(layer), inputs().flatten(0, 2)
    (slope,) = torch.autograd.grad(found(x).square().sum(), found.codes)
    output, encoded = layer(x), layer.encode(x)
    by_hand = 2 * torch.einsum("nk,nc,k->kc", output, encoded, layer.weight.scale)
    torch.testing.assert_close(slope, by_hand, rtol=1e-4, atol=1e-3)


def test_weights_that_are_no_integers_keep_their_values():
    values = torch.randn(5, 8)
    found = learned(QuantizedLinear(UNIFORM, FloatWeight(values, torch.zeros(5))))
    found.bias.data += 1
    assert torch.equal(found.made().weight.values, values)
    assert torch.equal(found.made().weight.bias, torch.ones(5))


def test_both_ranges_of_a_product_are_learned():
    product = QuantizedProduct(UNIFORM, HEADS)
    found = learned(product)
    x, y = inputs(), inputs().transpose(-2, -1)
    torch.testing.assert_close(found(x, y), torch.einsum("bhnd,bhdm->bhnm", UNIFORM(x), HEADS(y)))
    for parameter in found.parameters():
        parameter.data -= 0.2
    torch.testing.assert_close(found.made()(x, y), found(x, y), rtol=1e-4, atol=1e-4)
