"""Quantize one layer: its input's quantizer, then its weights on inputs so quantized."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from quant.calibration.presets import Preset
from quant.calibration.survey import Affine
from quant.layers.quantized import QuantizedLinear, Rounded
from quant.primitives.qparams import QParams, choose_qparams
from quant.primitives.quantizer_search import (
    Loss,
    codebooks,
    fit_percentile,
    halves,
    least,
    logarithms,
    percentiles,
    search_range,
)
from quant.primitives.quantizers import Logarithmic, Quantizer, Uniform
from quant.primitives.reparameterise import reparameterise
from quant.primitives.rounding import damped, round_weight
from quant.primitives.transforms import (
    Rotation,
    Transform,
    centre,
    equalise,
    gain,
    signs,
    transformed,
)

LOSS_ROWS = 768  # rows that decide a range
SQRT2 = 2**0.5


@dataclass(frozen=True, eq=False)
class Rows:
    """What one linear layer saw at calibration.

    Attributes:
        quantized: (n, C), the input where the layers before are quantized already, if they are.
        gain: (C,) of the LayerNorm before, or None.
    """

    quantized: Tensor
    gain: Tensor | None = None


@dataclass(frozen=True, eq=False)
class SolvedLinear:
    """A linear layer at one activation width and several weight widths."""

    quantizer: Quantizer
    transform: Transform | None
    weights: dict[int, Rounded]

    def at(self, weight_bits: int) -> QuantizedLinear:
        return QuantizedLinear(self.quantizer, self.weights[weight_bits], self.transform)


def solve_linear(
    preset: Preset,
    kind: str,
    rows: Rows,
    affine: Affine,
    weight_bits: Sequence[int],
    activation_bits: int,
    generator: torch.Generator,
) -> SolvedLinear:
    """Choose everything for a linear layer.

    Args:
        kind: of its input: "norm", "gelu", "patches" or "plain".
        affine: its weight (K, C) and bias (K,).
    """
    if kind == "norm" and preset.norm in ("repq", "clipped"):
        return _reparameterised(preset, rows, affine, weight_bits, activation_bits)
    transform = _rotation(preset, kind, rows, affine[0])
    inputs = rows.quantized if transform is None else transform(rows.quantized)
    weight, bias = transformed(transform, affine)
    chosen = torch.randint(len(inputs), (min(LOSS_ROWS, len(inputs)),), generator=generator)
    sample = inputs[chosen.to(inputs.device)]
    loss = output_loss(sample, weight, preset)
    quantizer = _input_quantizer(preset, kind, inputs, sample, activation_bits, loss)
    weights = _weights(preset, inputs, quantizer(inputs), (weight, bias), weight_bits)
    return SolvedLinear(quantizer, transform, weights)


def _rotation(preset: Preset, kind: str, rows: Rows, weight: Tensor) -> Transform | None:
    size = rows.quantized.shape[1]
    flips = signs(size).to(rows.quantized)
    if kind == "norm" and preset.norm == "rotated":
        return Rotation(flips / gain(rows.gain, size).to(flips), centre(rows.quantized))
    if kind == "gelu" and preset.gelu == "rotated":
        return Rotation(flips, centre(rows.quantized))
    if kind == "patches" and preset.patches == "equalised":
        return equalise(rows.quantized, weight, flips)
    return None


def output_loss(sample: Tensor, weight: Tensor, preset: Preset) -> Loss:
    """Return the loss of an input's quantizer on a sample (n, C), as `preset.ranges` says.

    "output" is the squared error of x W^T; its mean over the sample does not count where the
    bias will be corrected.
    """
    root = _root(weight) if preset.ranges == "output" else None

    def loss(quantizer: Quantizer) -> Tensor:
        error = quantizer(sample) - sample
        if preset.bias:
            error = error - error.mean(0)
        return (error if root is None else error @ root).square().sum()

    return loss


def _root(weight: Tensor) -> Tensor:
    """Return a matrix R (C, <= C) with R R^T = W^T W, the cheapest to multiply with."""
    if weight.shape[0] <= weight.shape[1]:
        return weight.T
    return torch.linalg.cholesky(damped((weight.T @ weight).double(), 1e-6)).to(weight.dtype)


def _input_quantizer(
    preset: Preset, kind: str, inputs: Tensor, sample: Tensor, bits: int, loss: Loss
) -> Quantizer:
    low, high = (float(t) for t in (inputs.min(), inputs.max()))
    if kind == "gelu" and low < 0 < high:
        if preset.gelu == "adalog":
            return least(logarithms(low, high, bits), loss)
        if preset.gelu == "halves":
            return least(halves(low, high, bits), loss)
        if preset.gelu == "codebook":
            flat = sample.flatten()
            return least(codebooks(flat, torch.ones_like(flat), bits, low), loss)
    return _uniform(preset, inputs, bits, loss)


def _uniform(preset: Preset, inputs: Tensor, bits: int, loss: Loss) -> Uniform:
    sample = inputs.flatten()
    sample = sample[:: max(1, len(sample) >> 18)]
    if preset.ranges == "percentile":
        q = fit_percentile(sample[None], bits)
        return Uniform(QParams(q.scale[0], q.zero_point[0], bits))
    return Uniform(search_range(*percentiles(sample, 0.99999), bits, loss))


def _weights(
    preset: Preset, inputs: Tensor, encoded: Tensor, affine: Affine, bits: Sequence[int]
) -> dict[int, Rounded]:
    """Round a weight (K, C) so that encoded inputs (n, C) give what the inputs themselves give."""
    weight, bias = affine
    middle, kept = (encoded.mean(0), inputs.mean(0)) if preset.bias else (0.0 * bias[:1], None)
    centred = encoded - middle
    gram = centred.T @ centred / len(centred)
    if preset.ridge is not None:
        wanted = F.linear(inputs if kept is None else inputs - kept, weight)
        weight = ridge(weight, gram, wanted.T @ centred / len(centred), preset.ridge)
    found = {}
    rounded = round_weight(weight, bits, gram, preset.rounding)
    for width, (codes, scale) in zip(bits, rounded, strict=True):
        shift = 0.0 if kept is None else affine[0] @ kept - (codes * scale[:, None]) @ middle
        found[width] = Rounded(codes, scale, bias + shift)
    return found


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
    preset: Preset,
    rows: Rows,
    affine: Affine,
    weight_bits: Sequence[int],
    activation_bits: int,
) -> SolvedLinear:
    """Reparameterise; keep the clipping, at each width, where it lowers the layer's error."""
    q = fit_percentile(rows.quantized.T.contiguous(), activation_bits)
    limits = (None, preset.clip) if preset.norm == "clipped" else (None,)
    found: list[tuple[float, SolvedLinear]] = []
    wanted = F.linear(rows.quantized, *affine)
    for limit in limits:
        scales = reparameterise(q, limit)
        transform, quantizer = scales.transform, Uniform(scales.tensor)
        inputs = transform(rows.quantized)
        moved = transformed(transform, affine)
        weights = _weights(preset, inputs, quantizer(inputs), moved, weight_bits)
        solved = SolvedLinear(quantizer, transform, weights)
        error = solved.at(activation_bits)(rows.quantized) - wanted
        found.append((float(error.square().mean()), solved))
    return min(found, key=lambda pair: pair[0])[1]


def solve_scores(
    preset: Preset, query: Tensor, keys: Tensor, bits: int
) -> tuple[Quantizer, Quantizer]:
    """Choose the quantizers of q (S, h, N, d) and k^T (S, h, d, N): least error after softmax."""
    wanted = (query @ keys).softmax(-1)
    groups = _groups(query, preset)

    def error(scores: Tensor) -> Tensor:
        return _total((scores.softmax(-1) - wanted).square(), groups)

    if preset.ranges == "output":
        first = _operand(query, bits, groups, lambda q: error(q(query) @ keys))
        encoded = first(query)
        second = _operand(keys, bits, groups, lambda k: error(encoded @ k(keys)))
        coded_keys = second(keys)
        return _operand(query, bits, groups, lambda q: error(q(query) @ coded_keys)), second
    return _plain(query, bits, groups), _plain(keys, bits, groups)


def solve_mix(
    preset: Preset, probabilities: Tensor, values: Tensor, bits: int
) -> tuple[Quantizer, Quantizer]:
    """Choose the quantizers of softmax's output (S, h, N, N) and of v (S, h, N, d)."""
    wanted = probabilities @ values
    groups = _groups(values, preset)

    def loss(q: Quantizer) -> Tensor:
        return (q(probabilities) @ values - wanted).square().sum()

    first = _softmax_quantizer(preset, probabilities, values, bits, loss)
    if preset.ranges != "output":
        return first, _plain(values, bits, groups)

    encoded = first(probabilities)

    def error(v: Quantizer) -> Tensor:
        return _total((encoded @ v(values) - wanted).square(), groups)

    return first, _operand(values, bits, groups, error)


def _softmax_quantizer(
    preset: Preset, probabilities: Tensor, values: Tensor, bits: int, loss: Loss
) -> Quantizer:
    high = float(probabilities.max())
    if preset.softmax == "log-sqrt2":
        return Logarithmic(high, SQRT2, bits)
    if preset.softmax == "adalog":
        return least(logarithms(0.0, high, bits), loss)
    if preset.softmax == "codebook":
        weight = values.square().sum(-1)[..., None, :].expand_as(probabilities)
        return least(codebooks(probabilities.flatten(), weight.flatten(), bits, 0.0), loss)
    zero = probabilities.new_zeros(())
    tops = [zero + high * f for f in (1.0, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1)]
    return least((Uniform(choose_qparams(zero, top, bits)) for top in tops), loss)


def _groups(x: Tensor, preset: Preset) -> tuple[int, ...]:
    """Return the shape of one range a head, or of one range for all."""
    return (x.shape[1], 1, 1) if preset.per_head and x.dim() == 4 else ()


def _total(x: Tensor, groups: tuple[int, ...]) -> Tensor:
    return x.sum(dim=(0, 2, 3)).view(groups) if groups else x.sum()


def _by_group(x: Tensor, groups: tuple[int, ...]) -> Tensor:
    return x.transpose(0, 1).flatten(1) if groups else x.flatten()[None]


def _operand(x: Tensor, bits: int, groups: tuple[int, ...], loss: Loss) -> Uniform:
    low, high = (t.view(groups) for t in percentiles(_by_group(x, groups), 0.9999))
    return Uniform(search_range(low, high, bits, loss))


def _plain(x: Tensor, bits: int, groups: tuple[int, ...]) -> Uniform:
    q = fit_percentile(_by_group(x, groups), bits)
    return Uniform(QParams(q.scale.view(groups), q.zero_point.view(groups), bits))
