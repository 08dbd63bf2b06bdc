"""What a page waits for: made once, kept while there is room, made again after a failure."""

import threading
import time

import pytest

from app.work.job import CANCELLED, DONE
from app.work.jobs import JobQueue
from app.work.wanted import Recent, Wanted
from lrp.engine.progress import Progress

PATIENCE = 20


class Maker:
    """Counts how often it made something."""

    def __init__(self, error: Exception | None = None) -> None:
        self.made, self.error = 0, error

    def __call__(self, progress: Progress) -> str:
        self.made += 1
        if self.error is not None:
            raise self.error
        return f"made {self.made}"


@pytest.fixture
def queue() -> JobQueue:
    return JobQueue()


@pytest.fixture
def kept() -> Recent[str]:
    return Recent(max_entries=2)


def want(key: str, maker: Maker, kept: Recent[str], queue: JobQueue) -> Wanted[str]:
    return Wanted((key,), key, maker, kept, queue)


def finish(wanted: Wanted[str]) -> None:
    assert wanted.start("me").ended.wait(PATIENCE)


def test_it_is_made_once_and_kept(queue: JobQueue, kept: Recent[str]) -> None:
    maker = Maker()
    assert want("a", maker, kept, queue).get() is None
    finish(want("a", maker, kept, queue))
    finish(want("a", maker, kept, queue))
    assert want("a", maker, kept, queue).get() == "made 1"
    assert want("a", maker, kept, queue).job() is None


def test_what_was_dropped_is_made_again(queue: JobQueue, kept: Recent[str]) -> None:
    maker = Maker()
    for key in "abca":
        finish(want(key, maker, kept, queue))
    assert want("a", maker, kept, queue).get() == "made 4"


def test_jobs_hold_on_to_nothing(queue: JobQueue, kept: Recent[str]) -> None:
    maker = Maker()
    job = want("a", maker, kept, queue).start("me")
    assert job.ended.wait(PATIENCE)
    assert job.state == DONE
    assert job.result is None
    assert maker not in [cell.cell_contents for cell in job.work.__closure__ or ()]


def test_a_failure_is_told_once_and_then_tried_again(queue: JobQueue, kept: Recent[str]) -> None:
    maker = Maker(ValueError("too dark"))
    wanted = want("a", maker, kept, queue)
    assert wanted.failure() is None
    finish(wanted)
    assert wanted.get() is None
    assert wanted.failure() is maker.error
    assert wanted.failure() is None
    maker.error = None
    finish(wanted)
    assert wanted.get() == "made 2"


def test_leaving_stops_what_nobody_else_wants(queue: JobQueue, kept: Recent[str]) -> None:
    started = threading.Event()

    def slow(progress: Progress) -> str:
        started.set()
        for _ in range(round(PATIENCE / 0.01)):
            progress.check()
            time.sleep(0.01)
        raise AssertionError("nobody stopped it")

    wanted = Wanted(("a",), "a", slow, kept, queue)
    job = wanted.start("me")
    assert wanted.start("you") is job
    assert started.wait(PATIENCE)
    wanted.leave("me")
    assert not job.cancel.is_set()
    wanted.leave("you")
    assert job.ended.wait(PATIENCE)
    assert job.state == CANCELLED
