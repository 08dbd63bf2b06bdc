"""The float model's logits on one image set, kept for all evaluations on it."""

from __future__ import annotations

import threading

import torch
from torch import Tensor

from quant.evaluation.batched import Batched, Run

LOGIT_BYTES = 2**28


class FloatLogits:
    """The float model's logits on one image set, by position: it runs once for all configurations.

    Args:
        room: bytes of logits to keep; images beyond that are run anew each time.
    """

    def __init__(
        self, run: Run, device: str | torch.device = "cpu", room: int = LOGIT_BYTES
    ) -> None:
        self._run, self._room = Batched("float", run, device), room
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
            missing = [i for i, place in enumerate(places) if place not in self._kept]
            if not missing:
                return torch.stack([self._kept[place] for place in places])
            before = self._run.seconds
            fresh = self._run(images if len(missing) == len(images) else images[missing])
            each = (self._run.seconds - before) / len(missing)
            self._spent |= {places[i]: each for i in missing}
            rows = {places[i]: row for i, row in zip(missing, fresh, strict=True)}
            rows |= {place: self._kept[place] for place in places if place not in rows}
            self._keep(rows)
            return torch.stack([rows[place] for place in places])

    def _keep(self, rows: dict[int, Tensor]) -> None:
        for place, row in rows.items():
            if place not in self._kept and self._room >= row.nbytes:
                self._room -= row.nbytes
                self._kept[place] = row.clone()  # not the whole batch behind it
