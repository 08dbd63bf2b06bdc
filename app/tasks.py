"""The long work of the dashboard, as jobs: scores and accuracy. Runs in the worker thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from app.jobs import Report, Work
from app.recent import Recent
from assets.data import ImageSet
from assets.models import LoadedModel
from assets.selection import batches, pictures
from lrp.rules import Rules
from lrp.scores import ContributionScores, contribution_scores
from quant.allocation import Allocation
from quant.calibration import Calibration, calibrate
from quant.cost import Cost
from quant.evaluation import Evaluation, Run, evaluate
from quant.fakequant import QuantizedModel

SEED = 0
SCORE_BATCH = 8  # relevance keeps every layer's operands
FLOAT = "float"


@dataclass(frozen=True, eq=False)
class Configuration:
    """One way to run the model: its bits (None is float) and what that costs.

    `kind` is "float", "uniform", "mixed" or "random".
    """

    kind: str
    name: str
    allocation: Allocation | None
    cost: Cost


@dataclass(frozen=True, eq=False)
class Measured:
    """One row of the accuracy page."""

    configuration: Configuration
    evaluation: Evaluation
    calibration_images: int


def device_of(loaded: LoadedModel) -> torch.device:
    """Return where the model's weights are."""
    return next(loaded.model.parameters()).device


def score(loaded: LoadedModel, images: ImageSet, rules: Rules) -> Work:
    """Make the job that scores every layer on all of `images`."""

    def work(report: Report, cancel: threading.Event) -> ContributionScores:
        report(0, len(images))
        return contribution_scores(
            loaded.model,
            pictures(images, SCORE_BATCH),
            len(images),
            rules,
            device=device_of(loaded),
            progress=report,
            cancel=cancel,
        )

    return work


def measure(
    loaded: LoadedModel,
    calibration_images: ImageSet,
    images: ImageSet,
    configurations: Sequence[Configuration],
    calibrations: Recent[Calibration],
) -> Work:
    """Make the job that evaluates `configurations` on all of `images`, with their float model."""

    def work(report: Report, cancel: threading.Event) -> list[Measured]:
        calibrating, total = len(calibration_images), len(calibration_images) + len(images)
        report(0, total)
        calibration = calibrations.get(
            (loaded.key, str(device_of(loaded)), calibration_images.key),
            lambda: _calibrate(loaded, calibration_images, total, report, cancel),
        )
        report(calibrating, total)
        found = evaluate(
            _runs(loaded, calibration, configurations),
            batches(images),
            len(images),
            device_of(loaded),
            reference=FLOAT,
            progress=lambda done, _: report(calibrating + done, total),
            cancel=cancel,
        )
        return [Measured(c, found[c.name], calibrating) for c in configurations]

    return work


def _calibrate(
    loaded: LoadedModel, images: ImageSet, total: int, report: Report, cancel: threading.Event
) -> Calibration:
    return calibrate(
        loaded.model,
        pictures(images),
        len(images),
        device_of(loaded),
        SEED,
        progress=lambda done, _: report(done, total),
        cancel=cancel,
    )


def _runs(
    loaded: LoadedModel, calibration: Calibration, configurations: Sequence[Configuration]
) -> dict[str, Run]:
    runs: dict[str, Run] = {FLOAT: loaded.model}  # always run: agreement is with it
    for configuration in configurations:
        if configuration.allocation is not None:
            quantized = QuantizedModel(loaded.model, calibration, configuration.allocation)
            runs[configuration.name] = quantized.run
    return runs
