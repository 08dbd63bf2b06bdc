"""Say accuracies and differences the same way in every command."""

from __future__ import annotations

from quant.answers import Evaluation


def accuracy(found: Evaluation) -> str:
    """Say "top-1 91.2% (88.0% to 94.0%)"."""
    return f"top-1 {found.top1:.1%} ({found.top1_low:.1%} to {found.top1_high:.1%})"


def points(difference: float, low: float, high: float) -> str:
    """-0.021, -0.04, 0.002 -> "-2.1 points (-4.0 to +0.2)"."""
    return f"{100 * difference:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"


def to_float(found: Evaluation) -> str:
    """Say how much better than float it is on the same images."""
    bounds = (found.difference_low, found.difference_high)
    return f"{points(found.difference, *bounds)} to float"
