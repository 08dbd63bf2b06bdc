"""Two configurations on the same images: which answers better, where they differ, by class."""

from dataclasses import dataclass

import numpy as np

from quant.evaluation.answers import Answers
from quant.evaluation.intervals import paired_interval


def paired(one: Answers, other: Answers) -> tuple[float, float, float]:
    """Return how much better `one` is than `other`, and the 95 % interval of that difference.

    Where one has answered more images than the other, the images that both answered count.

    Raises:
        ValueError: they answered different images, or none in common.
    """
    one, other = _same_images(one, other)
    only_one = int((one.correct & ~other.correct).sum())
    only_other = int((other.correct & ~one.correct).sum())
    interval = paired_interval(only_one, only_other, len(one))
    return (only_one - only_other) / len(one), *interval


@dataclass(frozen=True)
class Change:
    """An image that two configurations answer differently: its place, label and both answers."""

    index: int
    label: int
    one: int
    other: int


def changed(one: Answers, other: Answers) -> list[Change]:
    """Return the images that the two answer differently, in order; errors as of `paired`."""
    one, other = _same_images(one, other)
    where = np.flatnonzero(one.predicted != other.predicted)
    columns = (where, one.labels[where], one.predicted[where], other.predicted[where])
    return [Change(*row) for row in zip(*(c.tolist() for c in columns), strict=True)]


@dataclass(frozen=True)
class ClassAccuracy:
    """Accuracy within one class: of one configuration, and of a second on the same images."""

    label: int
    images: int
    top1: float
    other: float | None


def by_class(answers: Answers, other: Answers | None = None) -> list[ClassAccuracy]:
    """Return the accuracy of each class that was seen, by label; errors as of `paired`."""
    if other is not None:
        answers, other = _same_images(answers, other)
    images = np.bincount(answers.labels)
    mine = _shares(answers, images)
    others = None if other is None else _shares(other, images)
    return [
        ClassAccuracy(k, int(images[k]), mine[k], None if others is None else others[k])
        for k in np.flatnonzero(images).tolist()
    ]


def _shares(answers: Answers, images: np.ndarray) -> list[float]:
    correct = np.bincount(answers.labels, answers.correct)
    return (correct / np.maximum(images, 1)).tolist()


def _same_images(one: Answers, other: Answers) -> tuple[Answers, Answers]:
    count = min(len(one), len(other))
    if not count:
        raise ValueError("nothing to compare: one of the two has answered no image yet")
    one, other = one.part(0, count), other.part(0, count)
    if not np.array_equal(one.labels, other.labels):
        raise ValueError("these answers are to other images: compare runs on the same images")
    return one, other
