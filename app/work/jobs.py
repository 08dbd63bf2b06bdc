"""Run long work one job at a time in a thread, with progress, cancel and a place in the queue.

Nothing here knows Streamlit: pages look at a job, jobs never look at pages.
"""

import atexit
import logging
import queue
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from lrp.engine.progress import Cancelled, Progress

Work = Callable[[Progress], Any]

WAITING, RUNNING, DONE, FAILED, CANCELLED = "waiting", "running", "done", "failed", "cancelled"
PACE = 8  # the time left is estimated from this many reports
LAST_SECONDS = 5.0  # that work has to stop in when the process ends
MAX_KEPT = 48  # finished jobs whose results are remembered

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Job:
    """A piece of work, who asked for it, and how far it is."""

    key: Hashable
    title: str
    work: Work
    owners: set[str] = field(default_factory=set)
    cancel: threading.Event = field(default_factory=threading.Event)
    state: str = WAITING
    done: int = 0
    total: int = 0
    what: str = ""
    so_far: Any = None
    started: float = 0.0
    result: Any = None
    error: str = ""
    exception: Exception | None = None
    ended: threading.Event = field(default_factory=threading.Event)
    marks: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=PACE))

    @property
    def live(self) -> bool:
        return self.state in (WAITING, RUNNING)

    @property
    def share(self) -> float:
        """How much is done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    def seconds_left(self) -> float | None:
        """Estimate the time left from the pace of the last reports; None while it is unknown."""
        marks = list(self.marks)  # a copy: the worker goes on adding
        if self.state != RUNNING or len(marks) < 2:
            return None
        (first, before), (last, now) = marks[0], marks[-1]
        return (last - first) * (self.total - now) / (now - before) if now > before else None

    def elapsed(self) -> float:
        """Return for how many seconds it has been running."""
        return time.monotonic() - self.started if self.state == RUNNING else 0.0

    def report(self, done: int, total: int, what: str = "", so_far: object | None = None) -> None:
        """Take note of progress; another stage has another pace."""
        if what != self.what:
            self.marks.clear()
        if so_far is not None:
            self.so_far = so_far
        self.done, self.total, self.what = done, total, what
        self.marks.append((time.monotonic(), done))


class JobQueue:
    """One worker thread, jobs in the order they came; equal keys share one job."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[Hashable, Job] = OrderedDict()
        self._waiting: queue.Queue[Job] = queue.Queue()
        self._lock = threading.Lock()
        self._worker: threading.Thread | None = None

    def submit(self, key: Hashable, title: str, work: Work, owner: str, again: bool = False) -> Job:
        """Queue work, or join the job of this key that is waiting, running or done.

        Args:
            again: do anew what is done: its result is kept elsewhere, and may be gone.
        """
        with self._lock:
            job = self._jobs.get(key)
            if job is None or not _joinable(job, again):
                job = self._jobs[key] = Job(key, title, work)
                self._waiting.put(job)
            job.owners.add(owner)
            self._jobs.move_to_end(key)
            self._trim()
            self._start()
            return job

    def find(self, key: Hashable) -> Job | None:
        """Return the job of a key, if it is still known."""
        with self._lock:
            return self._jobs.get(key)

    def forget(self, job: Job) -> None:
        """Drop a job whose result is kept elsewhere, so that its key can be worked on again."""
        with self._lock:
            if self._jobs.get(job.key) is job:
                del self._jobs[job.key]

    def place(self, job: Job) -> int:
        """Return how many live jobs come before this one."""
        with self._lock:
            ahead = [other for other in self._waiting.queue if other.live]
            running = any(other.state == RUNNING for other in self._jobs.values())
        return ahead.index(job) + running if job in ahead else 0

    def leave(self, job: Job, owner: str) -> None:
        """Withdraw an owner; a job that nobody wants any more is cancelled."""
        with self._lock:
            job.owners.discard(owner)
            if not job.owners and job.live:
                _stop(job)

    def leave_all(self, owner: str, named: Callable[[Any], bool] = lambda key: True) -> None:
        """Withdraw an owner from every job whose key is `named` so (default: from all)."""
        with self._lock:
            jobs = [job for job in self._jobs.values() if owner in job.owners]
        for job in filter(lambda job: named(job.key), jobs):
            self.leave(job, owner)

    def _trim(self) -> None:
        finished = [key for key, job in self._jobs.items() if not job.live]
        for key in finished[: max(0, len(self._jobs) - MAX_KEPT)]:
            del self._jobs[key]

    def _start(self) -> None:
        if self._worker is None:
            self._worker = threading.Thread(target=self._serve, name="bitlens-jobs", daemon=True)
            self._worker.start()
            atexit.register(self.close)

    def close(self) -> None:
        """Stop everything, as native code that still runs at exit makes Python abort."""
        with self._lock:
            jobs = [job for job in self._jobs.values() if job.live]
            for job in jobs:
                _stop(job)
        for job in jobs:
            job.ended.wait(LAST_SECONDS)

    def _serve(self) -> None:
        while True:
            job = self._waiting.get()
            with self._lock:
                if job.state != WAITING:
                    continue
                job.state, job.started = RUNNING, time.monotonic()
            _run(job)


def _joinable(job: Job, again: bool) -> bool:
    return not again if job.state == DONE else job.live and not job.cancel.is_set()


def _stop(job: Job) -> None:
    job.cancel.set()
    if job.state == WAITING:
        job.state = CANCELLED
        job.ended.set()


def _run(job: Job) -> None:
    """Run a job to its end; whatever it raises becomes its state, as the worker must live on."""
    try:
        job.result = job.work(Progress(job.report, job.cancel.is_set))
        state = DONE
    except Cancelled:
        state = CANCELLED
    except Exception as error:
        if threading.main_thread().is_alive():  # else the process ends, and pools before jobs
            _log.exception("job %s failed", job.title)
        job.error, job.exception, state = sentence(error), error, FAILED
    job.work = lambda progress: None  # lets go of what the work needed
    job.state = state
    job.ended.set()


def sentence(error: Exception) -> str:
    """Return an error for a user: our own messages as they are, foreign ones with their kind."""
    text = " ".join(str(error).split())
    if isinstance(error, ValueError) and text:
        return text
    if isinstance(error, MemoryError) or "out of memory" in text:
        return "there is not enough memory: choose a smaller model or fewer images"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
