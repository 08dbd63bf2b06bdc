"""What all pages share: sessions, job queues, models, images, calibrations.

Pages hold nothing themselves; `explanations` beside this file keeps what belongs to one picture,
`spending` what belongs to a budget. All caches are bounded.
"""

import atexit
import gc
import time
from dataclasses import dataclass
from operator import attrgetter
from typing import Any
from uuid import uuid4

import streamlit as st
import torch

from app import public
from app.state.selection import ModelChoice
from app.work.digests import weights_held
from app.work.job import Job
from app.work.jobs import JobQueue
from app.work.wanted import Recent
from assets.errors import InputError
from assets.home import home
from assets.models.load import BUNDLED, LoadedModel, load_model
from assets.pictures.sources import fingerprint
from assets.sets.image_set import ImageSet, load_images
from assets.sets.selection import Draw
from lrp.engine.device import resolve_device
from lrp.engine.layers import Layer, list_layers
from lrp.propagation.scores import Scoring
from quant.allocation.cost import CostModel
from quant.calibration.calibration import Calibration
from quant.calibration.presets import preset
from quant.experiments.calibrating import Calibrating
from quant.history.recipe import Recipe

CALIBRATION_IMAGES = 32
BY_KEY: dict[Any, Any] = {LoadedModel: attrgetter("key")}  # how caches tell models apart


@dataclass(frozen=True, eq=False)
class Owner:
    """A browser session, as the job queue knows it."""

    name: str
    queues: tuple[JobQueue, ...]

    def close(self) -> None:
        """Withdraw from all jobs: nobody looks at them any more."""
        for queue in self.queues:
            queue.leave_all(self.name)


@st.cache_resource(show_spinner=False)
def jobs() -> JobQueue:
    """Return this process's queue of long jobs, shared by all sessions."""
    return JobQueue(public.JOBS, public.SECONDS) if public.on() else JobQueue()


@st.cache_resource(show_spinner=False)
def quick_jobs() -> JobQueue:
    """Return the queue of jobs that a page waits for, which long ones must not hold up."""
    return JobQueue()


@st.cache_resource(show_spinner=False)
def memory(what: str, max_entries: int) -> Recent[Any]:
    """Return this process's bounded memory of one kind of result, shared by all sessions."""
    return Recent(max_entries)


@st.cache_resource(scope="session", show_spinner=False, on_release=Owner.close)
def owner() -> Owner:
    """Return who this session is; its jobs stop when it closes."""
    return Owner(uuid4().hex, (jobs(), quick_jobs()))


@st.cache_resource(max_entries=3, show_spinner="Loading the model …")
def _load(
    name: str, checkpoint: str | None, device: str, held: str, _download: bool
) -> LoadedModel:
    loaded = load_model(name, checkpoint, resolve_device(device), _download)
    if (checkpoint or name in BUNDLED) and not loaded.key.endswith(held[:12]):
        raise InputError("the file of the weights changed while it was read: load it again")
    _spare_the_collector()
    return loaded


def _spare_the_collector() -> None:
    """Keep libraries and weights out of the garbage collection Streamlit does after every rerun."""
    gc.collect()
    gc.freeze()
    atexit.unregister(gc.unfreeze)
    atexit.register(gc.unfreeze)  # else native libraries report everything as leaked at exit


def load(choice: ModelChoice, device: str) -> LoadedModel:
    """Return the model of a choice, with the weights that its file holds now.

    Raises InputError where it cannot be had.
    """
    name, file = choice.name, choice.checkpoint or None
    held = weights_held(name, file)
    return _load(name, file, str(resolve_device(device)), held, choice.download)


@dataclass(frozen=True)
class Look:
    """What a folder held when it was looked through, and when to do so again."""

    held: str
    due: float


@st.cache_resource(max_entries=8, show_spinner="Listing the images …", hash_funcs=BY_KEY)
def _images(folder: str | None, loaded: LoadedModel, split: str, held: str) -> ImageSet:
    return load_images(folder, loaded, split)


def images_of(
    folder: str | None, loaded: LoadedModel, split: str = "validation", again: bool = False
) -> ImageSet:
    """Return the images a folder holds now, or the bundled ones; InputError where there are none.

    Whoever loads a folder has it looked through `again`; else that is done at most as often as
    takes a twentieth of the time. What changes in between is refused when it is read.
    """
    if folder is None:
        return _images(None, loaded, split, "")
    return _images(folder, loaded, "", _held(folder, again))  # a folder has no splits


def _held(folder: str, again: bool) -> str:
    looks: Recent[Look] = memory("looks at folders", 8)
    look, started = looks.peek(folder), time.monotonic()
    if look is None or again or started >= look.due:
        held, ended = fingerprint(folder), time.monotonic()
        look = Look(held, ended + 20 * (ended - started))
        looks.put(folder, look)
    return look.held


@st.cache_resource(max_entries=8, show_spinner=False, hash_funcs=BY_KEY)
def layers_of(loaded: LoadedModel) -> tuple[Layer, ...]:
    """Return a model's layers in the order they run."""
    return list_layers(loaded.model, loaded.input_size)


def device_of(loaded: LoadedModel) -> torch.device:
    """Return where a model's weights are."""
    return next(loaded.model.parameters()).device


def costs_of(loaded: LoadedModel) -> CostModel:
    """Return what a model's costs are counted from."""
    return CostModel.of(loaded.model, layers_of(loaded))


def draw(loaded: LoadedModel, folder: str | None, limit: int | None = None) -> Draw:
    """Return the images that calibrate and score, and up to `limit` others that are measured.

    They are those of the command line; a folder of few images calibrates on all of them.
    """
    count = min(CALIBRATION_IMAGES, len(images_of(folder, loaded, "calibration")))
    return Draw(loaded, folder, None, count, limit, open=images_of)


def draw_again(loaded: LoadedModel, recipe: Recipe) -> Draw:
    """Return the images that a run calibrated on and measured, if they are still there."""
    given = (recipe.data, recipe.calibration, recipe.calibration_images, recipe.images)
    return Draw(loaded, *given, recipe.seed, open=images_of)


def measured_again(loaded: LoadedModel, recipe: Recipe) -> ImageSet:
    """Return the images a run was measured on; InputError where they are not there any more."""
    return _checked(draw_again(loaded, recipe).measured, recipe.images_key, "measured")


def calibrating_again(loaded: LoadedModel, recipe: Recipe) -> Calibrating:
    """Return how a run's layers were calibrated; InputError where the images are not there."""
    images = draw_again(loaded, recipe).calibrating
    return calibrating_on(
        loaded, _checked(images, recipe.calibration_key, "calibrated"), recipe.preset
    )


def _checked(images: ImageSet, key: str, done: str) -> ImageSet:
    if images.key != key:
        raise InputError(
            f"the images this run was {done} on are no longer what {images.name} holds"
        )
    return images


def scoring(loaded: LoadedModel, images: ImageSet, rules: str, statistic: str) -> Scoring:
    """Return how a model's layers are scored, where it is."""
    return Scoring(loaded, images, rules, statistic, device_of(loaded))


def calibrating(loaded: LoadedModel, folder: str | None, preset_name: str) -> Calibrating:
    """Return how a model is calibrated: on the first images drawn, under a preset."""
    return calibrating_on(loaded, draw(loaded, folder).calibrating, preset_name)


def calibrating_on(loaded: LoadedModel, images: ImageSet, preset_name: str) -> Calibrating:
    """Return how a model is calibrated on images; the result is shared by all sessions."""
    kept: Recent[Calibration] = memory("calibrations", 3)
    return Calibrating(loaded, images, preset(preset_name), device_of(loaded), home(), kept)


def notice_of(calibrating: Calibrating) -> str | None:
    """Return that files of a calibration in use were made again or are not kept; None for neither.

    Which ones, and why, is said where the server runs: the page shows no paths.
    """
    kept: Recent[Calibration] = memory("calibrations", 3)
    made = kept.peek(calibrating.key)
    if made is None or not made.notes:
        return None
    if any("not kept" in note for note in made.notes):
        return "This calibration cannot be kept: it is made anew when Bitlens starts again."
    return "A kept calibration was damaged or another's: it was made again."


def devices() -> list[str]:
    """Return the devices of this machine, the best first."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return [*(device for device in there if there[device]), "cpu"]


def cancel(job: Job) -> None:
    """Withdraw this session from a job; it stops unless another session wants it."""
    jobs().leave(job, owner().name)
