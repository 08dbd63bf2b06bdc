"""Measure variants of a model on the same images, and keep what they answer in the history."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from lrp.engine.inputs import KeyedImages
from lrp.engine.progress import SILENT, Progress
from quant.calibration.tuning.kept import files_of
from quant.evaluation.image_set import Pictures
from quant.evaluation.logits import Logits, float_logits
from quant.evaluation.stream import Step, stream
from quant.experiments.calibrating import All, Calibrating, Kept
from quant.history.float_logits import FloatLogits
from quant.history.recipe import Recipe
from quant.history.record import record
from quant.history.runs import DONE, Run, Runs
from quant.model.quantized_model import QuantizedModel
from quant.primitives.bits import Allocation


@dataclass(frozen=True)
class Variant:
    """A way to run the model: bits by layer (None is float), and how they were chosen, in words."""

    allocation: Allocation | None
    objective: str
    budget: str

    def __str__(self) -> str:
        return f"{self.objective} {self.budget}"


FLOAT = Variant(None, "float", "float")


class Given(NamedTuple):
    """Where the weights, the images and the calibration images are, if they are the user's."""

    checkpoint: str | None = None
    data: str | None = None
    calibration: str | None = None


NOTHING = Given()


class Shared(NamedTuple):
    """What all variants share on one image set: its pictures, and float's logits."""

    pictures: Pictures
    plain: Logits


@dataclass(frozen=True, eq=False)
class Measuring:
    """What variants are measured with, and where results go.

    Attributes:
        images: measured on, in their order.
        history: None keeps nothing.
        given: as the user named them.
        seed: of the choice of images.
        kept: shares what is in memory.
    """

    calibrating: Calibrating
    images: KeyedImages
    history: Runs | None
    given: Given = NOTHING
    seed: int = 0
    kept: Kept[Shared] = field(default_factory=All)

    @property
    def key(self) -> tuple[str, ...]:
        """Name the model, how it is calibrated and what it is measured on."""
        return *self.calibrating.key, self.images.key

    def recipe(self, variant: Variant) -> Recipe:
        """Return all that it takes to repeat the measurement of a variant."""
        calibrating, loaded = self.calibrating, self.calibrating.loaded
        paths: dict[str, Any] = {
            name: None if path is None else os.path.abspath(path)
            for name, path in self.given._asdict().items()
        }
        return Recipe(
            model=loaded.name,
            model_key=loaded.key,
            images_key=self.images.key,
            images=len(self.images),
            seed=self.seed,
            preset=calibrating.preset.name,
            calibration_key=calibrating.images.key,
            calibration_images=len(calibrating.images),
            device=str(calibrating.device),
            **paths,
            **vars(variant),
        )

    @property
    def shared(self) -> Shared:
        """The pictures, and float's logits."""
        where = None if self.history is None else self.history.path
        key = (self.calibrating.loaded.key, str(self.calibrating.device), self.images.key, where)
        return self.kept.get(key, self._made)

    def _made(self) -> Shared:
        model, device = self.calibrating.loaded.model, self.calibrating.device
        history = self.history
        store = None if history is None else FloatLogits(history.path, self.recipe(FLOAT))
        return Shared(Pictures(self.images), float_logits(model, device, store))

    def logits(self, variant: Variant, progress: Progress = SILENT) -> Logits:
        """Return what a variant answers, calibrating first where that was not done yet."""
        if variant.allocation is None:
            return self.shared.plain
        calibration = self.calibrating.calibration
        calibration.solve_for(variant.allocation, progress)
        model = QuantizedModel(calibration, variant.allocation)
        return Logits(str(variant), model.run, self.calibrating.device, str(model.arithmetic))

    def measure(
        self,
        variant: Variant,
        precision: float | None = None,
        limit: int | None = None,
        progress: Progress = SILENT,
    ) -> Iterator[Step]:
        """Go on with a variant's run until its images, its precision or a limit is reached.

        `progress` hears of the calibration; `precision` and `limit` are as of `stream`.

        Raises:
            ValueError: the history cannot be written; before any work.
        """
        if self.history is not None:
            self.history.check_writable()
        logits = self.logits(variant, progress)
        steps = partial(
            stream, logits, *self.shared, precision=precision, limit=limit, progress=progress
        )
        return record(self.history, self.recipe(variant), steps)

    def ready(self, variant: Variant) -> bool:
        """Return whether a variant can be measured without calibrating first."""
        names = files_of(variant.allocation or {}, self.calibrating.preset)
        folder = self.calibrating.folder
        return folder is not None and all((folder / n).exists() for n in names)

    def warm(self, variant: Variant, progress: Progress = SILENT) -> bool:
        """Answer the first images and keep no answer; return False where it is not calibrated yet.

        Reading images and weights, and choosing kernels, would cost a first evaluation a second or
        two.
        """
        if not self.ready(variant):
            return False
        next(stream(self.logits(variant, progress), *self.shared, progress=progress))
        return True

    def done(self) -> list[Run]:
        """Return the finished runs of this model under this quantizer on these images."""
        if self.history is None:
            return []
        name = self.calibrating.preset.name
        return [
            run
            for run in self.history.listed(self.calibrating.loaded.key, self.images.key)
            if run.state == DONE and (run.recipe.allocation is None or run.recipe.preset == name)
        ]
