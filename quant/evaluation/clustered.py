"""Accuracies and differences over several runs, with intervals that know their images are shared.

Runs that differ in a draw of calibration images, or in a seed, answer the same images: their
answers to one image go together, so a hundred images twice are not two hundred.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quant.evaluation.answers import Answers
from quant.evaluation.comparison import paired
from quant.evaluation.intervals import Z95, paired_interval


@dataclass(frozen=True)
class Estimate:
    """A mean over runs, its 95 % interval over images, and its standard error over the runs.

    Attributes:
        error: None for a single run.
    """

    value: float
    low: float
    high: float
    error: float | None


@dataclass(frozen=True, eq=False)
class Answered:
    """What one run answered, and to which images.

    Attributes:
        images: (n,) what tells images apart, the same in all runs.
    """

    answers: Answers
    images: np.ndarray

    def __post_init__(self) -> None:
        if len(self.images) < len(self.answers):
            raise ValueError(
                f"{len(self.answers)} answers to {len(self.images)} images: name every image"
            )


def accuracy(runs: Sequence[Answered]) -> Estimate:
    """Return the mean top-1 of runs; of a single one with Wilson's interval."""
    if len(runs) == 1:
        one = runs[0].answers.evaluation(0)
        return Estimate(one.top1, one.top1_low, one.top1_high, None)
    mean = clustered([(run.answers.correct, run.images[: len(run.answers)]) for run in runs])
    return Estimate(mean.value, max(0.0, mean.low), min(1.0, mean.high), mean.error)


def to_float(runs: Sequence[Answered]) -> Estimate:
    """Return how much better than float runs are; of a single one with Tango's interval."""
    if len(runs) == 1:
        one = runs[0].answers.evaluation(0)
        return Estimate(one.difference, one.difference_low, one.difference_high, None)
    return clustered([(_gain(run.answers), run.images[: len(run.answers)]) for run in runs])


def between(pairs: Sequence[tuple[Answered, Answered]]) -> Estimate:
    """Return how much better the first is than the second, over pairs on the same images.

    Raises:
        ValueError: a pair answered different images, or none in common.
    """
    differences = [paired(one.answers, other.answers) for one, other in pairs]
    if len(pairs) == 1:
        return Estimate(*differences[0], None)
    samples = []
    for one, other in pairs:
        count = min(len(one.answers), len(other.answers))
        right = one.answers.correct[:count].astype(float)
        samples.append((right - other.answers.correct[:count], one.images[:count]))
    return clustered(samples)


def _gain(answers: Answers) -> np.ndarray:
    return answers.correct.astype(float) - (answers.reference == answers.labels)


def clustered(samples: Sequence[tuple[np.ndarray, np.ndarray]]) -> Estimate:
    """Return the mean of samples, each (values (n,), images (n,)), -1 to 1.

    The interval is normal, with the variance of a mean of clusters: residuals are summed by image
    first, over n distinct images. It is never narrower than what Wilson's and Tango's intervals
    leave where nothing varies, z^2 / (n + z^2).
    """
    values = np.concatenate([one.astype(float) for one, _ in samples])
    _, place = np.unique(np.concatenate([images for _, images in samples]), return_inverse=True)
    mean, distinct = float(values.mean()), int(place.max()) + 1
    sums = np.bincount(place, values - mean)
    variance = float((sums**2).sum()) / len(values) ** 2 * distinct / max(distinct - 1, 1)
    half = max(Z95 * math.sqrt(variance), paired_interval(0, 0, distinct)[1])
    return Estimate(mean, mean - half, mean + half, standard_error([v.mean() for v, _ in samples]))


def standard_error(values: Sequence[float]) -> float | None:
    """Return the standard error of the mean of values, None for a single one."""
    if len(values) < 2:
        return None
    return float(np.std(values, ddof=1) / math.sqrt(len(values)))
