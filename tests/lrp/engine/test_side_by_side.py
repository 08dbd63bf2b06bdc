"""Calibrations and sensitivities do not depend on how many threads torch has."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from lrp.engine.progress import Cancelled, Progress
from lrp.engine.side_by_side import side_by_side
from quant.analysis.sensitivity_estimation import estimate
from quant.calibration.calibration import Calibration
from quant.calibration.presets import preset
from quant.primitives.bits import MENU
from tests.models import build, random_images


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == threads
    torch.set_num_threads(threads)


def found(threads: int) -> tuple[dict[str, Tensor], Tensor]:
    """All that a calibration on `threads` threads solves, and its sensitivities."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        calibration = Calibration(build("vit"), random_images(6), preset("bitlens"))
        calibration.solve(MENU)
        sensitivity = estimate(calibration)
    finally:
        torch.set_num_threads(before)
    layers = {name: calibration.stored(4).solved(name, 4) for name in calibration.stored(4).linear}
    parts = {
        n: torch.cat([la.weights[4].codes.flatten(), la.weights[4].bias])
        for n, la in layers.items()
    }
    return parts, torch.tensor(np.stack([sensitivity.weight, sensitivity.activation]))


def test_another_number_of_threads_gives_the_same_to_the_bit() -> None:
    (one, lost), (three, lost_by_three) = found(1), found(3)
    assert all(torch.equal(one[name], three[name]) for name in one)
    assert torch.equal(lost, lost_by_three)


def test_each_task_has_one_thread_and_results_are_in_order() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        threads = side_by_side([lambda progress: torch.get_num_threads()] * 9)
        names = side_by_side([lambda progress, n=n: n for n in range(9)])
        assert torch.get_num_threads() == 3
        later: list[int] = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
    finally:
        torch.set_num_threads(before)
    assert (threads, names, later) == ([1] * 9, list(range(9)), [3])


def test_progress_is_that_of_all_tasks() -> None:
    heard: list[tuple[int, int]] = []

    def task(progress: Progress) -> None:
        for done in (1, 2):
            progress(done, 2)

    side_by_side(
        [task] * 3, Progress(lambda done, total, what="", so_far=None: heard.append((done, total)))
    )
    assert heard == [(done, 6) for done in range(1, 7)]


def test_the_first_error_stops_the_others() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    started = threading.Event()

    def fails(progress: Progress) -> None:
        assert started.wait(20)
        raise ValueError("no luck")

    def goes_on(progress: Progress) -> None:
        started.set()
        while True:
            progress.check()

    try:
        with pytest.raises(ValueError, match="no luck"):
            side_by_side([fails, goes_on])
    finally:
        torch.set_num_threads(before)


def test_it_can_be_stopped() -> None:
    with pytest.raises(Cancelled):
        side_by_side([lambda progress: progress.check()], Progress(stopped=lambda: True))
