"""Predict from its expected loss what an allocation diverges from float, and the accuracy it keeps.

Divergence K goes with a power of the expected loss D: log K is a line in log D, and runs lie about
it. What other models showed (`PRIOR`) says where that line may be, so that there is a prediction at
once; Bayes' rule adds the runs of the model in use. Of float's accuracy exp(-(K / scale)^power) is
kept, our reading, with a prior for both as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares
from scipy.special import stdtrit

from quant.evaluation.answers import Counts, Evaluation
from quant.evaluation.intervals import Z95

FIRST = (4, 6)  # uniform bits, measured before others are predicted
LATEST = 60  # runs that are looked at
NOISE = 0.01  # least standard error given to a measurement, so that none fixes the curve alone
FLOOR = 0.03  # standard error of a share measured on some 200 images
CENTRE = 0.1  # nats, where the line's height is told: height and slope are nearly independent there
FEW = 50  # images whose divergences' own spread is as large as that of allocations about the line
# Runs of one model on one set of images err alike, so for what is uncertain a run counts as this
# much of one that is independent: our choice, with which bands hold.
SHARE = 0.3


@dataclass(frozen=True)
class Point:
    """A measured run.

    Attributes:
        loss: expected, in nats;  divergence: measured, in nats.
        kept: the share of float's accuracy that it keeps;  error: the standard error of that share.
        images: how many it was measured on.
    """

    loss: float
    divergence: float
    kept: float
    error: float
    images: int


def point(counts: Counts, loss: float) -> Point | None:
    """Return what a run says of an expected loss; None where float is never right."""
    return point_of(counts.evaluation(0), loss) if counts.plain else None


def point_of(evaluation: Evaluation, loss: float) -> Point | None:
    """Return what an evaluation says of an expected loss, float being right at least once.

    None where loss or divergence is zero or infinite: that lies on no line.
    """
    if not all(0 < one < np.inf for one in (loss, evaluation.divergence)):
        return None
    float_top1 = evaluation.top1 - evaluation.difference
    error = evaluation.half_width / Z95 / float_top1
    kept = evaluation.top1 / float_top1
    return Point(loss, evaluation.divergence, kept, error, evaluation.images)


@dataclass(frozen=True)
class Prior:
    """What is known before anything is measured: of each figure its mean and deviation.

    Attributes:
        height: log K where D is `CENTRE`;  slope: of log K in log D.
        spread: how far, in log K, allocations lie from their model's line.
        weight: as how many runs of the model in use the prior's spread counts.
        scale, power: logarithms of the curve's;  scatter: of log(-log kept), from model's curve.
    """

    height: tuple[float, float]
    slope: tuple[float, float]
    spread: float
    weight: float
    scale: tuple[float, float]
    power: tuple[float, float]
    scatter: float


# Of DeiT-Tiny, ViT-Tiny and the bundled models, 40 allocations each; `prior_of` in
# `cross_validation` makes it from their runs.
PRIOR = Prior((-2.26, 0.4), (1.08, 0.2), 0.27, 6.0, (0.89, 0.2), (0.08, 0.19), 0.2)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What expected losses are foretold to give.

    Attributes:
        line: height and slope (2,);  line_error: their covariance (2, 2).
        spread: how far runs lie from the line, in log K.
        freedom: of Student's t, whose quantiles the bands have.
        curve: logarithms of scale and power (2,);  curve_error: their covariance (2, 2).
        scatter: how far runs lie from the curve, in log(-log kept).
        floor: the standard error of a measured share, which a band is never narrower than.
        runs: how many it is calibrated on.
    """

    line: np.ndarray
    line_error: np.ndarray
    spread: float
    freedom: float
    curve: np.ndarray
    curve_error: np.ndarray
    scatter: float
    floor: float
    runs: int

    def divergences(self, losses: np.ndarray) -> np.ndarray:
        """Return low, middle and high divergence (T, 3) of a 95 % band at expected losses (T,)."""
        middle, deviation = self._logs(losses)
        return np.exp(_band(middle, self._quantile * deviation))

    def bands(self, losses: np.ndarray, float_top1: float) -> np.ndarray:
        """Return low, middle and high top-1 (T, 3) of a 95 % band at expected losses (T,)."""
        logs, deviation = self._logs(losses)
        scale, power = self.curve[0], np.exp(self.curve[1])
        hazard = power * (logs - scale)  # log(-log kept)
        moved = np.stack([np.full_like(hazard, -power), hazard], 1)
        own = np.einsum("ti,ij,tj->t", moved, self.curve_error, moved) + self.scatter**2
        half = self._quantile * np.sqrt((power * deviation) ** 2 + own)
        high, middle, low = np.exp(-np.exp(_band(hazard, half))).T
        measuring = Z95 * self.floor
        low = np.maximum(0, middle - np.hypot(middle - low, measuring))
        return float_top1 * np.stack([low, middle, middle + np.hypot(high - middle, measuring)], 1)

    @property
    def _quantile(self) -> float:
        return float(stdtrit(self.freedom, 0.975))

    def _logs(self, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return log K and its deviation (T,)."""
        rows = _rows(losses)
        of_line = np.einsum("ti,ij,tj->t", rows, self.line_error, rows)
        return rows @ self.line, np.sqrt(of_line + self.spread**2)


def _band(middle: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Return logarithms (T, 3), within what exp can take."""
    return np.clip(np.stack([middle - half, middle, middle + half], 1), -600, 600)


def _rows(losses: np.ndarray) -> np.ndarray:
    """Return what height and slope are multiplied by (T, 2); a loss is no less than 1e-12 nats."""
    logs = np.log(np.clip(np.asarray(losses, dtype=float), 1e-12, 1e12) / CENTRE)
    return np.stack([np.ones_like(logs), logs], 1)


def predict(points: Sequence[Point], prior: Prior = PRIOR) -> Prediction:
    """Add the latest runs to what is known beforehand; there may be none."""
    points = points[-LATEST:]
    errors = np.hypot([p.error for p in points], NOISE)
    line, line_error, spread, freedom = _line(points, prior)
    curve, curve_error = _curve(points, errors, prior)
    floor = float(np.median(errors)) if points else FLOOR
    return Prediction(
        line, line_error, spread, freedom, curve, curve_error, prior.scatter, floor, len(points)
    )


def _line(points: Sequence[Point], prior: Prior) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Return the line, its covariance, the spread about it and the degrees of freedom.

    The conjugate prior of a linear regression: normal for the line, inverse gamma for the spread.
    """
    (height, of_height), (slope, of_slope) = prior.height, prior.slope
    mean = np.array([height, slope])
    known = np.diag([(prior.spread / of_height) ** 2, (prior.spread / of_slope) ** 2])
    rows = _rows(np.array([p.loss for p in points]))
    logs = np.log([p.divergence for p in points])
    weights = np.array([p.images / (p.images + FEW) for p in points])
    seen = (rows.T * weights) @ rows
    line = np.linalg.solve(known + seen, known @ mean + (rows.T * weights) @ logs)
    off, moved = logs - rows @ line, line - mean
    squares = prior.weight * prior.spread**2 + moved @ known @ moved
    squares += SHARE * (weights * off**2).sum()
    freedom = prior.weight + SHARE * float(weights.sum())
    covariance = np.linalg.inv(known + SHARE * seen) * squares / freedom
    return line, covariance, float(np.sqrt(squares / freedom)), freedom


def _curve(
    points: Sequence[Point], errors: np.ndarray, prior: Prior
) -> tuple[np.ndarray, np.ndarray]:
    """Return logarithms of scale and power and their covariance; runs far off pull little."""
    means, deviations = np.array([prior.scale, prior.power]).T
    logs = np.log([p.divergence for p in points])
    kept = np.array([p.kept for p in points])

    def hazards(curve: np.ndarray) -> np.ndarray:
        return np.exp(np.clip(np.exp(curve[1]) * (logs - curve[0]), -50, 50))

    before = hazards(means)
    noise = np.hypot(errors, prior.scatter * before * np.exp(-before))

    def residuals(curve: np.ndarray) -> np.ndarray:
        off = (np.exp(-hazards(curve)) - kept) / noise
        soft = np.sqrt(2 * (np.sqrt(1 + off**2) - 1))  # soft L1, of runs alone
        return np.concatenate([soft, (curve - means) / deviations])

    fit = least_squares(residuals, means)
    return fit.x, np.linalg.inv(fit.jac.T @ fit.jac)
