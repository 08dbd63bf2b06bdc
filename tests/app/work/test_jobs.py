"""The queue: order, progress, cancel, errors, sessions that close."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.work.jobs import CANCELLED, DONE, FAILED, RUNNING, WAITING, Job, JobQueue, sentence
from lrp.engine.progress import Progress

PATIENCE = 20  # seconds until a test that hangs gives up


def until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(PATIENCE * 200):
        if condition():
            return
        pause.wait(0.005)
    raise AssertionError("it never happened")


def test_another_stage_has_a_pace_of_its_own() -> None:
    job = Job("k", "Measuring", lambda progress: None, state=RUNNING)
    job.report(1, 10, "layer")
    job.report(2, 10, "layer")
    assert job.seconds_left() is not None
    job.report(0, 500, "image")
    assert job.seconds_left() is None
    assert (job.done, job.total, job.what) == (0, 500, "image")


class Held:
    """Work that starts, says so, and waits to be let go or cancelled."""

    def __init__(self, result: object = None) -> None:
        self.started, self.released, self.result = threading.Event(), threading.Event(), result

    def __call__(self, progress: Progress) -> object:
        progress(1, 4)
        self.started.set()
        while not self.released.wait(0.005):
            progress.check()
        return self.result


def ended(job: Job) -> Job:
    until(lambda: not job.live)
    return job


def test_a_job_runs_in_another_thread_and_leaves_its_result() -> None:
    job = JobQueue().submit("k", "t", lambda progress: threading.get_ident(), "me")
    assert ended(job).state == DONE
    assert job.result != threading.get_ident()


def test_progress_is_seen_while_it_runs() -> None:
    work = Held()
    job = JobQueue().submit("k", "t", work, "me")
    assert work.started.wait(PATIENCE)
    assert (job.state, job.done, job.total, job.share) == (RUNNING, 1, 4, 0.25)
    assert job.seconds_left() is None  # one report has no pace
    work.released.set()
    ended(job)


def test_the_time_left_follows_the_pace_of_late(monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job("k", "t", Held(), state=RUNNING)
    # 32 images at once, as from a cache, then one in two seconds
    for moment, done in [(0, 0), (0, 32), *[(2 * n, 32 + n) for n in range(1, 11)]]:
        monkeypatch.setattr("app.work.jobs.time.monotonic", lambda moment=moment: float(moment))
        job.report(done, 100)
    assert job.seconds_left() == pytest.approx(2 * (100 - 42))
    job.state = DONE
    assert job.seconds_left() is None


def test_what_is_found_so_far_is_seen_while_it_runs_and_after_it_was_cancelled() -> None:
    found, go_on = threading.Event(), threading.Event()

    def work(progress: Progress) -> None:
        progress(1, 9, "image", "a first accuracy")
        progress(2, 9, "image")  # without news
        found.set()
        assert go_on.wait(PATIENCE)
        progress(3, 9, "image", "a better one")
        while True:
            progress.check()
            time.sleep(0.005)

    queue = JobQueue()
    job = queue.submit("k", "t", work, "me")
    assert job.so_far is None or job.live
    assert found.wait(PATIENCE)
    assert (job.done, job.so_far) == (2, "a first accuracy")
    go_on.set()
    until(lambda: job.done == 3)
    queue.leave(job, "me")
    assert ended(job).state == CANCELLED
    assert (job.so_far, job.result) == ("a better one", None)


def test_a_job_begun_again_has_found_nothing_yet() -> None:
    queue = JobQueue()

    def fails(progress: Progress) -> None:
        progress(1, 2, "image", "half")
        raise ValueError("no luck")

    assert ended(queue.submit("k", "t", fails, "me")).so_far == "half"
    work = Held()
    again = queue.submit("k", "t", work, "me")
    assert work.started.wait(PATIENCE)
    assert again.so_far is None
    work.released.set()
    ended(again)


def test_a_second_job_waits_for_the_first_and_knows_its_place() -> None:
    queue, first, second, third = JobQueue(), Held(), Held("two"), Held()
    one = queue.submit(1, "t", first, "me")
    two = queue.submit(2, "t", second, "you")
    three = queue.submit(3, "t", third, "you")
    assert first.started.wait(PATIENCE)
    assert (one.state, two.state) == (RUNNING, WAITING)
    assert [queue.place(job) for job in (one, two, three)] == [0, 1, 2]
    assert not second.started.is_set()
    first.released.set()
    assert second.started.wait(PATIENCE)
    assert queue.place(three) == 1
    for work in (second, third):
        work.released.set()
    assert ended(two).result == "two"
    ended(three)


def test_cancel_stops_a_running_job_and_the_next_one_starts() -> None:
    queue, first, second = JobQueue(), Held(), Held()
    one, two = queue.submit(1, "t", first, "me"), queue.submit(2, "t", second, "me")
    assert first.started.wait(PATIENCE)
    queue.leave(one, "me")
    assert ended(one).state == CANCELLED
    assert second.started.wait(PATIENCE)
    second.released.set()
    assert ended(two).state == DONE


def test_a_waiting_job_that_is_cancelled_never_starts() -> None:
    queue, first, second = JobQueue(), Held(), Held()
    one, two = queue.submit(1, "t", first, "me"), queue.submit(2, "t", second, "me")
    queue.leave(two, "me")
    assert two.state == CANCELLED
    first.released.set()
    ended(one)
    ended(queue.submit(3, "t", lambda progress: None, "me"))
    assert not second.started.is_set()


def test_a_job_two_sessions_want_survives_the_closing_of_one() -> None:
    queue, work = JobQueue(), Held("kept")
    job = queue.submit("k", "t", work, "me")
    assert queue.submit("k", "t", Held(), "you") is job
    queue.leave_all("me")
    assert not job.cancel.is_set()
    work.released.set()
    assert ended(job).result == "kept"


def test_a_closed_session_stops_all_its_jobs() -> None:
    queue, first, second = JobQueue(), Held(), Held()
    jobs = [queue.submit(1, "t", first, "me"), queue.submit(2, "t", second, "me")]
    assert first.started.wait(PATIENCE)
    queue.leave_all("me")
    assert [ended(job).state for job in jobs] == [CANCELLED, CANCELLED]


def test_a_session_leaves_the_jobs_it_names() -> None:
    queue, first, second = JobQueue(), Held(), Held("two")
    one = queue.submit(("map", 1), "t", first, "me")
    two = queue.submit(("map", 2), "t", second, "me")
    assert first.started.wait(PATIENCE)
    queue.leave_all("me", lambda key: key[1] == 1)
    assert ended(one).state == CANCELLED
    second.released.set()
    assert ended(two).result == "two"


def test_forgotten_work_is_done_again() -> None:
    queue, calls = JobQueue(), []
    for _ in range(2):
        job = queue.submit("k", "t", lambda progress: calls.append(1), "me")
        assert job.ended.wait(PATIENCE)
        queue.forget(job)
    assert len(calls) == 2
    assert queue.find("k") is None


def test_done_work_is_not_done_again_but_failed_work_is() -> None:
    queue, calls = JobQueue(), []

    def work(progress: Progress) -> int:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("no luck")
        return len(calls)

    assert ended(queue.submit("k", "t", work, "me")).state == FAILED
    assert ended(queue.submit("k", "t", work, "me")).result == 2
    assert queue.submit("k", "t", work, "me").result == 2
    assert len(calls) == 2


def test_work_asked_for_again_is_done_again_but_joined_while_it_runs() -> None:
    queue, work = JobQueue(), Held("once")
    first = queue.submit("k", "t", work, "me", again=True)
    assert queue.submit("k", "t", work, "you", again=True) is first
    work.released.set()
    assert ended(first).result == "once"
    second = queue.submit("k", "t", lambda progress: "again", "me", again=True)
    assert second is not first
    assert ended(second).result == "again"
    assert queue.find("k") is second


def test_an_error_is_told_in_words_and_the_worker_lives_on() -> None:
    queue = JobQueue()

    def broken(progress: Progress) -> None:
        raise ValueError("5 images asked of 3: use 1 to 3")

    def exotic(progress: Progress) -> None:
        raise KeyError("blocks.0")

    one = ended(queue.submit(1, "t", broken, "me"))
    two = ended(queue.submit(2, "t", exotic, "me"))
    assert (one.state, one.error) == (FAILED, "5 images asked of 3: use 1 to 3")
    assert two.error == "KeyError: 'blocks.0'"
    assert ended(queue.submit(3, "t", lambda progress: "on", "me")).result == "on"


def test_finished_jobs_are_forgotten_in_the_end() -> None:
    queue = JobQueue()
    for key in range(100):
        ended(queue.submit(key, "t", lambda progress: None, "me"))
    assert queue.find(0) is None
    assert queue.find(99) is not None


def test_a_closed_queue_stops_what_runs_and_what_waits() -> None:
    queue, first, second = JobQueue(), Held(), Held()
    jobs = [queue.submit(1, "t", first, "me"), queue.submit(2, "t", second, "me")]
    assert first.started.wait(PATIENCE)
    queue.close()
    assert [job.state for job in jobs] == [CANCELLED, CANCELLED]
    assert not second.started.is_set()


ENDING = """
import threading
import time
from app.work.jobs import JobQueue
from lrp.engine.progress import Cancelled

started = threading.Event()

def work(progress):
    started.set()
    while not progress.stopped():
        time.sleep(0.005)
    print("stopped", flush=True)
    raise Cancelled

JobQueue().submit("k", "t", work, "me")
started.wait(60)
"""


def test_a_process_that_ends_stops_its_job_first(repository: Path) -> None:
    command = [sys.executable, "-c", ENDING]
    ran = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, "stopped\n"), ran.stderr


def test_lack_of_memory_is_said_plainly() -> None:
    assert "fewer images" in sentence(RuntimeError("CUDA out of memory. Tried to allocate"))
    assert "fewer images" in sentence(MemoryError())
