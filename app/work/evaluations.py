"""Evaluations as jobs: one configuration that streams, or a sweep of several. All are kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from app.work.jobs import Work
from app.work.recent import Recent
from app.work.tasks import Calibrating, device_of
from assets.sets.image_set import ImageSet
from lrp.engine.progress import Progress
from quant.calibration.calibration import Calibration, file_of, needed
from quant.evaluation.answers import Answers, Evaluation
from quant.evaluation.float_logits import FloatLogits
from quant.evaluation.image_set import Pictures
from quant.evaluation.stream import Step, stream
from quant.history.recipe import Recipe
from quant.history.record import record
from quant.history.runs import DONE, Run, Runs
from quant.layers.runtime import Arithmetic
from quant.model.quantized_model import QuantizedModel
from quant.primitives.bits import Allocation


@dataclass(frozen=True)
class Wish:
    """A way to run the model: bits by layer (None is float), and how they were chosen."""

    allocation: Allocation | None
    objective: str
    budget: str


@dataclass(frozen=True, eq=False)
class Live:
    """What an evaluation says so far.

    Attributes:
        wanted: how many images it was to see.
        run: its number in the history.
        path: whether layers with weights multiply integers; None for float.
    """

    wish: Wish
    evaluation: Evaluation
    wanted: int
    run: int | None
    path: Arithmetic | None


@dataclass(frozen=True, eq=False)
class Measuring:
    """What configurations are measured with, and where results go.

    Attributes:
        calibrating: the model, and how it is calibrated.
        images: measured on, in their order.
        checkpoint, folder: where the user's weights and images are, if they are the user's.
        pictures, plain: shared by all evaluations on these images.
    """

    calibrating: Calibrating
    images: ImageSet
    checkpoint: str | None
    folder: str | None
    pictures: Pictures
    plain: FloatLogits
    calibrations: Recent[Calibration]
    history: Runs

    @property
    def key(self) -> tuple[str, ...]:
        """Name the model, how it is calibrated and what it is measured on."""
        return *self.calibrating.key, self.images.key

    def recipe(self, wish: Wish) -> Recipe:
        """Say all that it takes to repeat a wish."""
        chosen, loaded = self.calibrating, self.calibrating.loaded
        checkpoint, folder = (
            None if path is None else os.path.abspath(path)
            for path in (self.checkpoint, self.folder)
        )
        return Recipe(
            model=loaded.name,
            checkpoint=checkpoint,
            model_key=loaded.key,
            data=folder,
            images_key=self.images.key,
            images=len(self.images),
            seed=0,
            preset=chosen.preset.name,
            calibration_key=chosen.images.key,
            calibration_images=len(chosen.images),
            allocation=wish.allocation,
            objective=wish.objective,
            budget=wish.budget,
            device=str(device_of(loaded)),
        )

    def done(self) -> list[Run]:
        """Return the finished runs of this model under this quantizer on these images."""
        found = self.history.listed(self.calibrating.loaded.key, self.images.key)
        name = self.calibrating.preset.name
        return [
            run
            for run in found
            if run.state == DONE and (run.recipe.allocation is None or run.recipe.preset == name)
        ]


def evaluate(measuring: Measuring, wish: Wish, precision: float | None) -> Work:
    """Make the job that evaluates one configuration; `so_far` is a `Live`.

    Args:
        precision: stop once the difference to float is known to +- this share; None: all images.
    """

    def work(progress: Progress) -> Live:
        progress(0, len(measuring.images), "image")
        found = None
        for found in _streamed(measuring, wish, precision, progress):
            progress(found.evaluation.images, found.wanted, "image", found)
        assert found is not None  # there is at least one image
        return found

    return work


def warm(measuring: Measuring, wish: Wish) -> Work:
    """Make the job that gets ready what a first evaluation needs, where it is calibrated already.

    Reading images and weights, and choosing kernels, would cost the first release a second or two.
    """

    def work(progress: Progress) -> bool:
        folder = measuring.calibrating.folder
        widths = needed(wish.allocation or {})
        if not all(file_of(folder, width).exists() for width in widths):
            return False
        run, _ = _ready(measuring, wish, progress)
        device = device_of(measuring.calibrating.loaded)
        next(stream(run, measuring.pictures, measuring.plain, device, progress=progress))
        return True

    return work


def sweep(measuring: Measuring, wishes: Sequence[Wish], precision: float | None) -> Work:
    """Make the job that evaluates configurations one after another; what is done is kept."""

    def work(progress: Progress) -> int:
        count, total = len(measuring.images), len(measuring.images) * len(wishes)
        for index, wish in enumerate(wishes):
            for found in _streamed(measuring, wish, precision, progress):
                progress(index * count + found.evaluation.images, total, "image", found)
        return len(wishes)

    return work


def _streamed(
    measuring: Measuring,
    wish: Wish,
    precision: float | None,
    progress: Progress,
) -> Iterator[Live]:
    """Go on with a wish's run, calibrating first where that was not done yet."""
    run, path = _ready(measuring, wish, progress)
    device = device_of(measuring.calibrating.loaded)

    def steps(known: Answers) -> Iterator[Step]:
        return stream(
            run,
            measuring.pictures,
            measuring.plain,
            device,
            name=f"{wish.objective} {wish.budget}",
            known=known,
            precision=precision,
            progress=progress,
        )

    for state in record(measuring.history, measuring.recipe(wish), steps):
        yield Live(wish, state.evaluation, len(measuring.images), state.run, path)


def _ready(
    measuring: Measuring, wish: Wish, progress: Progress
) -> tuple[Callable | None, Arithmetic | None]:
    """Return what runs a wish, and how."""
    if wish.allocation is None:
        return None, None
    calibration = measuring.calibrating.obtain(measuring.calibrations)
    calibration.solve_for(
        wish.allocation,
        progress.of("calibrating, layer"),
    )
    loaded = measuring.calibrating.loaded
    quantized = QuantizedModel(loaded.model, calibration, wish.allocation)
    return quantized.run, quantized.arithmetic
