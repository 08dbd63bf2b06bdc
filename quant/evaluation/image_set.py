"""An image set in batches: its pictures are read ahead, once, for all evaluations on it."""

import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from lrp.engine.inputs import Images

FIRST = 4  # images of the first batch, so that a first accuracy comes at once
LARGEST = 32
READERS = min(4, os.cpu_count() or 1)
AHEAD = 2  # batches read while one runs
PICTURE_BYTES = 2**29


class Pictures:
    """An image set in batches, read ahead of the model; the first pictures are kept.

    Args:
        room: bytes of pictures to keep; what does not fit is read anew each time.
    """

    def __init__(self, images: Images, room: int = PICTURE_BYTES) -> None:
        self._images, self._room = images, room
        self._kept: dict[int, tuple[Tensor, int]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._images)

    def batches(
        self, start: int = 0, stop: int | None = None, largest: int = LARGEST
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images (B, 3, H, W) and labels (B,), start to stop: few at first, then more.

        Where a batch ends does not depend on the start: a run that was cut off goes on with the
        same batches, and so with the same answers to the last bit.
        """
        pool = ThreadPoolExecutor(READERS)
        coming: deque[Iterator[tuple[Tensor, int]]] = deque()
        try:
            for span in _spans(start, len(self) if stop is None else stop, largest):
                coming.append(pool.map(self._picture, span))
                if len(coming) > AHEAD:
                    yield _stacked(coming.popleft())
            while coming:
                yield _stacked(coming.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _picture(self, index: int) -> tuple[Tensor, int]:
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        picture, label = self._images[index]
        with self._lock:
            if index not in self._kept and self._room >= picture.nbytes:
                self._room -= picture.nbytes
                self._kept[index] = picture, label
        return picture, label


def _spans(start: int, stop: int, largest: int) -> Iterator[range]:
    first, size = 0, min(FIRST, largest)
    while first < stop:
        span = range(max(start, first), min(first + size, stop))
        if span:
            yield span
        first, size = first + size, min(2 * size, largest)


def _stacked(pairs: Iterator[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    pictures, labels = zip(*pairs, strict=True)
    return torch.stack(pictures), torch.tensor(labels)
