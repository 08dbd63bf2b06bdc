"""What a page wants and may have to wait for: kept since it was made, or made by a job."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.work.job import DONE, FAILED, Job
from app.work.jobs import JobQueue
from lrp.engine.progress import Progress

T = TypeVar("T")


class Recent(Generic[T]):
    """The few most recently used results of costly work, for threads: a map that fills itself."""

    def __init__(self, max_entries: int) -> None:
        self.max_entries = max_entries
        self._entries: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()

    def peek(self, key: Hashable) -> T | None:
        """Return the entry of a key, or None where there is none."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key)

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the entry of a key, made by `make` where there is none."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
        made = make()
        with self._lock:
            made = self._entries.setdefault(key, made)  # of two made at once, all use the first
        self.put(key, made)
        return made

    def put(self, key: Hashable, value: T) -> None:
        """Set the entry of a key, and drop the one that was not used for longest."""
        with self._lock:
            self._entries[key] = value
            self._entries.move_to_end(key)
            while len(self._entries) > self.max_entries:
                self._entries.popitem(last=False)


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
