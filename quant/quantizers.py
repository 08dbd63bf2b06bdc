"""Quantizers for the inputs of layers. Each is built at calibration and applied in evaluation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from quant.qparams import QParams, choose_qparams, fake_quantize

PERCENTILES = (0.999, 0.9999, 0.99999, 1.0)


class Quantizer(Protocol):
    """Quantize and dequantize an operand of a layer."""

    def __call__(self, x: Tensor) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Uniform:
    """A uniform affine quantizer, per tensor or per channel (last axis)."""

    qparams: QParams

    def __call__(self, x: Tensor) -> Tensor:
        return fake_quantize(x, self.qparams)


@dataclass(frozen=True)
class LogSqrt2:
    """The log-sqrt2 quantizer of RepQ-ViT, for post-softmax attention in [0, scale].

    q = clamp(round(-2 log2(x / scale)), 0, 2^b), and zero where q >= 2^b;  x ~ scale * 2^(-q / 2).
    """

    scale: float
    bits: int

    def __call__(self, x: Tensor) -> Tensor:
        tiny = torch.finfo(x.dtype).tiny
        q = (x / self.scale).clamp_min_(tiny).log2_().mul_(-2).round_().clamp_min_(0)
        kept = q < 2**self.bits
        return q.mul_(-0.5).exp2_().mul_(self.scale).mul_(kept)


def fit_uniform(sample: Tensor, bits: int) -> Uniform:
    """Fit a per-tensor quantizer to a sample (n,): the percentile range of least squared error."""
    candidates = [
        choose_qparams(low, high, bits) for low, high in _ranges(sample.flatten()[:, None])
    ]
    errors = [float((fake_quantize(sample, q) - sample).square().sum()) for q in candidates]
    best = candidates[errors.index(min(errors))]
    return Uniform(QParams(best.scale.squeeze(), best.zero_point.squeeze(), bits))


def fit_per_channel(sample: Tensor, bits: int) -> QParams:
    """Fit a quantizer per channel to a sample (n, C), each channel its own best percentile."""
    scale = zero_point = None
    error = torch.full(sample.shape[1:], torch.inf, device=sample.device)
    for low, high in _ranges(sample):
        q = choose_qparams(low, high, bits)
        loss = (fake_quantize(sample, q) - sample).square().sum(0)
        better = loss < error
        scale = q.scale if scale is None else torch.where(better, q.scale, scale)
        zero_point = (
            q.zero_point if zero_point is None else torch.where(better, q.zero_point, zero_point)
        )
        error = torch.minimum(loss, error)
    assert scale is not None and zero_point is not None
    return QParams(scale, zero_point, bits)


def fit_log_sqrt2(sample: Tensor, bits: int) -> LogSqrt2:
    """Fit a log-sqrt2 quantizer to a sample (n,) of attention: scale is its maximum."""
    top = float(sample.max())
    return LogSqrt2(top if top > 0 and math.isfinite(top) else 1.0, bits)


def _ranges(sample: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return (low, high) of each percentile, per column of a sample (n, C)."""
    ordered = sample.sort(dim=0).values
    last = len(ordered) - 1
    return [(ordered[last - round(p * last)], ordered[round(p * last)]) for p in PERCENTILES]
