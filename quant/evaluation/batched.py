"""Run a configuration on a batch, in parts where memory has no room for it whole."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

Run = Callable[[Tensor], Tensor]
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


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
            found = self._attempt(part)
            if found is None:
                self._halve(len(part))
            else:
                parts.append(found)
        self.seconds += time.perf_counter() - started
        logits = torch.cat(parts)
        if not bool(torch.isfinite(logits).all()):
            raise ValueError(
                f"{self.name} gives logits that are not finite: no accuracy can be stated"
            )
        return logits

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
