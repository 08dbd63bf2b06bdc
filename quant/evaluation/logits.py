"""A configuration's logits on one image set, by position; those of float are kept for all."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor

Run = Callable[[Tensor], Tensor]
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
LOGIT_BYTES = 2**28


class Batched:
    """A run from images (B, 3, H, W) to logits (B, K), on batches of any size.

    A batch that memory has no room for is run in halves, and so on down to single images; later
    batches are run in parts of the size that worked.

    Attributes:
        name: names the run in errors.
        seconds: spent running so far.
    """

    def __init__(self, name: str, run: Run, device: str | torch.device = "cpu") -> None:
        self.name, self.seconds = name, 0.0
        self._run, self._device = run, device
        self._most: int | None = None

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits, on the CPU.

        Raises:
            ValueError: logits that are not finite, or no memory for a single image.
        """
        started = time.perf_counter()
        parts: list[Tensor] = []
        while (done := sum(map(len, parts))) < len(images):
            part = images[done : done + (self._most or len(images))]
            logits = self._attempt(part)
            if logits is None:
                self._halve(len(part))
            else:
                parts.append(logits)
        self.seconds += time.perf_counter() - started
        whole = torch.cat(parts)
        if not bool(torch.isfinite(whole).all()):
            raise ValueError(
                f"{self.name} gives logits that are not finite: no accuracy can be stated"
            )
        return whole

    def _attempt(self, images: Tensor) -> Tensor | None:
        """Return the logits; None where memory ran out."""
        try:
            return self._run(images.to(self._device)).cpu()  # waits for the device
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            return None

    def _halve(self, size: int) -> None:
        # after the error is gone, whose frames held on to tensors
        if size == 1:
            raise ValueError(
                f"{self.name}: there is no memory for even one image; "
                "close other programs or use another device"
            )
        self._most = size // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _out_of_memory(error: BaseException) -> bool:
    # torch.cuda.OutOfMemoryError is the name that every version has
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return any(words in str(error) for words in OUT_OF_MEMORY)


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
        rows = list(self._store.read(start, stop))
        for place, row, seconds in rows:
            self._keep(place, row, seconds)
        return {place: row for place, row, _ in rows}

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
