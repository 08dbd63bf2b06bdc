"""Measure accuracy as it comes, with what is known of its error, on the same images for all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lrp.engine.progress import SILENT, Progress, follow
from quant.evaluation.answers import Answers, Evaluation
from quant.evaluation.batched import Batched, Run
from quant.evaluation.float_logits import FloatLogits
from quant.evaluation.image_set import LARGEST, Pictures


@dataclass(frozen=True, eq=False)
class Step:
    """Where a streamed evaluation stands.

    Attributes:
        answers: all so far, those known before included.
        new: those of this batch, which begin at image `start`.
        seconds: spent running the configuration on this batch.
    """

    answers: Answers
    new: Answers
    start: int
    seconds: float


def stream(
    run: Run | None,
    pictures: Pictures,
    plain: FloatLogits,
    device: str | torch.device = "cpu",
    *,
    name: str = "the quantized model",
    known: Answers | None = None,
    precision: float | None = None,
    limit: int | None = None,
    largest: int = LARGEST,
    progress: Progress = SILENT,
) -> Iterator[Step]:
    """Evaluate a configuration batch by batch, in the order of the images.

    The first step comes without running anything where answers are known already.

    Args:
        run: from images (B, 3, H, W) to logits (B, K); None is the float model itself.
        plain: the float model's logits on these images.
        known: answers to the first images, from an evaluation that was cut off.
        precision: stop once the difference to float is known to +- this share; None: all images.
        limit: stop after so many images; None: all.
        largest: images of a batch, after the first few.

    Raises:
        ValueError: no images, more known answers than images, a precision outside 0 to 1, logits
            that are not finite (`name` is given), or no memory for a single image.
        Cancelled: the work was to stop when a batch was due.
    """
    answers = Answers.none() if known is None else known
    _check(len(pictures), len(answers), precision)
    batched = None if run is None else Batched(name, run, device)
    if len(answers):
        yield Step(answers, Answers.none(), len(answers), 0.0)
    if settled(answers, precision):
        return
    stop = len(pictures) if limit is None else min(limit, len(pictures))
    for images, labels in pictures.batches(len(answers), stop, largest):
        progress.check()
        start, before = len(answers), 0.0 if batched is None else batched.seconds
        reference = plain.of(start, images)
        logits = reference if batched is None else batched(images)
        new = Answers.of(logits, labels, reference)
        answers = Answers.joined([answers, new])
        if batched is None:
            seconds = plain.seconds(start, len(answers))
        else:
            seconds = batched.seconds - before
        yield Step(answers, new, start, seconds)
        if settled(answers, precision):
            return


def settled(answers: Answers, precision: float | None) -> bool:
    """Tell whether the difference to float is known to +- `precision`; never for None.

    The interval's width decides, not whether it holds 0: that would find differences by chance.
    """
    if precision is None or not len(answers):
        return False
    return answers.evaluation(0).half_width <= precision


def _check(images: int, known: int, precision: float | None) -> None:
    if not images:
        raise ValueError("no images were given: give at least one")
    if known > images:
        raise ValueError(f"answers to {known} images are known, of a set of {images}: not its own")
    if precision is not None and not 0 < precision < 1:
        raise ValueError(f"a precision of {precision:g}: use a share between 0 and 1")


def evaluate(
    runs: Mapping[str, Run],
    batches: Iterable[tuple[Tensor, Tensor]],
    images: int,
    device: str | torch.device = "cpu",
    reference: str = "float",
    progress: Progress = SILENT,
) -> dict[str, Evaluation]:
    """Run every configuration on the same `images` images and count.

    Args:
        runs: configurations by name, each from images (B, 3, H, W) to logits (B, K).
        batches: of images and labels (B,).
        reference: the run that agreement and difference are with.

    Raises:
        ValueError: no images, logits that are not finite (the configuration is named), or no
            memory for a single image.
        Cancelled: the work was to stop.
    """
    batched = {name: Batched(name, run, device) for name, run in runs.items()}
    parts: dict[str, list[Answers]] = {name: [] for name in runs}
    for batch, labels in follow(batches, images, progress):
        logits = {name: run(batch) for name, run in batched.items()}
        for name, found in parts.items():
            found.append(Answers.of(logits[name], labels, logits[reference]))
    return {
        name: Answers.joined(found).evaluation(batched[name].seconds)
        for name, found in parts.items()
    }
