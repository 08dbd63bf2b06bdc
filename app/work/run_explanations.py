"""What a run's images and explanations are made of again: data sets, calibrations, maps."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch

from app.work import models
from app.work.explanations import Prepared
from app.work.wanted import Wanted
from assets.errors import InputError
from assets.models.load import LoadedModel
from assets.sets.image_set import ImageSet
from lrp.engine.progress import Progress
from lrp.maps.heatmap import heatmap_alone
from lrp.propagation.trace import Trace
from quant.experiments.calibrating import Calibrating
from quant.history.recipe import Recipe
from quant.model.quantized_trace import QuantizedTrace
from quant.primitives.bits import Allocation


@dataclass(frozen=True, eq=False)
class Explained:
    """What a configuration makes of one image: probabilities (K,), and a class's map (h, w)."""

    probabilities: np.ndarray
    values: np.ndarray

    @property
    def answer(self) -> int:
        """The likeliest class."""
        return int(self.probabilities.argmax())


def measured(loaded: LoadedModel, recipe: Recipe) -> ImageSet:
    """Return the images a run was measured on; InputError where they are not there any more."""
    images = models.draw_again(loaded, recipe).measured
    return _checked(images, recipe.images_key, "measured")


def calibrating(loaded: LoadedModel, recipe: Recipe) -> Calibrating:
    """Say how a run's layers were calibrated; InputError where the images are not there."""
    images = models.draw_again(loaded, recipe).calibrating
    found = _checked(images, recipe.calibration_key, "calibrated")
    return models.calibrating_on(loaded, found, recipe.preset)


def _checked(images: ImageSet, key: str, done: str) -> ImageSet:
    if images.key != key:
        raise InputError(
            f"the images this run was {done} on are no longer what {images.name} holds"
        )
    return images


def explained_of(
    loaded: LoadedModel,
    prepared: Prepared,
    calibrating: Calibrating | None,
    allocation: Allocation | None,
    target: int,
) -> Wanted[Explained]:
    """Want a class's map of one picture in a configuration; None is float, and needs no passes.

    Passes that the allocation needs have to be solved.
    """
    device = models.device_of(loaded)

    def make(progress: Progress) -> Explained:
        images = prepared.images.to(device)
        if calibrating is None or allocation is None:
            trace = Trace(loaded.model, images)
        else:
            trace = QuantizedTrace(loaded.model, images, calibrating.calibration, allocation)
        probabilities = torch.softmax(trace.logits[0].detach(), 0)
        values = heatmap_alone(trace, target)[0]
        return Explained(probabilities.cpu().numpy(), values.detach().cpu().numpy())

    named: tuple[str, ...] = ("float",)
    if calibrating is not None and allocation is not None:
        named = (*calibrating.key, hashlib.sha256(repr(allocation).encode()).hexdigest())
    key = ("run map", prepared.key, str(device), *named, target)
    how = "in float" if allocation is None else "through its integers"
    title = f"Explaining the image {how}"
    return Wanted(key, title, make, models.memory("runs' maps", 64), models.quick_jobs())
