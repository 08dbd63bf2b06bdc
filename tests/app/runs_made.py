"""Made-up runs on real images of the bundled digits, for the Runs page and what it is made of."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from assets.models.load import LoadedModel, load_model
from assets.sets.image_set import ImageSet, load_images
from assets.sets.selection import take
from lrp.engine.layers import list_layers
from quant.evaluation.answers import Answers
from quant.history.recipe import Recipe
from quant.history.runs import Run, Runs
from quant.primitives.bits import uniform

IMAGES, CALIBRATION = 60, 4


@cache
def model(name: str = "digits-swin") -> LoadedModel:
    return load_model(name)


@cache
def sets(name: str = "digits-swin") -> tuple[ImageSet, ImageSet]:
    """The images that calibrate, and those that are measured."""
    loaded = model(name)
    pool = load_images(None, loaded, "calibration")
    return take(pool, CALIBRATION), take(load_images(None, loaded), IMAGES)


def recipe(width: int | None, name: str = "digits-swin", **changes: Any) -> Recipe:
    """All layers at one width, or float."""
    loaded, (calibration, images) = model(name), sets(name)
    layers = list_layers(loaded.model, loaded.input_size)
    made = Recipe(
        model=name,
        checkpoint=None,
        model_key=loaded.key,
        data=None,
        images_key=images.key,
        images=IMAGES,
        seed=0,
        preset="repq-vit",
        calibration_key=calibration.key,
        calibration_images=CALIBRATION,
        allocation=None if width is None else uniform(layers, width, width),
        objective="uniform",
        budget="" if width is None else f"{width} bits",
        device="cpu",
    )
    return replace(made, **changes)


def labels(name: str = "digits-swin") -> np.ndarray:
    images = sets(name)[1]
    return np.array([images.label(place) for place in range(IMAGES)], np.int32)


def answers(
    wrong: set[int], float_wrong: set[int] = frozenset(), name: str = "digits-swin"
) -> Answers:
    """Answers to all images: those at `wrong` places are one class too high."""
    right = labels(name)

    def said(places: set[int]) -> np.ndarray:
        moved = np.array([place in places for place in range(IMAGES)])
        return np.where(moved, (right + 1) % 10, right).astype(np.int32)

    predicted, reference = said(wrong), said(set(float_wrong))
    apart = (predicted != reference).astype(np.float32)
    return Answers(right, predicted, reference, predicted == right, apart)


def keep(runs: Runs, made: Recipe, said: Answers, done: bool = True) -> Run:
    """Put a run into the history."""
    run = runs.begin(made)
    runs.append(run.id, said, 1.5)
    if done:
        runs.finish(run.id)
    return runs.get(run.id)
