"""The queue: order, progress, cancel, errors, sessions that close."""

import gc
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from app.work.job import CANCELLED, DONE, FAILED, RUNNING, WAITING, Job, sentence
from app.work.jobs import JobQueue
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
        monkeypatch.setattr("app.work.job.time.monotonic", lambda moment=moment: float(moment))
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


def gives_way(done: list[str], name: str, turns: int = 3) -> Callable[[Progress], object]:
    """Work that notes each of its turns and gives way after it."""

    def work(progress: Progress) -> Generator[None, None, str]:
        for turn in range(turns):
            progress(turn, turns)
            done.append(name)
            yield
        return name

    return work


def behind(queue: JobQueue) -> Held:
    """Keep the worker busy until the work returned is released."""
    work = Held()
    queue.submit("first", "t", work, "nobody")
    assert work.started.wait(PATIENCE)
    return work


def test_sessions_take_turns() -> None:
    queue, done = JobQueue(), list[str]()
    busy = behind(queue)
    mine = [queue.submit(n, "t", gives_way(done, "mine"), "me", brief=True) for n in (1, 2)]
    yours = queue.submit(3, "t", gives_way(done, "yours"), "you", brief=True)
    assert [queue.place(job) for job in (*mine, yours)] == [1, 2, 3]
    busy.released.set()
    assert [ended(job).result for job in (*mine, yours)] == ["mine", "mine", "yours"]
    # one turn each while both have work: yours ends after its third, mine go on
    assert done == ["mine", "yours", "mine", "yours", "mine", "yours", "mine", "mine", "mine"]


def test_brief_work_comes_first_but_other_work_has_its_turn_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.work.jobs.OVERTAKEN", 4)
    queue, done = JobQueue(), list[str]()
    busy = behind(queue)
    long = queue.submit(1, "t", lambda progress: done.append("long"), "me")
    brief = queue.submit(2, "t", gives_way(done, "brief", 9), "you", brief=True)
    assert queue.place(long) == 2
    busy.released.set()
    ended(long), ended(brief)
    assert done[0] == "brief"
    assert done.index("long") == 4


def test_work_cancelled_between_turns_cleans_up_and_ends() -> None:
    queue, cleaned, waiting = JobQueue(), threading.Event(), threading.Event()

    def work(progress: Progress) -> Generator[None, None, None]:
        try:
            while True:
                waiting.set()
                yield
        finally:
            cleaned.set()

    job = queue.submit("k", "t", work, "me", brief=True)
    other = queue.submit("l", "t", gives_way([], "on", 50), "you", brief=True)
    assert waiting.wait(PATIENCE)
    queue.leave(job, "me")
    assert ended(job).state == CANCELLED
    assert cleaned.is_set()
    assert ended(other).result == "on"


def test_whatever_work_raises_the_worker_lives_on() -> None:
    queue = JobQueue()

    def leaves(progress: Progress) -> None:
        raise SystemExit(3)

    def halts(progress: Progress) -> Generator[None, None, None]:
        yield
        raise KeyboardInterrupt

    for key, work in enumerate((leaves, halts)):
        job = ended(queue.submit(key, "t", work, "me"))
        assert job.state == FAILED and isinstance(job.exception, RuntimeError)
    assert ended(queue.submit(9, "t", lambda progress: "on", "me")).result == "on"


def test_a_failed_job_holds_nothing_of_what_its_work_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.work.job._log.exception", lambda *said: None)  # pytest keeps frames

    class Large:
        pass

    held: list[weakref.ref[Large]] = []

    def fails(progress: Progress) -> None:
        large = Large()
        held.append(weakref.ref(large))
        try:
            raise KeyError("within")
        except KeyError as error:
            raise ValueError("no luck") from error

    queue = JobQueue()
    job = ended(queue.submit("k", "t", fails, "me"))
    queue.submit("l", "t", lambda progress: None, "me").ended.wait(PATIENCE)
    assert job.error == "no luck"
    gc.collect()
    assert held[0]() is None


def test_places_can_be_asked_for_while_jobs_come_and_go() -> None:
    queue, failed, over = JobQueue(), list[BaseException](), threading.Event()

    def asks(job: Job) -> None:
        try:
            while not over.is_set():
                assert queue.place(job) >= 0
        except BaseException as error:
            failed.append(error)

    busy = behind(queue)
    last = queue.submit("last", "t", lambda progress: None, "me")
    threads = [threading.Thread(target=asks, args=(last,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for key in range(300):
        queue.leave(queue.submit(key, "t", lambda progress: None, "you"), "you")
    busy.released.set()
    ended(last)
    over.set()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_job_that_another_one_replaced_is_stopped_when_the_queue_closes() -> None:
    queue, first, second = JobQueue(), Held(), Held()
    one = queue.submit("k", "t", first, "me")
    assert first.started.wait(PATIENCE)
    one.cancel.set()  # it goes on until it looks, and its key is asked for anew
    two = queue.submit("k", "t", second, "you")
    assert two is not one
    queue.close()
    assert [one.state, two.state] == [CANCELLED, CANCELLED]


def test_a_session_has_as_many_jobs_as_it_may_have() -> None:
    queue = JobQueue(per_owner=2)
    busy = behind(queue)
    mine = [queue.submit(n, "t", lambda progress: "on", "me") for n in range(3)]
    yours = queue.submit(9, "t", lambda progress: "on", "you")
    assert mine[2].state == FAILED
    assert "2 jobs of yours are waiting or running" in mine[2].error
    busy.released.set()
    assert [ended(job).result for job in (*mine[:2], yours)] == ["on"] * 3
    assert ended(queue.submit(2, "t", lambda progress: "now", "me")).result == "now"


@pytest.mark.parametrize("stepwise", [False, True])
def test_a_job_runs_no_longer_than_it_may(stepwise: bool) -> None:
    def at_once(progress: Progress) -> None:
        while True:
            progress.check()
            time.sleep(0.005)

    def by_steps(progress: Progress) -> Generator[None, None, None]:
        while True:
            time.sleep(0.005)
            yield

    queue = JobQueue(seconds=0.05)
    job = ended(queue.submit("k", "t", by_steps if stepwise else at_once, "me"))
    assert job.state == FAILED
    assert job.error == "it took more than 0.05 s, the most allowed here"


def test_memory_is_tidied_once_when_no_work_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    tidied = list[int]()
    monkeypatch.setattr("app.work.jobs.IDLE_SECONDS", 0.01)
    monkeypatch.setattr("app.work.jobs.gc.collect", lambda: tidied.append(1))
    queue = JobQueue()
    for count in (1, 2):
        ended(queue.submit(count, "t", lambda progress: None, "me"))
        until(lambda count=count: len(tidied) >= count)
    threading.Event().wait(0.1)
    assert len(tidied) <= 3  # a wait before the first job may count
