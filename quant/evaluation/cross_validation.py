"""How well runs are foretold: each from all others, and a model's from what other models showed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quant.evaluation.prediction import Point, Prediction, Prior, predict

NEAR = 0.1  # of the measured divergence
VAGUE = Prior((-2.0, 9.0), (1.0, 9.0), 0.3, 0.1, (0.7, 3.0), (0.0, 1.0), 0.2)
WEIGHT = 6.0  # of a prior's spread, in runs
WIDER = 1.3  # few models say little of how far others may differ
LEAST = {"height": 0.4, "slope": 0.2, "scale": 0.2, "power": 0.1}  # deviations


@dataclass(frozen=True)
class Foretold:
    """What is predicted of a run, its 95 % band, and what was measured."""

    predicted: float
    low: float
    high: float
    measured: float

    @property
    def inside(self) -> bool:
        """Whether the band holds what was measured."""
        return self.low <= self.measured <= self.high


@dataclass(frozen=True)
class LeftOut:
    """A run as others foretell it: its expected loss, top-1 (0 to 1) and divergence (nats)."""

    loss: float
    top1: Foretold
    divergence: Foretold


@dataclass(frozen=True)
class CrossValidation:
    """How well so many runs were predicted, each from all others.

    Attributes:
        error: mean absolute difference of predicted and measured top-1.
        inside: share of the runs whose top-1 was measured within its 95 % band.
        near: share of the runs whose divergence is predicted to within `NEAR` of the measured one.
        divergence_inside: share of the runs whose divergence was measured within its 95 % band.
    """

    runs: int
    error: float
    inside: float
    near: float
    divergence_inside: float
    foretold: tuple[LeftOut, ...]


def cross_validate(points: Sequence[Point], float_top1: float) -> CrossValidation | None:
    """Predict each run from the others; None where there is none.

    Args:
        float_top1: the float model's accuracy on the runs' images.
    """
    others = [[*points[:row], *points[row + 1 :]] for row in range(len(points))]
    left = [foretell(predict(o), p, float_top1) for o, p in zip(others, points, strict=True)]
    return summarised(left) if left else None


def foretell(prediction: Prediction, run: Point, float_top1: float) -> LeftOut:
    """Put beside what was measured of a run what is predicted of it."""
    at = np.array([run.loss])
    low, middle, high = prediction.bands(at, float_top1)[0].tolist()
    top1 = Foretold(middle, low, high, run.kept * float_top1)
    low, middle, high = prediction.divergences(at)[0].tolist()
    return LeftOut(run.loss, top1, Foretold(middle, low, high, run.divergence))


def summarised(left: Sequence[LeftOut]) -> CrossValidation:
    """Return how well runs, one at least, were foretold."""
    shares = [abs(one.divergence.predicted / one.divergence.measured - 1) for one in left]
    return CrossValidation(
        len(left),
        float(np.mean([abs(one.top1.predicted - one.top1.measured) for one in left])),
        float(np.mean([one.top1.inside for one in left])),
        float(np.mean([share <= NEAR for share in shares])),
        float(np.mean([one.divergence.inside for one in left])),
        tuple(left),
    )


def prior_of(models: Sequence[Sequence[Point]]) -> Prior:
    """Return what runs of some models, two at least, say of another one beforehand."""
    fits = [predict(points, VAGUE) for points in models]
    values = np.array([[*fit.line, *fit.curve] for fit in fits])
    wide = WIDER * np.sqrt(1 + 1 / len(fits)) * values.std(0, ddof=1)
    told = zip(LEAST.items(), values.mean(0).tolist(), wide.tolist(), strict=True)
    found = {name: (mean, max(least, deviation)) for (name, least), mean, deviation in told}
    spread = float(np.sqrt(np.mean([fit.spread**2 for fit in fits])))
    return Prior(**found, spread=spread, weight=WEIGHT, scatter=VAGUE.scatter)
