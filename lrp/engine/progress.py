"""Walk through batches with progress reported and a way to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from torch import Tensor

Progress = Callable[[int, int], None]  # (images done, images in all)
Batch = TypeVar("Batch", Tensor, tuple[Tensor, Tensor])


class Cancelled(Exception):
    """The caller asked a long computation to stop."""


def check(cancel: threading.Event | None) -> None:
    """Raise Cancelled if `cancel` was set."""
    if cancel is not None and cancel.is_set():
        raise Cancelled("cancelled")


def follow(
    batches: Iterable[Batch],
    images: int,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Iterator[Batch]:
    """Yield each batch, and report it done when the next one is asked for.

    Raises:
        Cancelled: `cancel` was set when a batch was due.
        ValueError: there was no batch.
    """
    done = 0
    for batch in batches:
        check(cancel)
        yield batch
        done += len(batch) if isinstance(batch, Tensor) else len(batch[0])
        if progress is not None:
            progress(done, images)
    if not done:
        raise ValueError("no images were given: give at least one")
