"""Evaluations as jobs: one variant of the model that streams, or several. All are kept."""

from __future__ import annotations

from collections.abc import Sequence

from app.work.jobs import Work
from lrp.engine.progress import Progress
from quant.evaluation.stream import Step
from quant.experiments.measuring import Measuring, Variant


def evaluate(measuring: Measuring, variant: Variant, precision: float | None) -> Work:
    """Make the job that evaluates one variant; `so_far` is a `Step`.

    Args:
        precision: stop once the difference to float is known to +- this share; None: all images.
    """

    def work(progress: Progress) -> Step:
        progress(0, len(measuring.images), "image")
        for step in measuring.measure(variant, precision, progress=progress):
            progress(len(step.answers), step.wanted, "image", step)
        return step  # there is at least one image

    return work


def sweep(measuring: Measuring, variants: Sequence[Variant], precision: float | None) -> Work:
    """Make the job that evaluates variants one after another; what is done is kept."""

    def work(progress: Progress) -> int:
        count, total = len(measuring.images), len(measuring.images) * len(variants)
        for index, variant in enumerate(variants):
            for step in measuring.measure(variant, precision, progress=progress):
                progress(index * count + len(step.answers), total, "image", step)
        return len(variants)

    return work
