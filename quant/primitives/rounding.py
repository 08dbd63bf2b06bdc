"""Round weights to integers: to the nearest, or so that the layer's output changes least."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from quant.primitives.floats import DTYPES, Cast, FloatGrid, PaletteGrid, float_grid
from quant.primitives.qparams import MAX_BITS, choose_qparams
from quant.primitives.quantizer_search import Scored, better

BLOCK = 64  # columns rounded before the others hear of it
DAMPING = 0.01  # of the mean diagonal, as in GPTQ
FACTORS = torch.linspace(1.0, 0.4, 25)  # of a row's range


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the weights of each row may lie: scale * q for whole q from `low` to `high`, (K, 1).

    The zero point is already inside, so that every q is a signed 8-bit integer.
    """

    scale: Tensor
    low: Tensor
    high: Tensor

    def at(self, columns: Tensor | slice) -> "Grid":
        """Return the grid of some columns: all have the same."""
        return self

    def codes(self, weight: Tensor) -> Tensor:
        """Return the nearest q of a weight (K, C), as floats."""
        return (weight / self.scale).round_().clamp_(self.low, self.high)

    def nearest(self, weight: Tensor) -> Tensor:
        """Return the values nearest to a weight (K, C)."""
        return self.codes(weight) * self.scale


AnyGrid = Grid | FloatGrid | PaletteGrid


def stack(grids: Sequence[Grid]) -> Grid:
    """Put grids of the same rows at several widths under each other."""
    return Grid(
        *(torch.cat(t) for t in zip(*((g.scale, g.low, g.high) for g in grids), strict=True))
    )


def choose_grid(weight: Tensor, bits: int, importance: Tensor) -> Grid:
    """Choose each row's grid for a weight (K, C): the shrunk range of least weighted error.

    Args:
        importance: (C,) weights of squared errors, such as the inputs' second moments.
    """
    low = weight.amin(1, keepdim=True).clamp_max(0)
    high = weight.amax(1, keepdim=True).clamp_min(0)

    def scored(factor: float) -> Scored:
        grid = _grid(low * factor, high * factor, bits)
        squared = grid.codes(weight).mul_(grid.scale).sub_(weight).square_()
        return (squared @ importance)[:, None], grid.scale, grid.low, grid.high

    return Grid(*reduce(better, map(scored, FACTORS.tolist()))[1:])


def _grid(low: Tensor, high: Tensor, bits: int) -> Grid:
    if bits == MAX_BITS:  # a zero point elsewhere would leave the signed 8 bits
        high = torch.maximum(-low, high * 128 / 127)
        low = -high * 128 / 127
    q = choose_qparams(low, high, bits)
    zero = torch.full_like(q.zero_point, 128.0) if bits == MAX_BITS else q.zero_point
    return Grid(q.scale, -zero, q.levels - zero)


def damped(gram: Tensor, share: float = DAMPING) -> Tensor:
    """Add `share` of the mean diagonal to the diagonal of a Gram matrix (C, C)."""
    added = (share * gram.diagonal().mean()).clamp_min(torch.finfo(gram.dtype).tiny ** 0.5)
    return gram + added * torch.eye(len(gram), device=gram.device, dtype=gram.dtype)


def compensate(weight: Tensor, grid: AnyGrid, gram: Tensor) -> Tensor:
    """Round column by column; columns to come make up for what each rounding did: (K, C).

    GPTQ (arXiv:2210.17323): least (W - W_q) G (W - W_q)^T, greedily, the largest diagonal first.

    Args:
        gram: (C, C) of the layer's quantized inputs, damped.
    """
    order = gram.diagonal().argsort(descending=True)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram[order][:, order].double()))
    upper = torch.linalg.cholesky(inverse, upper=True).to(weight.dtype)
    rest, values, grid = weight[:, order].clone(), torch.empty_like(weight), grid.at(order)
    for start in range(0, len(gram), BLOCK):
        stop = min(start + BLOCK, len(gram))
        block, triangle = rest[:, start:stop], upper[start:stop, start:stop]
        part = grid.at(slice(start, stop))
        values[:, start:stop], errors = _compensate_block(block, part, triangle)
        rest[:, stop:].addmm_(errors, upper[start:stop, stop:], alpha=-1)
    return values[:, order.argsort()]


def _compensate_block(block: Tensor, grid: AnyGrid, upper: Tensor) -> tuple[Tensor, Tensor]:
    values, errors = torch.empty_like(block), torch.empty_like(block)
    for i in range(block.shape[1]):
        column = block[:, i : i + 1]
        value = grid.at(slice(i, i + 1)).nearest(column)
        error = (column - value) / upper[i, i]
        values[:, i : i + 1], errors[:, i : i + 1] = value, error
        block[:, i + 1 :].addmm_(error, upper[i : i + 1, i + 1 :], alpha=-1)
    return values, errors


def round_weight(
    weight: Tensor, bits: Sequence[int], gram: Tensor, how: str
) -> list[tuple[Tensor, Tensor]]:
    """Round a weight (K, C) at several widths: (codes (K, C) int8, scale (K,)) for each.

    Args:
        gram: (C, C) of the layer's quantized inputs.
        how: "nearest" or "gptq".
    """
    gram = damped(gram)
    grid = stack([choose_grid(weight, b, gram.diagonal()) for b in bits])
    rows = weight.repeat(len(bits), 1)
    codes = grid.codes(rows if how == "nearest" else compensate(rows, grid, gram))
    parts = zip(
        codes.to(torch.int8).chunk(len(bits)), grid.scale[:, 0].chunk(len(bits)), strict=True
    )
    return [(c.contiguous(), s.contiguous()) for c, s in parts]


def round_floats(weight: Tensor, code: int, gram: Tensor, how: str) -> Tensor:
    """Round a weight (K, C) to a format that is no plain integer; return its values (K, C).

    `gram` and `how` are as of `round_weight`.
    """
    if code in DTYPES:
        return Cast(code)(weight)
    gram = damped(gram)
    grid = float_grid(weight, code, gram.diagonal())
    return grid.nearest(weight) if how == "nearest" else compensate(weight, grid, gram)
