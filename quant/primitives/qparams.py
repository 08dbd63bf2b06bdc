"""Scale and zero point of a uniform affine quantizer, and the arithmetic on them.

The granularity is the shape of both, which broadcast to the tensor:

    ()          one range for the whole tensor
    (C,)        one a channel of an input (..., C)
    (K, 1)      one a row of a weight (K, C)
    (h, 1, 1)   one a head of an attention product's operand (B, h, N, d)
    (g,)        one a row of a sample (g, n), while ranges are searched
"""

from dataclasses import dataclass

import torch
from torch import Tensor

MIN_BITS, MAX_BITS = 2, 8
WIDE = 16  # of what is added up and normalised; no layer has it


@dataclass(frozen=True, eq=False)
class QParams:
    """Uniform affine quantization parameters: x ~ scale * (q - zero_point), 0 <= q <= 2^bits - 1.

    Attributes:
        scale: of one of the granularities above; positive.
        zero_point: shaped as `scale`; whole numbers, held as floats. May lie outside [0, 2^bits),
            where a range does not reach zero.
        bits: 2 to 8, or 16.
    """

    scale: Tensor
    zero_point: Tensor
    bits: int

    @property
    def levels(self) -> int:
        """The largest integer, 2^bits - 1."""
        return 2**self.bits - 1


def check_bits(bits: int) -> None:
    """Check that `bits` is a width we quantize to.

    Raises:
        ValueError: it is not a whole number from 2 to 8.
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or not MIN_BITS <= bits <= MAX_BITS:
        raise ValueError(f"{bits!r} bits: use a whole number from {MIN_BITS} to {MAX_BITS}")


def choose_qparams(low: Tensor, high: Tensor, bits: int) -> QParams:
    """Choose the parameters that cover [low, high], both of the granularity wanted.

    scale = (high - low) / (2^b - 1);  zero_point = round(-low / scale).
    A range of no width is stretched to reach zero, so that a constant is kept exactly.

    Raises:
        ValueError: a bound is not finite, or `bits` is not 2 to 8 or 16.
    """
    if bits != WIDE:
        check_bits(bits)
    if not (torch.isfinite(low).all() and torch.isfinite(high).all()):
        raise ValueError("a range is not finite: the tensor holds an infinite value or NaN")
    # A width lost in rounding would make a scale of 0 and a zero point without bound.
    flat = high - low <= 1e-6 * torch.maximum(low.abs(), high.abs())
    low = torch.where(flat, low.clamp_max(0), low)
    high = torch.where(flat, high.clamp_min(0), high)
    scale = (high - low) / (2**bits - 1)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return QParams(scale, torch.round(-low / scale), bits)


def quantize(x: Tensor, q: QParams) -> Tensor:
    """Return q = clamp(round(x / scale) + zero_point, 0, 2^b - 1), x (..., C) as floats."""
    return (x / q.scale).round_().add_(q.zero_point).clamp_(0, q.levels)


def dequantize(integers: Tensor, q: QParams) -> Tensor:
    """Return scale * (q - zero_point)."""
    return (integers - q.zero_point) * q.scale


def fake_quantize(x: Tensor, q: QParams) -> Tensor:
    """Quantize and dequantize x (..., C)."""
    return quantize(x, q).sub_(q.zero_point).mul_(q.scale)
