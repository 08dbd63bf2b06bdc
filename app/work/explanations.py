"""All of a picture that pages may wait for: traces, relevance, methods' maps and their curves.

Each comes as something wanted: kept, or to be made by a job. Keys are the model's, the device and
the SHA-256 of the picture, never values.
"""

import hashlib
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from app.work import models
from app.work.job import Work
from app.work.wanted import Recent, Wanted
from assets.models.load import LoadedModel
from lrp.engine.device import forward_backward, timed
from lrp.engine.progress import Progress
from lrp.maps.cells import grid
from lrp.maps.heatmap import heatmap_alone
from lrp.maps.pictures import from_model_input
from lrp.methods.catalogue import METHODS, Method
from lrp.metrics.deletion import STEPS, curves, deleted
from lrp.propagation.relevance import Relevance, relevance
from lrp.propagation.rules import PRESETS
from lrp.propagation.trace import Trace
from quant.experiments.calibrating import Calibrating
from quant.model.quantized_trace import QuantizedTrace
from quant.primitives.bits import Allocation

MAP, CURVES = "map", "curves"  # what keys of the methods' jobs begin with
# Rough costs in forward and backward passes, to tell the time left before anything was measured.
COSTS, OTHER_COST, CURVES_COST = {"integrated-gradients": 32.0, "occlusion": 80.0}, 2.0, 12.0
BRIEF = 0.5  # seconds: maps made this fast are made again, as the first time is no measure
REPEATS = 5


@dataclass(frozen=True, eq=False)
class Prepared:
    """A picture as a model sees it: `images` (1, 3, H, W) and the same as a picture."""

    key: str
    images: Tensor
    seen: Image.Image


@dataclass(frozen=True, eq=False)
class MethodMap:
    """A method's map (h, w) of one image, and what it took: seconds, and as a multiple of the
    model's own forward and backward pass."""

    values: np.ndarray
    seconds: float
    cost: float


@dataclass(frozen=True, eq=False)
class Curves:
    """A class's probability as a share of the image is deleted, each (S + 1,).

    `morf` deletes what the map calls most relevant first, `lerf` what it calls least relevant.
    """

    deleted: np.ndarray
    morf: np.ndarray
    lerf: np.ndarray

    @property
    def gap(self) -> float:
        """The mean of LeRF - MoRF over the curve: the larger, the more faithful."""
        return float(self.lerf.mean() - self.morf.mean())


@dataclass(frozen=True, eq=False)
class Explained:
    """What a configuration makes of one image: probabilities (K,), and a class's map (h, w)."""

    probabilities: np.ndarray
    values: np.ndarray

    @property
    def answer(self) -> int:
        """The likeliest class."""
        return int(self.probabilities.argmax())


def prepare(loaded: LoadedModel, picture: Image.Image) -> Prepared:
    """Prepare a picture as the model was trained to see it."""
    digest = hashlib.sha256(picture.tobytes() + repr(picture.size).encode()).hexdigest()
    return _prepare(loaded, picture, digest)


def prepare_upload(
    loaded: LoadedModel, identifier: str, picture: Callable[[], Image.Image]
) -> Prepared:
    """Prepare a picture that is known by its content; kept, so that it is decoded once."""
    kept: Recent[Prepared] = models.memory("prepared uploads", 32)
    return kept.get((loaded.key, identifier), lambda: _prepare(loaded, picture(), identifier))


def _prepare(loaded: LoadedModel, picture: Image.Image, digest: str) -> Prepared:
    images = loaded.transform()(picture)[None]
    config = loaded.data_config
    seen = from_model_input(images[0].numpy(), config["mean"], config["std"])
    return Prepared(f"{loaded.key}-{digest}", images, seen)


def trace_of(loaded: LoadedModel, prepared: Prepared, rules: str) -> Wanted[Trace]:
    """Return the one forward pass that all targets of an image share."""
    device = models.device_of(loaded)

    def make(progress: Progress) -> Trace:
        return Trace(loaded.model, prepared.images.to(device), PRESETS[rules])

    # Few are kept: a trace holds every layer's operands.
    key = ("trace", prepared.key, str(device), rules)
    title = f"Running {loaded.name}"
    return Wanted(key, title, make, models.memory("traces", 4), models.quick_jobs())


def relevance_of(trace: Trace, prepared: Prepared, target: int) -> Wanted[Relevance]:
    """Return the relevance of a target, propagated back through an image's trace."""
    key = ("relevance", prepared.key, str(trace.images.device), trace.rules.name, target)
    title, kept = "Propagating relevance", models.memory("relevances", 6)
    return Wanted(key, title, lambda progress: relevance(trace, target), kept, models.quick_jobs())


def map_of(
    loaded: LoadedModel, prepared: Prepared, method: str, target: int, at_once: bool = False
) -> Wanted[MethodMap]:
    """Return a method's map of a target, with what it costs; `at_once` jumps the queue of jobs."""
    make = partial(explain, loaded, prepared.images, METHODS[method], target)
    key = (MAP, prepared.key, str(models.device_of(loaded)), loaded.key, method, target)
    queue = models.quick_jobs() if at_once else models.jobs()
    return Wanted(key, METHODS[method].label, _timed(key, make), models.memory("maps", 128), queue)


def curves_of(loaded: LoadedModel, prepared: Prepared, method: str, target: int) -> Wanted[Curves]:
    """Return a map's deletion curves."""
    wanted = map_of(loaded, prepared, method, target)
    key = (CURVES, *wanted.key[1:])

    def make(progress: Progress) -> Curves:
        method_map = wanted.kept.get(wanted.key, lambda: wanted.make(progress))
        return delete(loaded, prepared.images, method_map.values, target)

    title = f"the faithfulness of {METHODS[method].label}"
    return Wanted(key, title, _timed(key, make), models.memory("curves", 256), models.jobs())


def explained_of(
    loaded: LoadedModel,
    prepared: Prepared,
    calibrating: Calibrating | None,
    allocation: Allocation | None,
    target: int,
) -> Wanted[Explained]:
    """Return a class's map of one picture in a configuration; None is float, and needs no passes.

    Passes that the allocation needs have to be solved.
    """
    device = models.device_of(loaded)

    def make(progress: Progress) -> Explained:
        images = prepared.images.to(device)
        if calibrating is None or allocation is None:
            trace = Trace(loaded.model, images)
        else:
            trace = QuantizedTrace(images, calibrating.calibration, allocation)
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


def _timed(key: tuple[Hashable, ...], make: Work) -> Work:
    """Remember how long something took, to say how long the like of it will take."""

    def timed(progress: Progress) -> Any:
        started = time.monotonic()
        made = make(progress)
        models.memory("seconds", 256).put(_like(key), time.monotonic() - started)
        return made

    return timed


def seconds_of(key: tuple[Hashable, ...]) -> float | None:
    """Return how long the like of something took: the same of another picture, or None."""
    return models.memory("seconds", 256).peek(_like(key))


def rough_cost(key: tuple[Hashable, ...]) -> float:
    """Guess what a map or its curves cost, in forward and backward passes of the model."""
    return CURVES_COST if key[0] == CURVES else COSTS.get(str(key[4]), OTHER_COST)


def _like(key: tuple[Hashable, ...]) -> Hashable:
    kind, _, device, model, method, _ = key
    return kind, device, model, method


def explain(
    loaded: LoadedModel, images: Tensor, method: Method, target: int, progress: Progress
) -> MethodMap:
    """Make a method's map of one image (1, 3, H, W), and measure what that takes."""
    model, (pictures, classes) = loaded.model, _placed(loaded, images, target)
    forward_backward(model, pictures, classes)  # prepares what later passes find ready
    took: list[float] = []
    own: list[float] = []
    while not took or (len(took) < REPEATS and sum(took) < BRIEF):
        progress.check()
        maps, seconds = timed(lambda: method.maps(model, pictures, classes), pictures.device)
        took.append(seconds)
        own.append(timed(lambda: forward_backward(model, pictures, classes), pictures.device)[1])
    # The least of each is what other work on this machine disturbed least.
    return MethodMap(maps[0].cpu().numpy(), min(took), min(took) / min(own))


def delete(loaded: LoadedModel, images: Tensor, values: np.ndarray, target: int) -> Curves:
    """Delete one image's cells in the order that a map of the target ranks them."""
    pictures, classes = _placed(loaded, images, target)
    maps = torch.as_tensor(values, device=pictures.device)[None]
    rows, columns = grid(loaded.model, *pictures.shape[-2:])
    steps = min(STEPS, rows * columns)
    morf, lerf = curves(loaded.model, pictures, maps, classes, steps)
    shares = deleted(rows * columns, steps).numpy() / (rows * columns)
    return Curves(shares, morf[0].cpu().numpy(), lerf[0].cpu().numpy())


def _placed(loaded: LoadedModel, images: Tensor, target: int) -> tuple[Tensor, Tensor]:
    device = models.device_of(loaded)
    return images.to(device), torch.tensor([target], device=device)
