"""Measure configurations on the same images, and keep what they answer in the history."""

from __future__ import annotations

import argparse
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch

from assets.home import home
from assets.sets.image_set import ImageSet
from assets.terminal import print_progress
from lrp.engine.progress import Progress
from quant.commands.calibrating import Calibrating
from quant.commands.text import accuracy, to_float
from quant.evaluation.answers import Answers
from quant.evaluation.batched import Run
from quant.evaluation.float_logits import FloatLogits
from quant.evaluation.image_set import Pictures
from quant.evaluation.stream import Step, stream
from quant.history.recipe import Recipe
from quant.history.record import Recorded, record
from quant.history.runs import FILE, Runs
from quant.model.quantized_model import QuantizedModel
from quant.primitives.bits import Allocation

SEED = 0
Steps = Callable[[Answers], Iterator[Step]]


def add_history(parser: argparse.ArgumentParser) -> None:
    """Ask how well accuracies have to be known, and whether they are kept."""
    parser.add_argument(
        "--precision",
        type=float,
        metavar="POINTS",
        help="stop once the difference to float is known to plus or minus this (default: never)",
    )
    parser.add_argument(
        "--no-history", action="store_true", help="neither go on with a run nor keep this one"
    )


def history(options: argparse.Namespace) -> Runs | None:
    """Open the history, unless none is wanted."""
    return None if options.no_history else Runs(home() / FILE)


def precision(options: argparse.Namespace) -> float | None:
    """Return the precision asked for, as a share."""
    points = options.precision
    if points is not None and not 0 < points < 100:
        raise ValueError(f"--precision {points:g}: use points between 0 and 100, such as 0.5")
    return None if points is None else points / 100


@dataclass(frozen=True, eq=False)
class Measuring:
    """What configurations are measured with, and where results go.

    Attributes:
        images: measured on, in their order.
        folders: of the weights, the images and the calibration images, where they are the user's.
        history: None keeps nothing.
        precision: stop once the difference to float is known to +- this share; None: all images.
    """

    calibrating: Calibrating
    images: ImageSet
    folders: tuple[str | None, str | None, str | None]
    history: Runs | None
    precision: float | None

    @classmethod
    def of(
        cls,
        options: argparse.Namespace,
        calibrating: Calibrating,
        images: ImageSet,
        history: Runs | None,
    ) -> Measuring:
        """Read the options."""
        given = (options.checkpoint, options.data, options.calibration)
        checkpoint, data, others = (f if f is None else os.path.abspath(f) for f in given)
        folders = (checkpoint, data, others)
        return cls(calibrating, images, folders, history, precision(options))

    @cached_property
    def _shared(self) -> tuple[Pictures, FloatLogits, torch.device]:
        loaded, device = self.calibrating.subject.loaded, self.calibrating.subject.device
        return Pictures(self.images), FloatLogits(loaded.model, device), device

    def recipe(self, allocation: Allocation | None, objective: str, budget: str) -> Recipe:
        """Say all that it takes to repeat a configuration; None is float."""
        loaded, chosen = self.calibrating.subject.loaded, self.calibrating
        checkpoint, data, others = self.folders
        return Recipe(
            model=loaded.name,
            checkpoint=checkpoint,
            model_key=loaded.key,
            data=data,
            images_key=self.images.key,
            images=len(self.images),
            seed=SEED,
            preset=chosen.preset.name,
            calibration_key=chosen.images.key,
            calibration_images=len(chosen.images),
            allocation=allocation,
            objective=objective,
            budget=budget,
            device=str(chosen.subject.device),
            calibration=others,
        )

    def quantized(self, allocation: Allocation) -> QuantizedModel:
        """Quantize the model, calibrating first where that was not done yet."""
        calibration = self.calibrating.calibration
        calibration.solve_for(allocation, Progress(print_progress("calibration")))
        return QuantizedModel(self.calibrating.subject.loaded.model, calibration, allocation)

    def measure(self, recipe: Recipe, run: Run, title: str = "evaluation") -> Recorded:
        """Go on with a configuration's run until its images or its precision are reached."""

        def steps(known: Answers) -> Iterator[Step]:
            return stream(
                run, *self._shared, name=recipe.budget, known=known, precision=self.precision
            )

        return _last(record(self.history, recipe, _shown(title, len(self.images), steps)))

    def measure_float(self, count: int) -> Recorded:
        """Measure the float model on the first `count` images."""

        def steps(known: Answers) -> Iterator[Step]:
            return stream(None, *self._shared, known=known, limit=count)

        recipe = self.recipe(None, "float", "float")
        return _last(record(self.history, recipe, _shown("float", count, steps)))


def _last(states: Iterator[Recorded]) -> Recorded:
    return deque(states, maxlen=1).pop()


def _shown(what: str, total: int, steps: Steps) -> Steps:
    """Print how far the steps are, and what they say so far."""

    def shown(known: Answers) -> Iterator[Step]:
        report, done, note = print_progress(what, len(known)), 0, ""
        for step in steps(known):
            found = step.answers.evaluation(0)
            done = min(len(step.answers), total)
            note = f"{accuracy(found)}, {to_float(found)}" if found.half_width else accuracy(found)
            report(done, total, note)
            yield step
        report(done, done, note)  # stopped early, that is all there will be

    return shown
