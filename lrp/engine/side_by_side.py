"""Run pieces of work beside one another, so that what they find does not depend on the cores."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

from lrp.engine.progress import SILENT, Progress

T = TypeVar("T")
MOST = 4  # pieces at a time: each holds activations of its own


def side_by_side(tasks: Sequence[Callable[[Progress], T]], progress: Progress = SILENT) -> list[T]:
    """Return what the tasks return, in order; `progress` hears of all as of one.

    Each runs on one thread alone.  torch adds in another order on another number of threads, and
    the last digit can decide how a weight is rounded, and with it all weights after.

    Raises:
        Cancelled: the work was to stop.
        Exception: the first that a task raised; the others are stopped.
    """
    threads, failed = torch.get_num_threads(), threading.Event()
    parts = Progress(progress.tell, lambda: failed.is_set() or progress.stopped())
    with _single(threads), ThreadPoolExecutor(min(len(tasks), threads, MOST)) as pool:
        futures = [
            pool.submit(_alone, task, part)
            for task, part in zip(tasks, parts.beside(len(tasks)), strict=True)
        ]
        try:
            return [future.result() for future in futures]
        except BaseException:
            failed.set()
            raise


def _alone(task: Callable[[Progress], T], progress: Progress) -> T:
    torch.set_num_threads(1)
    return task(progress)


_lock, _under_way, _threads = threading.Lock(), 0, 0


@contextmanager
def _single(threads: int) -> Iterator[None]:
    """Let the tasks set the number of threads, and set it back when the last one is done.

    Gradients take the number that was set last, in whatever thread; a thread that began to compute
    before keeps its own.
    """
    global _under_way, _threads
    with _lock:
        _under_way, _threads = _under_way + 1, _threads if _under_way else threads
    try:
        yield
    finally:
        with _lock:
            _under_way -= 1
            if not _under_way:
                torch.set_num_threads(_threads)


@contextmanager
def waiting(lock: threading.Lock, progress: Progress) -> Iterator[None]:
    """Hold a lock; who waits for it can be stopped."""
    while not lock.acquire(timeout=0.2):
        progress.check()
    try:
        yield
    finally:
        lock.release()
