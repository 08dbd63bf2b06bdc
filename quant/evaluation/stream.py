"""Measure accuracy as it comes, with what is known of its error, on the same images for all."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from lrp.engine.progress import SILENT, Progress
from quant.evaluation.answers import Answers, Evaluation
from quant.evaluation.image_set import LARGEST, Pictures
from quant.evaluation.logits import Logits


@dataclass(frozen=True, eq=False)
class Step:
    """Where an evaluation stands.

    Attributes:
        name: of the configuration;  path: how its layers are multiplied, in words.
        wanted: how many images there are to answer.
        answers: all so far, those known before included; the new ones begin at image `start`.
        seconds: spent running the configuration, in all.
        run: its number in the history, None where none is kept.
    """

    name: str
    path: str
    wanted: int
    answers: Answers
    start: int
    seconds: float
    run: int | None = None

    @property
    def new(self) -> Answers:
        """The answers that this step brought."""
        return self.answers.part(self.start)

    @property
    def evaluation(self) -> Evaluation:
        """What the answers say so far."""
        return self.answers.evaluation(self.seconds)


def stream(
    configuration: Logits,
    pictures: Pictures,
    plain: Logits,
    known: Answers | None = None,
    seconds: float = 0.0,
    *,
    precision: float | None = None,
    limit: int | None = None,
    largest: int = LARGEST,
    progress: Progress = SILENT,
) -> Iterator[Step]:
    """Evaluate a configuration batch by batch, in the order of the images.

    The first step comes without running anything where answers are known already.

    Args:
        plain: the float model's logits on these images; they are a configuration too.
        known: answers to the first images, from an evaluation that was cut off.
        seconds: that those took.
        precision: stop once the difference to float is known to +- this share; None: all images.
        limit: stop after so many images; None: all.
        largest: images of a batch, after the first few.

    Raises:
        ValueError: no images, more known answers than images, a precision outside 0 to 1, logits
            that are not finite (the configuration is named), or no memory for a single image.
        Cancelled: the work was to stop when a batch was due.
    """
    answers = Answers.none() if known is None else known
    _check(len(pictures), len(answers), precision)
    named = configuration.name, configuration.path, len(pictures)
    step = Step(*named, answers, len(answers), seconds)
    if len(answers):
        yield step
    if settled(answers, precision):
        return
    stop = len(pictures) if limit is None else min(limit, len(pictures))
    for images, labels in pictures.batches(len(answers), stop, largest):
        progress.check()
        step = _next(step, images, labels, configuration, plain)
        yield step
        if settled(step.answers, precision):
            return


def _next(step: Step, images: Tensor, labels: Tensor, configuration: Logits, plain: Logits) -> Step:
    """Answer a batch more."""
    start = len(step.answers)
    reference = plain.of(start, images)
    logits = reference if configuration is plain else configuration.of(start, images)
    answers = Answers.joined([step.answers, Answers.of(logits, labels, reference)])
    seconds = step.seconds + configuration.seconds(start, len(answers))
    return replace(step, answers=answers, start=start, seconds=seconds)


def settled(answers: Answers, precision: float | None) -> bool:
    """Return whether the difference to float is known to +- `precision`; never for None.

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
