"""Reports to take away: each is written by a job, and kept for a while."""

import time
from collections.abc import Hashable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from app import public
from app.work import history, models
from app.work.job import Job
from app.work.wanted import Recent, Wanted
from assets.models.load import LoadedModel
from assets.sets.image_set import class_names
from lrp.engine.progress import Progress
from quant.history.recipe import Recipe
from quant.history.runs import Run
from quant.report.exported import Exported
from quant.report.page import write
from quant.report.subject import Opened, Subject, gather

KEPT = 4


def begin(
    loaded: LoadedModel, numbers: Sequence[int], exports: Sequence[Exported] = ()
) -> Hashable:
    """Begin a report of runs of a model, as the history is now; return the key of its job.

    Args:
        exports: what was exported of the first run.

    Raises:
        ValueError: the runs cannot be told of together.
    """
    subject = gather(history.history(), numbers)
    subject = replace(subject, opened=_opened(loaded, subject.recipe))
    make = partial(_made, _without_paths(subject) if public.on() else subject, exports)
    key = ("report", history.place(), tuple(numbers), time.monotonic_ns())
    title = f"Writing the report of run {subject.run.id}"
    Wanted(key, title, make, _kept(), models.jobs()).start(models.owner().name)
    return key


def written(key: Hashable) -> bytes | None:
    """Return a report that was begun, once it is written and while it is kept."""
    return _kept().peek(key)


def job(key: Hashable) -> Job | None:
    """Return the job that writes a report."""
    return models.jobs().find(key)


def _kept() -> "Recent[bytes]":
    kept: Recent[bytes] = models.memory("reports", KEPT)
    return kept


def _made(subject: Subject, exports: Sequence[Exported], progress: Progress) -> bytes:
    return write(subject, exports, progress).encode()


def _opened(loaded: LoadedModel, recipe: Recipe) -> Opened:
    opened = Opened(loaded, models.layers_of(loaded), class_names(loaded))
    try:
        images = models.measured_again(loaded, recipe)
        calibrating = models.calibrating_again(loaded, recipe)
    except ValueError as error:
        return replace(opened, missing=(f"The images are not here: {error}.",))
    return replace(opened, images=images, calibrating=calibrating)


def _without_paths(subject: Subject) -> Subject:
    """Name files of this machine by their names alone."""

    def named(run: Run) -> Run:
        paths = run.recipe.checkpoint, run.recipe.data, run.recipe.calibration
        checkpoint, data, calibration = (path and Path(path).name for path in paths)
        recipe = replace(run.recipe, checkpoint=checkpoint, data=data, calibration=calibration)
        return replace(run, recipe=recipe)

    beside, others = (tuple(map(named, runs)) for runs in (subject.beside, subject.others))
    return replace(subject, run=named(subject.run), beside=beside, others=others)
