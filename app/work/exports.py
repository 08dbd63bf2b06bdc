"""Exports to take away: each is made and checked by a job, and kept for a while."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial

from app.work import models
from app.work.job import DONE, Job
from app.work.wanted import Recent, Wanted
from assets.models.load import LoadedModel
from lrp.engine.inputs import Images
from lrp.engine.progress import Progress
from quant.experiments.calibrating import Calibrating
from quant.export.formats import FORMATS
from quant.export.request import Exported, Request
from quant.history.recipe import Recipe

KEPT = 2  # files, each of which may be as large as the float model


@dataclass(frozen=True, eq=False)
class Subject:
    """A quantized model that can be taken away.

    Attributes:
        recipe: of its measurement.
        open: returns how it is calibrated and the images it is checked on; ValueError where they
            are not there any more.
    """

    loaded: LoadedModel
    recipe: Recipe
    open: Callable[[], tuple[Calibrating, Images]]

    def key(self, to: str) -> tuple[Hashable, ...]:
        """Name its export to a format: the same on all pages, and for all sessions."""
        return "export", to, self.recipe.key

    def made(self, to: str) -> Exported | None:
        """Return an export, once it is made and while it is kept."""
        return _kept().peek(self.key(to))

    def job(self, to: str) -> Job | None:
        """Return the job that makes an export, or that failed to."""
        job = models.jobs().find(self.key(to))
        return None if job is not None and job.state == DONE else job

    def begin(self, to: str) -> None:
        """Begin an export; where what it needs is not there, the job fails and says so."""
        make: Callable[[Progress], Exported]
        try:
            make = partial(_exported, self, to, *self.open())
        except ValueError as error:
            make = partial(_refused, error)
        title = f"Exporting {self.recipe.model} to {to}"
        Wanted(self.key(to), title, make, _kept(), models.jobs()).start(models.owner().name)


def _kept() -> "Recent[Exported]":
    kept: Recent[Exported] = models.memory("exports", KEPT)
    return kept


def _exported(
    subject: Subject, to: str, calibrating: Calibrating, images: Images, progress: Progress
) -> Exported:
    assert subject.recipe.allocation is not None
    given = (subject.loaded, calibrating.calibration, subject.recipe.allocation, images)
    return FORMATS[to].export(Request.of(*given, progress=progress))


def _refused(error: ValueError, progress: Progress) -> Exported:
    raise error
