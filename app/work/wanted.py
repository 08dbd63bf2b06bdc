"""What a page wants and may have to wait for: kept since it was made, or made by a job."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.work.jobs import DONE, FAILED, Job, JobQueue
from app.work.recent import Recent
from lrp.engine.progress import Progress

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Wanted(Generic[T]):
    """Something costly: its key, what making it is called, how it is made and where it is kept.

    Jobs keep no result of their own, so that `kept` alone bounds the memory.
    """

    key: tuple[Hashable, ...]
    title: str
    make: Callable[[Progress], T]
    kept: Recent[T]
    queue: JobQueue

    def get(self) -> T | None:
        """Return it, if it was made and is still kept."""
        return self.kept.peek(self.key)

    def job(self) -> Job | None:
        """Return the job that makes it, or that failed to."""
        job = self.queue.find(self.key)
        return None if job is not None and job.state == DONE else job

    def start(self, owner: str) -> Job:
        """Have it made by a job, or join the one that is on it."""

        def work(progress: Progress) -> None:
            self.kept.get(self.key, lambda: self.make(progress))

        return self.queue.submit(self.key, self.title, work, owner, again=True)

    def leave(self, owner: str) -> None:
        """Withdraw an owner from the job; it stops unless another one wants it."""
        job = self.queue.find(self.key)
        if job is not None:
            self.queue.leave(job, owner)

    def failure(self) -> Exception | None:
        """Return what the job failed with, once: asked again, it is made again."""
        job = self.queue.find(self.key)
        if job is None or job.state != FAILED:
            return None
        self.queue.forget(job)
        return job.exception
