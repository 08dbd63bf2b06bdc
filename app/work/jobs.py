"""Run long work in one thread, with progress, cancel, turns and a place in the queue.

Nothing here knows Streamlit: pages look at a job, jobs never look at pages.  `concurrent.futures`
would not do: its queue has no turns, and at exit it waits for work that nobody told to stop.
"""

import atexit
import gc
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from app.work.job import CANCELLED, DONE, RUNNING, WAITING, Job, Work

LAST_SECONDS = 5.0  # that work has to stop in when the process ends
MAX_KEPT = 48  # finished jobs whose results are remembered
OVERTAKEN = 60  # turns of brief jobs after which one that is not brief has its own
IDLE_SECONDS = 10.0  # without work until memory is tidied


class JobQueue:
    """One worker thread; brief jobs before others, sessions in turn, then as they came.

    Equal keys share one job.  A job whose work is a generator gives way at each `yield`.

    Args:
        per_owner: how many jobs a session may have waiting or running; None is any number.
        seconds: how long a job may run; None is any time.
    """

    def __init__(self, per_owner: int | None = None, seconds: float | None = None) -> None:
        self.per_owner, self.seconds = per_owner, seconds
        self._jobs: OrderedDict[Hashable, Job] = OrderedDict()
        self._live: list[Job] = []  # waiting or running, also those whose key another job has now
        self._turns: Counter[str] = Counter()  # of each session since the queue was last empty
        self._changed = threading.Condition()
        self._worker: threading.Thread | None = None

    def submit(
        self,
        key: Hashable,
        title: str,
        work: Work,
        owner: str,
        again: bool = False,
        brief: bool = False,
    ) -> Job:
        """Queue work, or join the job of this key that is waiting, running or done.

        A job that the session has no room for fails at once, and says so.

        Args:
            again: do anew what is done: its result is kept elsewhere, and may be gone.
            brief: takes its turn before jobs that are not.
        """
        with self._changed:
            job = self._jobs.get(key)
            if job is None or not _joinable(job, again):
                job = self._jobs[key] = Job(key, title, work, brief=brief, allowed=self.seconds)
                self._admit(job, owner)
            job.owners.add(owner)
            self._jobs.move_to_end(key)
            self._trim()
            self._start()
            self._changed.notify()
            return job

    def _admit(self, job: Job, owner: str) -> None:
        own = sum(other.live and owner in other.owners for other in self._live)
        if self.per_owner is not None and own >= self.per_owner:
            job.fail(ValueError(f"{own} jobs of yours are waiting or running: cancel one, or wait"))
        else:
            self._live.append(job)

    @property
    def crowd(self) -> int:
        """How many jobs are waiting or running."""
        return len(self._live)

    def find(self, key: Hashable) -> Job | None:
        """Return the job of a key, if it is still known."""
        with self._changed:
            return self._jobs.get(key)

    def forget(self, job: Job) -> None:
        """Drop a job whose result is kept elsewhere, so that its key can be worked on again."""
        with self._changed:
            if self._jobs.get(job.key) is job:
                del self._jobs[job.key]

    def place(self, job: Job) -> int:
        """Return how many live jobs come before this one."""
        with self._changed:
            running = sum(other.state == RUNNING for other in self._live)
            waiting = sorted((one for one in self._live if one.state == WAITING), key=self._rank)
            return waiting.index(job) + running if job in waiting else 0

    def leave(self, job: Job, owner: str) -> None:
        """Withdraw an owner; a job that nobody wants any more is cancelled."""
        with self._changed:
            job.owners.discard(owner)
            if not job.owners and job.live:
                self._stop(job)

    def leave_all(self, owner: str, named: Callable[[Any], bool] = lambda key: True) -> None:
        """Withdraw an owner from every job whose key is `named` so (default: from all)."""
        with self._changed:
            jobs = [job for job in self._live if owner in job.owners and named(job.key)]
        for job in jobs:
            self.leave(job, owner)

    def close(self) -> None:
        """Stop everything, as native code that still runs at exit makes Python abort."""
        with self._changed:
            jobs = list(self._live)
            for job in jobs:
                self._stop(job)
            self._changed.notify()
        for job in jobs:
            job.ended.wait(LAST_SECONDS)

    def _stop(self, job: Job) -> None:
        job.cancel.set()
        if job.state == WAITING:
            job.end(CANCELLED)
            self._live.remove(job)

    def _trim(self) -> None:
        finished = [key for key, job in self._jobs.items() if not job.live]
        for key in finished[: max(0, len(self._jobs) - MAX_KEPT)]:
            del self._jobs[key]

    def _start(self) -> None:
        if self._worker is None:
            self._worker = threading.Thread(target=self._serve, name="bitlens-jobs", daemon=True)
            self._worker.start()
            atexit.register(self.close)

    def _serve(self) -> None:
        while True:
            self._take(self._next())

    def _take(self, job: Job) -> None:
        job.run()
        with self._changed:
            if not job.live:
                self._live.remove(job)

    def _next(self) -> Job:
        """Wait for a job, and give it its turn; tidy memory when none came for a while."""
        tidied = False
        while True:
            with self._changed:
                if self._live:
                    return self._begun(min(self._live, key=self._rank))
                self._turns.clear()
                called = self._changed.wait(None if tidied else IDLE_SECONDS)
            if not called:
                gc.collect()
                tidied = True

    def _begun(self, job: Job) -> Job:
        job.begin()
        self._turns.update(job.owners)
        for other in self._live:
            other.overtaken += other is not job
        return job

    def _rank(self, job: Job) -> tuple[bool, int, int, float]:
        """Order jobs by whose turn it is."""
        later = not job.brief and job.overtaken < OVERTAKEN
        session = min((self._turns[owner] for owner in job.owners), default=0)
        return later, session, job.turns, job.arrived


def _joinable(job: Job, again: bool) -> bool:
    return not again if job.state == DONE else job.live and not job.cancel.is_set()
