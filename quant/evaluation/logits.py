"""A configuration's logits on one image set, by position; those of float are kept for all."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from quant.evaluation.batched import Batched, Run

LOGIT_BYTES = 2**28


class Store(Protocol):
    """Keeps logits beyond this process: of each place (K,), and the seconds that they took."""

    def read(self, start: int, stop: int) -> Iterable[tuple[int, Tensor, float]]: ...
    def write(self, places: Sequence[int], logits: Tensor, each: float) -> None: ...


class Logits:
    """A configuration's logits on one image set, by position.

    Args:
        name: of the configuration, for errors and for who watches.
        run: from images (B, 3, H, W) to logits (B, K).
        path: how its layers are multiplied, in words.
        room: bytes of logits to keep; images beyond that are run anew each time.
        store: holds what earlier processes kept, and gets what is made here.
    """

    def __init__(
        self,
        name: str,
        run: Run,
        device: str | torch.device = "cpu",
        path: str = "",
        room: int = 0,
        store: Store | None = None,
    ) -> None:
        self.name, self.path = name, path
        self._run, self._room, self._store = Batched(name, run, device), room, store
        self._kept: dict[int, Tensor] = {}
        self._spent: dict[int, float] = {}
        self._lock = threading.Lock()

    def seconds(self, start: int, stop: int) -> float:
        """Return what running the images start to stop took, whenever that was."""
        with self._lock:
            return sum(self._spent.get(place, 0.0) for place in range(start, stop))

    def of(self, start: int, images: Tensor) -> Tensor:
        """Return the logits (B, K) of the images that stand at `start` in the set.

        Raises:
            ValueError: logits that are not finite, or no memory for a single image.
        """
        with self._lock:  # a second caller finds what the first one made
            places = range(start, start + len(images))
            rows = {place: self._kept[place] for place in places if place in self._kept}
            if self._store is not None and len(rows) < len(places):
                rows |= self._recall(start, places.stop)
            missing = [i for i, place in enumerate(places) if place not in rows]
            if missing:
                rows |= self._make([places[i] for i in missing], images[missing])
            return torch.stack([rows[place] for place in places])

    def _recall(self, start: int, stop: int) -> dict[int, Tensor]:
        assert self._store is not None
        found = list(self._store.read(start, stop))
        for place, row, seconds in found:
            self._keep(place, row, seconds)
        return {place: row for place, row, _ in found}

    def _make(self, places: Sequence[int], images: Tensor) -> dict[int, Tensor]:
        before = self._run.seconds
        logits = self._run(images)
        each = (self._run.seconds - before) / len(places)
        if self._store is not None:
            self._store.write(places, logits, each)
        rows = dict(zip(places, logits, strict=True))
        for place, row in rows.items():
            self._keep(place, row, each)
        return rows

    def _keep(self, place: int, row: Tensor, seconds: float) -> None:
        """Keep logits (K,) and what they took, if there is room."""
        self._spent[place] = seconds
        if place not in self._kept and self._room >= row.nbytes:
            self._room -= row.nbytes
            self._kept[place] = row.clone()  # not the whole batch behind it


def float_logits(
    run: Run, device: str | torch.device = "cpu", store: Store | None = None
) -> Logits:
    """Return the float model's logits, which all evaluations on the image set share."""
    return Logits("float", run, device, room=LOGIT_BYTES, store=store)
