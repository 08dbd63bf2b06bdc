"""Quantizers for the inputs of layers. Each is chosen at calibration and applied in evaluation."""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from quant.primitives.qparams import QParams, fake_quantize

GRID = 255  # codebooks hold multiples of an 8-bit step, which integer hardware can look up


class Quantizer(Protocol):
    """Quantize and dequantize an operand of a layer."""

    @property
    def bits(self) -> int: ...

    def __call__(self, x: Tensor) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Uniform:
    """A uniform affine quantizer, of the whole tensor or with parameters that broadcast to it."""

    qparams: QParams

    @property
    def bits(self) -> int:
        return self.qparams.bits

    def __call__(self, x: Tensor) -> Tensor:
        return fake_quantize(x, self.qparams)


@dataclass(frozen=True)
class Logarithmic:
    """A quantizer whose levels are powers of a base, for values of at least -shift.

    q = clamp(round(-log_base((x + shift) / scale)), 0, 2^b - 1), and zero where q = 2^b - 1;
    x ~ scale * base^-q - shift. RepQ-ViT's log-sqrt2 (arXiv:2212.08254) has base sqrt(2) and no
    shift, AdaLog (arXiv:2407.12951) searches 2^(k / 37) and shifts what GELU gives.
    """

    scale: float
    base: float
    bits: int
    shift: float = 0.0

    def __call__(self, x: Tensor) -> Tensor:
        tiny, step, last = torch.finfo(x.dtype).tiny, math.log2(self.base), 2**self.bits - 1
        q = (x + self.shift).div_(self.scale).clamp_min_(tiny).log2_().mul_(-1 / step)
        q = q.round_().clamp_(0, last)
        kept = q < last
        return q.mul_(-step).exp2_().mul_(self.scale).mul_(kept).sub_(self.shift)


@dataclass(frozen=True, eq=False)
class Codebook:
    """A quantizer to 2^b levels that are whole steps of an 8-bit grid.

    x is rounded to the grid, clamp(round(x / step + zero_point), 0, 255); each cell is looked up.

    Attributes:
        table: (256,), the level of each cell: whole numbers 0 to 255 held as floats, rising,
            at most 2^b different ones.
        step: of the grid.
        zero_point: the level that stands for zero;  x ~ step * (level - zero_point).
    """

    table: Tensor
    step: float
    zero_point: int
    bits: int

    def __call__(self, x: Tensor) -> Tensor:
        cells = x.mul(1 / self.step).add_(self.zero_point).round_().clamp_(0, GRID)
        values = (self.table - self.zero_point) * self.step
        return values.index_select(0, cells.to(torch.int32).flatten()).view_as(x)


@dataclass(frozen=True, eq=False)
class Scaled:
    """A quantizer of rows (..., C), tokens, by their size, which is found as it runs.

    x ~ size * levels(x / size), with the size of `by_size`: large tokens and small ones share the
    levels. A row of zeros stays one.

    Attributes:
        levels: for rows of size 1.
    """

    levels: Quantizer

    @property
    def bits(self) -> int:
        return self.levels.bits

    def __call__(self, x: Tensor) -> Tensor:
        rows, sizes = by_size(x)
        return self.levels(rows).mul_(sizes)


def by_size(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows x (..., C) divided by their sizes, and the sizes (..., 1): root mean squares.

    Gradients take the sizes for constants.
    """
    sizes = torch.linalg.vector_norm(x.detach(), dim=-1, keepdim=True).div_(math.sqrt(x.shape[-1]))
    sizes.clamp_max_(torch.finfo(x.dtype).max ** 0.5)  # where squares overflow
    return x / sizes.clamp_min(torch.finfo(x.dtype).tiny), sizes


def codebook(levels: Tensor, step: float, zero_point: int, bits: int) -> Codebook:
    """Make the codebook that looks up the nearest of `levels` (n,), whole numbers 0 to 255."""
    edges = (levels[1:] + levels[:-1]) / 2
    cells = torch.arange(GRID + 1, dtype=levels.dtype, device=levels.device)
    return Codebook(levels[torch.bucketize(cells, edges)], step, zero_point, bits)
