"""Watch a float model on a few unlabelled images and keep samples of what its layers multiply."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lrp.interpreter import Interpreter
from lrp.progress import Progress, follow
from quant.quantizers import Quantizer, fit_log_sqrt2, fit_uniform

POST_NORM_ROLES = ("qkv", "fc1", "reduction")
ROWS, VALUES = 2048, 1 << 16  # kept of a post-LayerNorm input, and of any other operand


@dataclass(frozen=True, eq=False)
class Sample:
    """What was kept of one operand.

    Attributes:
        values: (n,) of a tensor quantized as a whole, (n, C) of one quantized per channel.
        kind: "tensor", "channels" (post-LayerNorm) or "attention" (post-softmax).
    """

    values: Tensor
    kind: str

    def fit(self, bits: int) -> Quantizer:
        """Fit the operand's quantizer at `bits`, as a whole."""
        if self.kind == "attention":
            return fit_log_sqrt2(self.values, bits)
        return fit_uniform(self.values, bits)


@dataclass(frozen=True, eq=False)
class Calibration:
    """Samples of every operand of every layer, from `images` images."""

    samples: dict[str, tuple[Sample, ...]]
    images: int


def calibrate(
    model: nn.Module,
    batches: Iterable[Tensor],
    images: int,
    device: str | torch.device = "cpu",
    seed: int = 0,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Calibration:
    """Calibrate `model` on `images` images that come in `batches` of (B, 3, H, W).

    Raises:
        ValueError: no images, or an operand that is not finite (the layer is named).
        Cancelled: `cancel` was set.
    """
    watcher = _Watcher(model, images, torch.Generator().manual_seed(seed))
    seen = 0
    for batch in follow(batches, images, progress, cancel):
        with torch.no_grad():
            watcher.watch(batch.to(device))
        seen += len(batch)
    return Calibration(watcher.samples(), seen)


class _Watcher(Interpreter):
    """Keep a random sample of every operand; equally many values of every image."""

    def __init__(self, model: nn.Module, images: int, generator: torch.Generator) -> None:
        super().__init__(model)
        self.images = max(images, 1)
        self.generator = generator
        self.kept: dict[str, list[list[Tensor]]] = {}
        self.softmaxed: Tensor | None = None  # held, so that its memory names it alone
        self.after_softmax: set[str] = set()
        self.share = 1.0

    def watch(self, images: Tensor) -> None:
        self.share = len(images) / self.images
        self.run(images)
        self.softmaxed = None

    def samples(self) -> dict[str, tuple[Sample, ...]]:
        return {
            name: tuple(
                Sample(torch.cat(parts), self._kind(name, index))
                for index, parts in enumerate(operands)
            )
            for name, operands in self.kept.items()
        }

    def _kind(self, name: str, operand: int) -> str:
        if _follows_norm(name):
            return "channels"
        return "attention" if name in self.after_softmax and operand == 0 else "tensor"

    def _keep(self, name: str, *operands: Tensor) -> None:
        if not all(bool(torch.isfinite(x).all()) for x in operands):
            raise ValueError(f"the input of {name} is not finite: check the weights and the images")
        stores = self.kept.setdefault(name, [[] for _ in operands])
        per_channel = _follows_norm(name)
        for store, x in zip(stores, operands, strict=True):
            rows = x.reshape(-1, x.shape[-1]) if per_channel else x.reshape(-1)
            store.append(self._draw(rows, ROWS if per_channel else VALUES))

    def _draw(self, rows: Tensor, budget: int) -> Tensor:
        count = min(len(rows), max(1, round(budget * self.share)))
        # Drawn with replacement on the CPU: one generator gives every device the same sample.
        chosen = torch.randint(len(rows), (count,), generator=self.generator).to(rows.device)
        return rows[chosen].float()

    def linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        self._keep(self.layer_name(weight), input)
        return super().linear(input, weight, bias)

    def conv2d(
        self, input: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        self._keep(self.layer_name(weight), input)
        return super().conv2d(input, weight, bias, *args, **kwargs)

    def softmax(self, input: Tensor, dim: int, *args: Any, **kwargs: Any) -> Tensor:
        output = super().softmax(input, dim)
        self.softmaxed = output
        return output

    def matmul(self, input: Tensor, other: Tensor) -> Tensor:
        name = self.scope.next_product()
        if self.softmaxed is not None and input.data_ptr() == self.softmaxed.data_ptr():
            self.after_softmax.add(name)
        self._keep(name, input, other)
        return super().matmul(input, other)


def _follows_norm(name: str) -> bool:
    return name.rpartition(".")[2] in POST_NORM_ROLES
