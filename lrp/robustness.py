"""Captum's two measures of an explanation, for many methods over many images."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lrp.compare import infidelity, max_sensitivity
from lrp.methods import Method
from lrp.progress import Progress, check, follow


@dataclass(frozen=True, eq=False)
class Robustness:
    """Infidelity and max-sensitivity of one method over T images, each (T,); lower is better."""

    infidelity: Tensor
    max_sensitivity: Tensor


def robustness(
    model: nn.Module,
    batches: Iterable[Tensor],
    images: int,
    methods: Sequence[Method],
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
    seed: int = 0,
) -> dict[str, Robustness]:
    """Measure methods on `images` images that come in `batches` of (B, 3, H, W).

    The class is the predicted one; all methods see the same deletions and the same noise.

    Args:
        progress: told (maps done, methods x images).

    Raises:
        ValueError: no images.
        Cancelled: `cancel` was set.
    """
    found: dict[str, list[tuple[Tensor, Tensor]]] = {method.name: [] for method in methods}
    done = 0
    for batch in follow(batches, images, cancel=cancel):
        pictures = batch.to(device)
        with torch.no_grad():
            target = model(pictures).argmax(1)
        for method in methods:
            check(cancel)
            found[method.name].append(_measured(model, pictures, target, method, seed))
            done += len(batch)
            if progress is not None:
                progress(done, len(methods) * images)
    return {
        name: Robustness(*(torch.cat(parts) for parts in zip(*pairs, strict=True)))
        for name, pairs in found.items()
    }


def _measured(
    model: nn.Module, images: Tensor, target: Tensor, method: Method, seed: int
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    maps = method.maps(model, images, target)
    wrong = infidelity(model, images, maps, target, generator)
    moved = max_sensitivity(method.maps, model, images, target, generator)
    return wrong.cpu(), moved.cpu()
