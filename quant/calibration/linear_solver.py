"""Quantize a layer with weights: its input's quantizer, then its weights on inputs so quantized."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from quant.calibration.origins import Affine
from quant.calibration.presets import Preset
from quant.layers.quantized import FloatWeight, QuantizedLinear, Rounded, Weight
from quant.primitives.bits import MENU
from quant.primitives.floats import float_quantizer
from quant.primitives.formats import SMALL_FLOATS
from quant.primitives.qparams import MAX_BITS, QParams, choose_qparams
from quant.primitives.quantizer_search import (
    TOPS,
    Loss,
    codebooks,
    fit_percentile,
    halves,
    least,
    logarithms,
    percentiles,
    search_range,
)
from quant.primitives.quantizers import Quantizer, Scaled, Uniform, by_size
from quant.primitives.reparameterise import reparameterise
from quant.primitives.rounding import damped, round_floats, round_weight
from quant.primitives.transforms import (
    Rescaling,
    Restoration,
    Rotation,
    Transform,
    centre,
    equalise,
    gain,
    signs,
    transformed,
)

LOSS_ROWS = 768  # rows that decide a range
LARGEST = 64  # of them, the rows of the largest values
SCALES_WORTH = 0.95  # of an error without: what scales found as it runs must be below
WORTH = 0.98  # of a range's error: what a codebook must be below, as a range is quicker


@dataclass(frozen=True, eq=False)
class SolvedLinear:
    """A linear layer at one activation width and several weight widths."""

    quantizer: Quantizer
    transform: Transform | None
    weights: dict[int, Weight]

    def at(self, weight_bits: int) -> QuantizedLinear:
        return QuantizedLinear(self.quantizer, self.weights[weight_bits], self.transform)


def solve_linear(
    preset: Preset,
    kind: str,
    rows: Tensor,
    affine: Affine,
    weight_bits: Sequence[int],
    activation_bits: int,
    generator: torch.Generator,
    norm: Affine | None = None,
    read: Restoration | None = None,
) -> SolvedLinear:
    """Choose everything for a linear layer.

    Inputs in formats that are no plain integers stay as they are: blocks have ranges of their own,
    and 16 bits need no help. Small floats are taken back from a turned stream, which has no
    channels left that stand out, and whose blocks are all alike.

    Args:
        kind: of its input: "norm", "turned", "gelu", "patches" or "plain".
        rows: (n, C), the input where the layers before are quantized already, if they are.
        affine: its weight (K, C) and bias (K,).
        norm: gain and bias (C,) of the LayerNorm before, if there is one.
        read: takes its input back, where it is of a turned stream.
    """
    if activation_bits not in MENU:
        return _as_they_are(preset, rows, affine, weight_bits, activation_bits, read)
    choice = preset.choice(kind)
    if choice in ("repq", "clipped"):
        return _reparameterised(preset, rows, affine, weight_bits, activation_bits)
    transform = _transform(choice, rows, affine[0], norm)
    inputs = rows if transform is None else transform(rows)
    weight, bias = transformed(transform, affine)
    sample = draw(inputs, generator)
    loss = output_loss(sample, weight, preset)
    levels = choice if kind == "gelu" else preset.inputs
    given = preset, levels, inputs, sample, activation_bits, loss
    chosen = _scaled(*given) if preset.tokens == "scaled" else _quantizer(*given)
    weights = _weights(preset, inputs, chosen(inputs), (weight, bias), weight_bits)
    return SolvedLinear(chosen, transform, weights)


def _as_they_are(
    preset: Preset,
    rows: Tensor,
    affine: Affine,
    weight_bits: Sequence[int],
    activation_bits: int,
    read: Restoration | None,
) -> SolvedLinear:
    small = activation_bits in SMALL_FLOATS
    inputs = read(rows) if small and read is not None else rows
    affine = transformed(read, affine) if small else affine
    quantizer = float_quantizer(inputs, activation_bits)
    weights = _weights(preset, inputs, quantizer(inputs), affine, weight_bits)
    return SolvedLinear(quantizer, read if small else None, weights)


def _transform(choice: str, rows: Tensor, weight: Tensor, norm: Affine | None) -> Transform | None:
    size = rows.shape[1]
    flips = signs(size).to(rows)
    if choice == "rotated":
        scale = torch.ones_like(flips) if norm is None else gain(norm[0], weight.norm(dim=0))
        return Rotation(flips / scale, centre(rows / scale) * scale)
    if choice == "centred":
        return Rescaling(-centre(rows), torch.ones_like(flips))
    return equalise(rows, weight, flips) if choice == "equalised" else None


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows of an input (n, C), and for how many rows each stands (n, 1)."""

    rows: Tensor
    shares: Tensor


def draw(inputs: Tensor, generator: torch.Generator) -> Sample:
    """Draw at most `LOSS_ROWS` rows of an input (n, C).

    The rows of the largest values stand for themselves: a few tokens can have values many times
    those of all others, and answers hang on them.
    """
    if len(inputs) <= LOSS_ROWS:
        return Sample(inputs, inputs.new_ones(len(inputs), 1))
    order = (inputs - inputs.mean(0)).abs().amax(1).argsort(descending=True, stable=True)
    rest = LOSS_ROWS - LARGEST
    drawn = torch.randperm(len(inputs) - LARGEST, generator=generator)[:rest].to(inputs.device)
    shares = inputs.new_ones(LOSS_ROWS, 1)
    shares[LARGEST:] = (len(inputs) - LARGEST) / rest
    return Sample(inputs[torch.cat([order[:LARGEST], order[LARGEST:][drawn]])], shares)


def output_loss(sample: Sample, weight: Tensor, preset: Preset) -> Loss:
    """Return the loss of an input's quantizer on a sample, as `preset.ranges` says.

    "output" is the squared error of x W^T; its mean over the sample does not count where the
    bias will be corrected.
    """
    root, shares = _root(weight) if preset.ranges == "output" else None, sample.shares

    def loss(quantizer: Quantizer) -> Tensor:
        error = quantizer(sample.rows) - sample.rows
        if preset.bias:
            error = error - (error * shares).sum(0) / shares.sum()
        return ((error if root is None else error @ root).square() * shares).sum()

    return loss


def _root(weight: Tensor) -> Tensor:
    """Return a matrix R (C, <= C) with R R^T = W^T W, the cheapest to multiply with."""
    if weight.shape[0] <= weight.shape[1]:
        return weight.T
    return torch.linalg.cholesky(damped((weight.T @ weight).double(), 1e-6)).to(weight.dtype)


def _quantizer(
    preset: Preset, levels: str, inputs: Tensor, sample: Sample, bits: int, loss: Loss
) -> Quantizer:
    """Return the best quantizer with such levels for inputs (n, C); one range where none is."""
    low, high = inputs.aminmax()
    found = list(_candidates(levels, sample, low, high, bits)) if low < 0 < high else []
    best = least(found, loss) if found else None
    if best is not None and levels != "codebook":
        return best
    plain = _uniform(preset, inputs, (low, high), bits, loss)
    return plain if best is None or loss(best) > WORTH * loss(plain) else best


def _scaled(
    preset: Preset, levels: str, inputs: Tensor, sample: Sample, bits: int, loss: Loss
) -> Quantizer:
    """Return the best quantizer with a scale a row; one without where it gains too little."""
    plain = _quantizer(preset, levels, inputs, sample, bits, loss)
    (rows, sizes), (every, _) = by_size(sample.rows), by_size(inputs)
    alike = Sample(rows, sample.shares * sizes.square())
    scaled = Scaled(_quantizer(preset, levels, every, alike, bits, lambda q: loss(Scaled(q))))
    return scaled if loss(scaled) < SCALES_WORTH * loss(plain) else plain


def _candidates(
    levels: str, sample: Sample, low: Tensor, high: Tensor, bits: int
) -> Iterable[Quantizer]:
    """Return what may quantize values of both signs."""
    if levels == "codebook" and bits == MAX_BITS:  # all its levels: a range
        highest = sample.rows.max()
        return [Uniform(choose_qparams(low, highest * top, bits)) for top in TOPS]
    if levels == "codebook":
        weights = sample.shares.expand_as(sample.rows)
        return codebooks(sample.rows.flatten(), weights.flatten(), bits, float(low))
    if levels == "adalog":
        return logarithms(float(low), float(high), bits)
    return halves(float(low), float(high), bits) if levels == "halves" else ()


def _uniform(
    preset: Preset, inputs: Tensor, ends: tuple[Tensor, Tensor], bits: int, loss: Loss
) -> Uniform:
    sample = inputs.flatten()
    sample = sample[:: max(1, len(sample) >> 18)]
    if preset.ranges == "percentile":
        q = fit_percentile(sample[None], bits)
        return Uniform(QParams(q.scale[0], q.zero_point[0], bits))
    starts = percentiles(sample, 0.99999), ends
    return least((Uniform(search_range(*start, bits, loss)) for start in starts), loss)


def _weights(
    preset: Preset, inputs: Tensor, encoded: Tensor, affine: Affine, bits: Sequence[int]
) -> dict[int, Weight]:
    """Round a weight (K, C) so that encoded inputs (n, C) give what the inputs themselves give.

    Where the bias is corrected, it makes up for the means, and weights are rounded for the rest.
    """
    weight, bias = affine
    means = (encoded.mean(0), inputs.mean(0)) if preset.bias else None
    if means is not None:
        encoded, inputs = encoded - means[0], inputs - means[1]
    gram = encoded.T @ encoded / len(encoded)
    if preset.ridge is not None:
        outputs = F.linear(inputs, weight)
        weight = ridge(weight, gram, outputs.T @ encoded / len(encoded), preset.ridge)
    layers: dict[int, Weight] = {}
    for width, made in _rounded(weight, bias, bits, gram, preset.rounding):
        if means is not None:
            corrected = bias + (affine[0] @ means[1] - made.values @ means[0])
            made = replace(made, bias=corrected)
        layers[width] = made
    return layers


def _rounded(
    weight: Tensor, bias: Tensor, bits: Sequence[int], gram: Tensor, how: str
) -> Iterator[tuple[int, Weight]]:
    """Yield each width with a weight (K, C) rounded to it; integers all at once, which is quick."""
    integers = [width for width in bits if width in MENU]
    if integers:
        rounded = round_weight(weight, integers, gram, how)
        for width, (codes, scale) in zip(integers, rounded, strict=True):
            yield width, Rounded(codes, scale, bias)
    for width in bits:
        if width not in MENU:
            yield width, FloatWeight(round_floats(weight, width, gram, how), bias)


def ridge(weight: Tensor, gram: Tensor, cross: Tensor, strength: float) -> Tensor:
    """Return ERQ's corrected weight (K, C) (arXiv:2407.06794).

    argmin_V  sum_n |y_n - V a_n|^2 + lambda |V - W|^2 = (cross + lambda W) (gram + lambda I)^-1.

    Args:
        gram: (C, C) of the quantized inputs a;  cross: (K, C), of outputs y and a.
        strength: lambda, relative to the mean diagonal of `gram`.
    """
    matrix = damped(gram.double(), strength)
    added = matrix.diagonal()[0] - gram.diagonal()[0]
    return torch.linalg.solve(matrix, (cross + added * weight).double(), left=False).to(
        weight.dtype
    )


def _reparameterised(
    preset: Preset, rows: Tensor, affine: Affine, weight_bits: Sequence[int], activation_bits: int
) -> SolvedLinear:
    """Reparameterise; keep the clipping, at each width, where it lowers the layer's error."""
    q = fit_percentile(rows.T.contiguous(), activation_bits)
    outputs = F.linear(rows, *affine)

    def solved(limit: float | None) -> SolvedLinear:
        scales = reparameterise(q, limit)
        transform, quantizer = scales.transform, Uniform(scales.tensor)
        inputs, moved = transform(rows), transformed(transform, affine)
        weights = _weights(preset, inputs, quantizer(inputs), moved, weight_bits)
        return SolvedLinear(quantizer, transform, weights)

    limits = (None, preset.clip) if preset.norm == "clipped" else (None,)
    return min(
        map(solved, limits),
        key=lambda layer: float((layer.at(activation_bits)(rows) - outputs).square().mean()),
    )
