"""Quantize an attention product: the quantizers of both its operands."""

from torch import Tensor

from quant.calibration.presets import Preset
from quant.primitives.bits import MENU
from quant.primitives.floats import float_quantizer
from quant.primitives.qparams import QParams, choose_qparams
from quant.primitives.quantizer_search import (
    Loss,
    codebooks,
    fit_percentile,
    least,
    logarithms,
    percentiles,
    search_range,
)
from quant.primitives.quantizers import Logarithmic, Quantizer, Uniform

SQRT2 = 2**0.5
TOPS = (1.0, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1)  # of a range from 0, as shares of the largest


def solve_scores(
    preset: Preset, query: Tensor, keys: Tensor, bits: int
) -> tuple[Quantizer, Quantizer]:
    """Choose the quantizers of q (S, h, N, d) and k^T (S, h, d, N): least error after softmax."""
    if bits not in MENU:
        return _floats(query, keys, bits)
    expected = (query @ keys).softmax(-1)
    groups = _groups(query, preset)

    def error(scores: Tensor) -> Tensor:
        return _total((scores.softmax(-1) - expected).square(), groups)

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
    if bits not in MENU:
        return _floats(probabilities, values, bits)
    expected = probabilities @ values
    groups = _groups(values, preset)

    def loss(q: Quantizer) -> Tensor:
        return (q(probabilities) @ values - expected).square().sum()

    first = _softmax_quantizer(preset, probabilities, values, bits, loss)
    if preset.ranges != "output":
        return first, _plain(values, bits, groups)

    encoded = first(probabilities)

    def error(v: Quantizer) -> Tensor:
        return _total((encoded @ v(values) - expected).square(), groups)

    return first, _operand(values, bits, groups, error)


def _floats(first: Tensor, second: Tensor, code: int) -> tuple[Quantizer, Quantizer]:
    """Return the quantizers of a format that is no plain integer; a product sums over columns."""
    return float_quantizer(first, code), float_quantizer(second, code, axis=-2)


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
    ranges = (choose_qparams(zero, zero + high * top, bits) for top in TOPS)
    return least((Uniform(qparams) for qparams in ranges), loss)


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
