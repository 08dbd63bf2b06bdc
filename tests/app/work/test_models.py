"""Models and images: loaded once, divided as the command line does, and let go of."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import streamlit as st
from PIL import Image

from app.state.selection import ModelChoice
from app.work import models, spending
from app.work.jobs import JobQueue
from assets.errors import InputError
from assets.models.load import LoadedModel

MODEL = "digits-swin"


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return models.load(ModelChoice(MODEL), "cpu")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    yield
    st.cache_data.clear()


def picture(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    return Image.fromarray(pixels)


def test_a_model_is_loaded_once() -> None:
    assert models.load(ModelChoice(MODEL), "cpu") is models.load(ModelChoice(MODEL), "cpu")


def test_a_failed_load_is_tried_again() -> None:
    for _ in range(2):
        with pytest.raises(InputError):
            models.load(ModelChoice("no-such-model"), "cpu")


def test_images_that_calibrate_are_not_measured(loaded: LoadedModel) -> None:
    draw = models.draw(loaded, None, 100)
    calibration, measured = draw.calibrating, draw.measured
    assert (len(calibration), len(measured)) == (32, 100)
    seen = {calibration.picture(i).tobytes() for i in range(32)}
    assert seen.isdisjoint({measured.picture(i).tobytes() for i in range(100)})


def test_a_folder_is_divided(loaded: LoadedModel, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("images")
    for number in range(40):
        place = folder / str(number % 10)
        place.mkdir(exist_ok=True)
        picture(number).save(place / f"{number}.png")
    draw = models.draw(loaded, str(folder), 100)
    calibration, measured = draw.calibrating, draw.measured
    assert (len(calibration), len(measured)) == (32, 8)
    assert draw.most == 8
    seen = {calibration.picture(i).tobytes() for i in range(32)}
    assert seen.isdisjoint({measured.picture(i).tobytes() for i in range(8)})


def test_a_closed_session_leaves_the_queue() -> None:
    class Watched(JobQueue):
        left: str | None = None

        def leave_all(self, owner: str, *args: object) -> None:
            self.left = owner

    queues = Watched(), Watched()
    models.Owner("me", queues).close()
    assert [queue.left for queue in queues] == ["me", "me"]


def test_scores_are_there_once_a_job_has_made_them(loaded: LoadedModel) -> None:
    images = models.draw(loaded, None).scorable.subset(range(9))
    scoring = models.scoring(loaded, images, "LRP_QVIT", "positive-sum")
    assert spending.scores_of(scoring).get() is None
    wanted = replace(spending.scores_of(scoring), make=lambda progress: "scores")
    assert wanted.start("me").ended.wait(20)
    assert spending.scores_of(scoring).get() == "scores"
    models.memory.clear()


def test_scores_by_another_statistic_are_other_scores(loaded: LoadedModel) -> None:
    images = models.draw(loaded, None).scorable.subset(range(9))
    both = ("positive-sum", "absolute-sum")
    scorings = [models.scoring(loaded, images, "LRP_QVIT", s) for s in both]
    assert len({spending.scores_of(scoring).key for scoring in scorings}) == 2


def test_each_kind_of_result_has_one_bounded_memory() -> None:
    ones, others = models.memory("ones", 2), models.memory("others", 2)
    for number in range(3):
        ones.put(number, number)
    assert models.memory("ones", 2) is ones
    assert [ones.peek(number) for number in range(3)] == [None, 1, 2]
    assert others.peek(2) is None


def test_devices_end_with_the_cpu() -> None:
    assert models.devices()[-1] == "cpu"
    assert models.device_of(models.load(ModelChoice(MODEL), "cpu")).type == "cpu"
