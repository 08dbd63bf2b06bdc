"""How far long work is, and a way to stop it: one object that goes through all of it."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import Tensor

Batch = TypeVar("Batch", Tensor, tuple[Tensor, Tensor])


class Cancelled(Exception):
    """The caller asked a long computation to stop."""


class Tell(Protocol):
    """Hears what is done of how much, of what, and what there is to see so far."""

    def __call__(self, done: int, total: int, what: str = ..., so_far: object = ...) -> None: ...


def _silent(done: int, total: int, what: str = "", so_far: object = None) -> None:
    pass


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Progress:
    """Progress of a piece of work, and its stop.

    Attributes:
        tell: hears each report.
        stopped: returns whether the work is to end.
    """

    tell: Tell = _silent
    stopped: Callable[[], bool] = _never

    def __call__(self, done: int, total: int, what: str = "", so_far: object = None) -> None:
        """Report progress.

        Args:
            what: is counted, where work has several stages.
            so_far: what is found already.

        Raises:
            Cancelled: the work is to stop.
        """
        self.check()
        self.tell(done, total, what, so_far)

    def check(self) -> None:
        """Raise Cancelled where the work is to stop."""
        if self.stopped():
            raise Cancelled("cancelled")

    def of(self, stage: str) -> "Progress":
        """Return the progress of a stage: it says what is counted."""

        def tell(done: int, total: int, what: str = "", so_far: object = None) -> None:
            self.tell(done, total, stage, so_far)

        return Progress(tell, self.stopped)

    def part(self, index: int, parts: int) -> "Progress":
        """Return the progress of one of several equal parts, reported as that of the whole."""

        def tell(done: int, total: int, what: str = "", so_far: object = None) -> None:
            self.tell(index * total + done, parts * total, what, so_far)

        return Progress(tell, self.stopped)

    def beside(self, parts: int) -> "list[Progress]":
        """Return the progress of equal parts that run at once, reported as that of the whole."""
        reached, lock = [0] * parts, threading.Lock()

        def part(index: int) -> Progress:
            def tell(done: int, total: int, what: str = "", so_far: object = None) -> None:
                with lock:
                    reached[index] = done
                    self.tell(sum(reached), parts * total, what, so_far)

            return Progress(tell, self.stopped)

        return [part(index) for index in range(parts)]


SILENT = Progress()


def follow(batches: Iterable[Batch], images: int, progress: Progress = SILENT) -> Iterator[Batch]:
    """Yield each batch, and report it done when the next one is asked for.

    Raises:
        Cancelled: the work was to stop when a batch was due or done.
        ValueError: there was no batch.
    """
    done = 0
    for batch in batches:
        progress.check()
        yield batch
        done += len(batch) if isinstance(batch, Tensor) else len(batch[0])
        progress(done, images)
    if not done:
        raise ValueError("no images were given: give at least one")
