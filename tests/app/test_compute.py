"""What is kept between runs: by which key, how much of it, and for whom."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import streamlit as st
from PIL import Image

from app import compute, tasks
from app.jobs import JobQueue
from app.state import ModelChoice
from assets.errors import InputError
from assets.models import LoadedModel

MODEL = "digits-swin"


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return compute.load(ModelChoice(MODEL), "cpu")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    yield
    st.cache_data.clear()


def picture(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    return Image.fromarray(pixels)


def test_a_model_is_loaded_once() -> None:
    assert compute.load(ModelChoice(MODEL), "cpu") is compute.load(ModelChoice(MODEL), "cpu")


def test_a_failed_load_is_tried_again() -> None:
    for _ in range(2):
        with pytest.raises(InputError):
            compute.load(ModelChoice("no-such-model"), "cpu")


def test_one_pixel_makes_another_picture(loaded: LoadedModel) -> None:
    one, other = picture(0), picture(0)
    assert compute.prepare(loaded, one).key == compute.prepare(loaded, other).key
    other.putpixel((0, 0), (255, 0, 255))
    assert compute.prepare(loaded, one).key != compute.prepare(loaded, other).key


def test_pixels_of_another_shape_are_another_picture(loaded: LoadedModel) -> None:
    wide, tall = Image.new("RGB", (64, 32)), Image.new("RGB", (32, 64))
    assert wide.tobytes() == tall.tobytes()
    assert compute.prepare(loaded, wide).key != compute.prepare(loaded, tall).key


def test_targets_share_a_trace_and_rules_do_not(loaded: LoadedModel) -> None:
    prepared = compute.prepare(loaded, picture(1))
    one, first = compute.relevance_of(loaded, prepared, "ATTN_LRP", 1)
    two, second = compute.relevance_of(loaded, prepared, "ATTN_LRP", 2)
    other, _ = compute.relevance_of(loaded, prepared, "LRP_QVIT", 1)
    assert one is two
    assert one is not other
    assert not np.allclose(first.pixels.numpy(), second.pixels.numpy())


def test_traces_are_kept_in_bounded_number(loaded: LoadedModel) -> None:
    first = compute.prepare(loaded, picture(100))
    kept = compute.trace_of(loaded, first, "ATTN_LRP")
    for seed in range(101, 110):
        compute.trace_of(loaded, compute.prepare(loaded, picture(seed)), "ATTN_LRP")
    assert compute.trace_of(loaded, first, "ATTN_LRP") is not kept


def test_the_picture_shown_is_the_one_the_model_sees(loaded: LoadedModel) -> None:
    assert np.array_equal(np.asarray(compute.prepare(loaded, picture(3)).seen), picture(3))


def test_images_that_calibrate_are_not_measured(loaded: LoadedModel) -> None:
    calibration = compute.calibration_set(loaded, None, 32)
    measured = compute.evaluation_set(loaded, None, 100)
    assert (len(calibration), len(measured)) == (32, 100)
    seen = {calibration.picture(i).tobytes() for i in range(32)}
    assert seen.isdisjoint({measured.picture(i).tobytes() for i in range(100)})


def test_a_folder_is_divided(loaded: LoadedModel, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("images")
    for number in range(40):
        place = folder / str(number % 10)
        place.mkdir(exist_ok=True)
        picture(number).save(place / f"{number}.png")
    calibration = compute.calibration_set(loaded, str(folder), 32)
    measured = compute.evaluation_set(loaded, str(folder), 100)
    assert (len(calibration), len(measured)) == (32, 8)
    assert compute.evaluation_limit(loaded, str(folder)) == 8
    seen = {calibration.picture(i).tobytes() for i in range(32)}
    assert seen.isdisjoint({measured.picture(i).tobytes() for i in range(8)})


def test_a_closed_session_leaves_the_queue() -> None:
    class Watched(JobQueue):
        left: str | None = None

        def leave_all(self, owner: str) -> None:
            self.left = owner

    queue = Watched()
    compute.Owner("me", queue).close()
    assert queue.left == "me"


def test_allocation_without_scores_says_so(loaded: LoadedModel) -> None:
    images = compute.calibration_set(loaded, None, 9)
    with pytest.raises(ValueError, match="no scores yet"):
        compute.allocate(loaded, images, "LRP_QVIT", 4.0, {})


def test_devices_end_with_the_cpu() -> None:
    assert compute.devices()[-1] == "cpu"
    assert tasks.device_of(compute.load(ModelChoice(MODEL), "cpu")).type == "cpu"
