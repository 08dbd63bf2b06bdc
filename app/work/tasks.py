"""The dashboard's long work, as jobs: methods' maps, scores, sensitivities. Runs in a worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from app.work.jobs import Work
from assets.models.load import LoadedModel
from lrp.engine.device import forward_backward, timed
from lrp.engine.progress import Progress
from lrp.maps.cells import grid
from lrp.methods.catalogue import Method
from lrp.metrics.deletion import STEPS, curves, deleted
from lrp.propagation.scores import ContributionScores
from lrp.propagation.scoring import Scoring

BRIEF = 0.5  # seconds: maps made this fast are made again, as the first time is no measure
REPEATS = 5


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


def device_of(loaded: LoadedModel) -> torch.device:
    """Return where the model's weights are."""
    return next(loaded.model.parameters()).device


def explain(
    loaded: LoadedModel, images: Tensor, method: Method, target: int
) -> Callable[[Progress], MethodMap]:
    """Make the job that makes a method's map of one image (1, 3, H, W)."""

    def work(progress: Progress) -> MethodMap:
        model, (pictures, classes) = loaded.model, _placed(loaded, images, target)
        forward_backward(model, pictures, classes)  # prepares what later passes find ready
        took: list[float] = []
        own: list[float] = []
        while not took or (len(took) < REPEATS and sum(took) < BRIEF):
            progress.check()
            maps, seconds = timed(lambda: method.maps(model, pictures, classes), pictures.device)
            took.append(seconds)
            own.append(
                timed(lambda: forward_backward(model, pictures, classes), pictures.device)[1]
            )
        # The least of each is what other work on this machine disturbed least.
        return MethodMap(maps[0].cpu().numpy(), min(took), min(took) / min(own))

    return work


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
    device = device_of(loaded)
    return images.to(device), torch.tensor([target], device=device)


def score(scoring: Scoring) -> Work:
    """Make the job that scores every layer."""

    def work(progress: Progress) -> ContributionScores:
        progress(0, len(scoring.images))
        return scoring.scores(progress)

    return work
