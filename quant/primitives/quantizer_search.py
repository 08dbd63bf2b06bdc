"""Choose quantizers: ranges, bases and codebooks of least error."""

import math
from collections.abc import Callable, Iterable
from functools import reduce
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from quant.primitives.qparams import QParams, choose_qparams, fake_quantize
from quant.primitives.quantizers import GRID, Codebook, Logarithmic, Quantizer, Uniform, codebook

PERCENTILES = (0.999, 0.9999, 0.99999, 1.0)
SHRINK = torch.linspace(1.1, 0.2, 19)  # of a range: a coarse look, then single steps
NEIGHBOURS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1))
STEPS = (0.1, 0.06, 0.036)
BASES = range(10, 139, 6)  # k of AdaLog's base 2^(k / 37)
TOPS = (1.0, 0.8, 0.6, 0.45, 0.35, 0.25, 0.15)  # a codebook's highest value, of the sample's

Loss = Callable[[Quantizer], Tensor]  # () of a whole tensor, or one value a group
Scored = tuple[Tensor, ...]  # losses, one a group, and what gave them
Candidate = TypeVar("Candidate", bound=Quantizer)


def percentiles(sample: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Return (low, high) that hold `share` of each row of a sample (g, n), both (g,)."""
    return _ends(sample.sort(dim=-1).values, share)


def _ends(ordered: Tensor, share: float) -> tuple[Tensor, Tensor]:
    last = ordered.shape[-1] - 1
    return ordered[..., last - round(share * last)], ordered[..., round(share * last)]


def fit_percentile(sample: Tensor, bits: int) -> QParams:
    """Choose for each row of a sample (g, n) the percentile range of least squared error: (g,)."""
    ordered = sample.sort(dim=-1).values

    def scored(share: float) -> Scored:
        q = choose_qparams(*_ends(ordered, share), bits)
        rows = QParams(q.scale[:, None], q.zero_point[:, None], bits)
        return (fake_quantize(sample, rows) - sample).square().sum(1), q.scale, q.zero_point

    _, scale, zero_point = reduce(better, map(scored, PERCENTILES))
    return QParams(scale, zero_point, bits)


def search_range(low: Tensor, high: Tensor, bits: int, loss: Loss) -> QParams:
    """Search the range of least loss around (low, high), each group by itself.

    Both ends shrink together first, then each moves alone, by smaller and smaller steps.

    Args:
        low, high: () or with one entry a group, shaped to broadcast to the operand.
        loss: of a quantizer, shaped as `low`.
    """

    def scored(a: Tensor, b: Tensor) -> Scored:
        return loss(Uniform(choose_qparams(low * a, high * b, bits))), a, b

    whole = torch.ones_like(low), torch.ones_like(high)
    best: Scored = (torch.full_like(low, torch.inf), *whole)
    for factor in SHRINK.tolist():
        best = better(best, scored(whole[0] * factor, whole[1] * factor))
    for step in STEPS:
        _, a, b = best
        for up, down in NEIGHBOURS:
            ends = (a + up * step).clamp_min(0.02), (b + down * step).clamp_min(0.02)
            best = better(best, scored(*ends))
    _, a, b = best
    return choose_qparams(low * a, high * b, bits)


def better(old: Scored, new: Scored) -> Scored:
    """Return what has less loss, group by group; of equals the old one."""
    less = new[0] < old[0]
    return tuple(torch.where(less, n, o) for n, o in zip(new, old, strict=True))


def least(candidates: Iterable[Candidate], loss: Loss) -> Candidate:
    """Return the candidate of least total loss, the first among equals."""
    return min(candidates, key=lambda quantizer: float(loss(quantizer).sum()))


def logarithms(low: float, high: float, bits: int) -> list[Logarithmic]:
    """List AdaLog's quantizers of [low, high]: bases 2^(k / 37) and clipped tops."""
    tops = [(high - low) * f for f in (1.0, 0.8, 0.6, 0.4)]
    return [Logarithmic(top, 2 ** (k / 37), bits, -low) for k in BASES for top in tops]


def halves(low: float, high: float, bits: int) -> list[Codebook]:
    """List quantizers of two uniform halves, below and above zero, on one 8-bit grid.

    PTQ4ViT's twin uniform quantization (arXiv:2111.12293), with the share of levels below zero
    searched. The step above is a whole multiple of the step below, so integers hold both.
    """
    candidates = []
    for below in range(1, 2 ** (bits - 1) + 1):
        above = 2**bits - 1 - below
        step = -low / below
        for top in TOPS:
            multiple = max(1, round(high * top / above / step)) if step > 0 else 1
            if above * multiple + below <= GRID:
                levels = [*range(below), *(below + multiple * i for i in range(above + 1))]
                grid = torch.tensor(levels, dtype=torch.float32)
                candidates.append(codebook(grid, step, below, bits))
    return candidates


def codebooks(sample: Tensor, weights: Tensor, bits: int, low: float) -> list[Codebook]:
    """List the codebooks of least squared error on 8-bit grids from `low` to clipped tops.

    Args:
        sample: (n,), with `weights` (n,) of its squared errors.
    """
    high = float(sample.max())
    candidates = []
    for top in TOPS:
        step = (high * top - low) / GRID
        if step > 0:
            zero = round(-low / step)
            cells = (sample / step + zero).round().clamp(0, GRID).long()
            mass = torch.bincount(cells, weights.double(), minlength=GRID + 1).cpu().numpy()
            levels = torch.tensor(cluster(mass, 2**bits), dtype=torch.float32)
            candidates.append(codebook(levels.to(sample.device), step, zero, bits))
    return candidates


def cluster(mass: np.ndarray, count: int) -> np.ndarray:
    """Choose `count` whole levels for masses (n,) at 0..n-1: the least weighted squared error.

    Exact one-dimensional k-means by dynamic programming; the means are rounded to the grid.
    """
    n, places = len(mass), np.arange(len(mass), dtype=float)
    if count >= n:
        return np.append(places, np.full(count - n, n - 1.0))
    mass = mass + mass.sum() * 1e-12 + 1e-300  # an empty cell costs next to nothing, not 0 / 0
    sums = [np.concatenate([[0.0], np.cumsum(mass * places**p)]) for p in range(3)]
    zeroth, first, second = (s[None, :] - s[:, None] for s in sums)
    with np.errstate(divide="ignore", invalid="ignore"):
        cost = np.where(zeroth > 0, second - first**2 / zeroth, math.inf)
    best, back = cost[0], []
    for _ in range(count - 1):
        total = best[:, None] + cost
        back.append(total.argmin(0))
        best = total.min(0)
    levels, end = [], n
    for step in reversed([np.zeros(n + 1, dtype=int), *back]):
        start = int(step[end])
        levels.append(round(first[start, end] / zeroth[start, end]))
        end = start
    return np.array(sorted(levels), dtype=float)
