"""Predict the accuracy of allocations from their expected loss, as calibrated on measured runs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares
from scipy.special import stdtrit

from quant.evaluation.answers import Counts
from quant.evaluation.intervals import Z95

FEWEST = 5  # runs of different allocations: the curve has two parameters, its band a third
PARAMETERS = 2  # of the curve
LATEST = 60  # runs that are looked at
NOISE = 0.01  # least standard error given to a measurement, so that none fixes the curve alone


@dataclass(frozen=True)
class Point:
    """A measured run.

    Attributes:
        loss: expected, in nats.
        kept: the share of float's accuracy that it keeps.
        error: the standard error of that share.
    """

    loss: float
    kept: float
    error: float


def point(counts: Counts, loss: float) -> Point | None:
    """Return what a run says of accuracy at an expected loss; None where float is never right."""
    if not counts.plain:
        return None
    evaluation, float_top1 = counts.evaluation(0), counts.plain / counts.images
    error = evaluation.half_width / Z95 / float_top1
    return Point(loss, 1 + evaluation.difference / float_top1, error)


@dataclass(frozen=True)
class Prediction:
    """How much of float's accuracy an allocation keeps: exp(-(loss / scale)^power), our reading.

    Attributes:
        spread: how far runs lie from the curve, as a share of what the curve says is lost.
        floor: the standard error of a measurement, which a band is never narrower than.
        runs: how many it is calibrated on.
    """

    scale: float
    power: float
    spread: float
    floor: float
    runs: int

    def kept(self, losses: np.ndarray) -> np.ndarray:
        """Return the share of float's accuracy kept at expected losses (T,)."""
        return _curve(np.asarray(losses, dtype=float), self.scale, self.power)

    def bands(self, losses: np.ndarray, float_top1: float) -> np.ndarray:
        """Return low, middle and high top-1 (T, 3) of a 95 % band around the curve."""
        middle = self.kept(losses)
        # Student's t: with few runs, the fitted curve and its spread are uncertain themselves.
        deviations = stdtrit(self.runs - PARAMETERS, 0.975)
        half = np.hypot(Z95 * self.floor, deviations * self.spread * (1 - middle))
        return float_top1 * np.stack([np.maximum(0, middle - half), middle, middle + half], 1)


def _curve(losses: np.ndarray, scale: float, power: float) -> np.ndarray:
    return np.exp(-((np.maximum(losses, 0) / scale) ** power))


def predict(points: Sequence[Point]) -> Prediction | None:
    """Fit the curve to the latest runs, and its band to how far each lies from the others' curve.

    Returns:
        None where there are fewer than `FEWEST` runs of different losses.
    """
    points = points[-LATEST:]
    if len({round(point.loss, 9) for point in points}) < FEWEST:
        return None
    losses, kept = (np.array([getattr(p, name) for p in points]) for name in ("loss", "kept"))
    errors = np.hypot([p.error for p in points], NOISE)
    scale, power = _fit(losses, kept, errors)
    residuals = np.array([_residual(losses, kept, errors, row) for row in range(len(points))])
    floor = float(np.median(errors))
    return Prediction(scale, power, _spread(residuals, errors), floor, len(points))


def _fit(losses: np.ndarray, kept: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Fit scale and power; runs far off pull little (soft L1)."""

    def residuals(logs: np.ndarray) -> np.ndarray:
        return (_curve(losses, *np.exp(logs)) - kept) / errors

    start = np.log([max(float(np.median(losses)), 1e-6) * 3, 1.0])
    span = np.log([1e3, 4.0])
    fit = least_squares(residuals, start, bounds=(start - span, start + span), loss="soft_l1")
    scale, power = np.exp(fit.x)
    return float(scale), float(power)


def _residual(
    losses: np.ndarray, kept: np.ndarray, errors: np.ndarray, row: int
) -> tuple[float, float]:
    """Return how far a run is from the curve of the others, and what that curve says is lost."""
    others = np.arange(len(losses)) != row
    curve = _curve(losses[row], *_fit(losses[others], kept[others], errors[others]))
    return float(kept[row] - curve), float(1 - curve)


def _spread(residuals: np.ndarray, errors: np.ndarray) -> float:
    """Return the share of what is lost that explains the residuals beyond measuring's errors."""
    distance, lost = residuals.T
    beyond = np.maximum(0, distance**2 - errors**2).sum()
    return float(np.sqrt(beyond / np.maximum((lost**2).sum(), 1e-12)))


@dataclass(frozen=True)
class LeftOut:
    """What the other runs predict of one, and what was measured: top-1, 0 to 1."""

    loss: float
    predicted: float
    low: float
    high: float
    measured: float


@dataclass(frozen=True)
class CrossValidation:
    """How well accuracies of so many runs were predicted, each from all others.

    Attributes:
        error: mean absolute difference of predicted and measured top-1.
        inside: share of the runs measured within their 95 % band.
    """

    runs: int
    error: float
    inside: float
    foretold: tuple[LeftOut, ...]


def cross_validate(points: Sequence[Point], float_top1: float) -> CrossValidation | None:
    """Predict each run from the others; None where they are too few.

    Args:
        float_top1: the float model's accuracy on the runs' images.
    """
    foretold = []
    for row, run in enumerate(points):
        prediction = predict([*points[:row], *points[row + 1 :]])
        if prediction is None:
            return None
        low, middle, high = prediction.bands(np.array([run.loss]), float_top1)[0].tolist()
        foretold.append(LeftOut(run.loss, middle, low, high, run.kept * float_top1))
    if not foretold:
        return None
    return CrossValidation(
        len(foretold),
        float(np.mean([abs(one.predicted - one.measured) for one in foretold])),
        float(np.mean([one.low <= one.measured <= one.high for one in foretold])),
        tuple(foretold),
    )
