"""Check predictions of accuracy on runs that they did not see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quant.evaluation.prediction import Point, predict


@dataclass(frozen=True)
class Foretold:
    """What the other runs predict of one, and what was measured: top-1, 0 to 1."""

    loss: float
    predicted: float
    low: float
    high: float
    measured: float


@dataclass(frozen=True)
class Check:
    """How well accuracies of so many runs were predicted, each from all others.

    Attributes:
        error: mean absolute difference of predicted and measured top-1.
        inside: share of the runs measured within their 95 % band.
    """

    runs: int
    error: float
    inside: float
    foretold: tuple[Foretold, ...]


def left_out(points: Sequence[Point], float_top1: float) -> Check | None:
    """Predict each run from the others; None where they are too few.

    Args:
        float_top1: the float model's accuracy on the runs' images.
    """
    found = []
    for index, one in enumerate(points):
        prediction = predict([*points[:index], *points[index + 1 :]])
        if prediction is None:
            return None
        low, middle, high = prediction.bands(np.array([one.loss]), float_top1)[0].tolist()
        found.append(Foretold(one.loss, middle, low, high, one.kept * float_top1))
    if not found:
        return None
    return Check(
        len(found),
        float(np.mean([abs(one.predicted - one.measured) for one in found])),
        float(np.mean([one.low <= one.measured <= one.high for one in found])),
        tuple(found),
    )
