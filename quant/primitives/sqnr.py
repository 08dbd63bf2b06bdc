"""Powers of signals and of what quantization adds to them, and their ratio in decibels."""

from __future__ import annotations

import math

from torch import Tensor


def decibels(signal: float, noise: float) -> float:
    """Return 10 log10(signal / noise) of powers: inf without noise, -inf without signal."""
    if noise <= 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


def power(x: Tensor) -> float:
    """Return the sum of squares."""
    return float(x.double().square().sum())


def sqnr(wanted: Tensor, quantized: Tensor) -> float:
    """Return the ratio of signal to noise in dB."""
    return decibels(power(wanted), power(quantized - wanted))
