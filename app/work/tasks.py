"""The dashboard's long work, as jobs: methods' maps, scores, sensitivities. Runs in a worker."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from app.work.jobs import Work
from app.work.recent import Recent
from assets.home import home
from assets.models.load import LoadedModel
from assets.sets.image_set import ImageSet
from assets.sets.selection import pictures
from lrp.engine.progress import Progress
from lrp.engine.timing import forward_backward, timed
from lrp.maps.cells import grid
from lrp.methods.catalogue import Method
from lrp.metrics.deletion import STEPS, curves, deleted
from lrp.propagation.rules import PRESETS
from lrp.propagation.scores import BATCH, ContributionScores, contribution_scores
from quant.analysis.sensitivity import Sensitivity, sensitivity_path
from quant.analysis.sensitivity_estimation import find
from quant.calibration.calibration import Calibration, calibrate, calibration_folder
from quant.calibration.presets import Preset

BRIEF = 0.5  # seconds: maps made this fast are made again, as the first time is no measure
REPEATS = 5


@dataclass(frozen=True, eq=False)
class Scoring:
    """How layers are scored: on which images, by which rules, by what of their relevance."""

    images: ImageSet
    rules: str
    statistic: str


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


def score(loaded: LoadedModel, scoring: Scoring) -> Work:
    """Make the job that scores every layer."""
    images = scoring.images

    def work(progress: Progress) -> ContributionScores:
        progress(0, len(images))
        return contribution_scores(
            loaded.model,
            pictures(images, BATCH),
            len(images),
            PRESETS[scoring.rules],
            scoring.statistic,
            device=device_of(loaded),
            progress=progress,
        )

    return work


@dataclass(frozen=True, eq=False)
class Calibrating:
    """On which images a model is calibrated, and how; the result is shared by all sessions."""

    loaded: LoadedModel
    images: ImageSet
    preset: Preset

    @property
    def key(self) -> tuple[str, ...]:
        """Name the calibration."""
        device = str(device_of(self.loaded))
        return self.loaded.key, device, self.images.key, self.preset.name

    @property
    def folder(self) -> pathlib.Path:
        """Where its passes are kept."""
        return calibration_folder(home(), (self.loaded.key, self.images.key), self.preset)

    def sensitivities(self, how: str) -> pathlib.Path:
        """Where its layers' sensitivities are kept."""
        return sensitivity_path(self.folder, how)

    def obtain(self, kept: Recent[Calibration]) -> Calibration:
        """Return the calibration, whose passes may still have to be solved."""
        batches, device = pictures(self.images), device_of(self.loaded)
        return kept.get(
            self.key,
            lambda: calibrate(self.loaded.model, batches, self.preset, device, self.folder),
        )


def sense(
    calibrating: Calibrating, how: str, calibrations: Recent[Calibration]
) -> Callable[[Progress], Sensitivity]:
    """Make the job that finds each layer's sensitivity at each width, and keeps it in a file."""

    def work(progress: Progress) -> Sensitivity:
        calibration = calibrating.obtain(calibrations)
        calibration.solve(progress=progress.of("calibrating, layer"))
        found = find(calibration, how, None, progress.of("layer"))
        found.write(calibrating.sensitivities(how))
        return found

    return work
