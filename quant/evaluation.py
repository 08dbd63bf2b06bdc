"""Measure accuracy, with what is known of its error, on the same images for every configuration."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lrp.progress import Progress, follow

Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Evaluation:
    """Accuracy of one configuration; fractions in 0 to 1.

    Attributes:
        images: how many images it was measured on.
        top1_low, top1_high: the 95 % Wilson interval of top1.
        agreement: share of images whose top class is the reference's.
        divergence: mean Kullback-Leibler divergence from the reference's probabilities, in nats;
            steadier than accuracy, as every image's whole answer counts.
        seconds: spent running the model, without reading images.
    """

    images: int
    top1: float
    top1_low: float
    top1_high: float
    top5: float
    agreement: float
    divergence: float
    seconds: float


def wilson(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion (Wilson 1927); 95 % by default."""
    if trials <= 0:
        raise ValueError("no trials: an interval needs at least one image")
    p, zz = successes / trials, z * z / trials
    centre = (p + zz / 2) / (1 + zz)
    half = z * math.sqrt(p * (1 - p) / trials + zz / (4 * trials)) / (1 + zz)
    # at 0 and 1 the bounds are those numbers, which rounding would miss
    return min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half))


class _Tally:
    def __init__(self) -> None:
        self.top1 = self.top5 = self.agree = self.images = 0
        self.seconds = self.divergence = 0.0

    def add(self, logits: Tensor, labels: Tensor, reference: Tensor) -> None:
        ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices
        hits = ranked == labels[:, None]
        self.images += len(labels)
        self.top1 += int(hits[:, 0].sum())
        self.top5 += int(hits.sum())
        self.agree += int((ranked[:, 0] == reference.argmax(1)).sum())
        self.divergence += float(
            F.kl_div(
                logits.log_softmax(1), reference.log_softmax(1), reduction="sum", log_target=True
            )
        )

    def evaluation(self) -> Evaluation:
        low, high = wilson(self.top1, self.images)
        return Evaluation(
            images=self.images,
            top1=self.top1 / self.images,
            top1_low=low,
            top1_high=high,
            top5=self.top5 / self.images,
            agreement=self.agree / self.images,
            divergence=self.divergence / self.images,
            seconds=self.seconds,
        )


def evaluate(
    runs: Mapping[str, Run],
    batches: Iterable[tuple[Tensor, Tensor]],
    images: int,
    device: str | torch.device = "cpu",
    reference: str = "float",
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> dict[str, Evaluation]:
    """Run every configuration on the same `images` images and count.

    Args:
        runs: configurations by name, each from images (B, 3, H, W) to logits (B, K).
        batches: of images and labels (B,).
        reference: the run that agreement is with.

    Raises:
        ValueError: no images, or logits that are not finite (the configuration is named).
        Cancelled: `cancel` was set.
    """
    tallies = {name: _Tally() for name in runs}
    for batch, labels in follow(batches, images, progress, cancel):
        batch = batch.to(device)
        logits = {name: _logits(name, run, batch, tallies[name]) for name, run in runs.items()}
        for name, tally in tallies.items():
            tally.add(logits[name], labels, logits[reference])
    return {name: tally.evaluation() for name, tally in tallies.items()}


@torch.no_grad()
def _logits(name: str, run: Run, batch: Tensor, tally: _Tally) -> Tensor:
    started = time.perf_counter()
    logits = run(batch).cpu().double()  # waits for the device
    tally.seconds += time.perf_counter() - started
    if not bool(torch.isfinite(logits).all()):
        raise ValueError(f"{name} gives logits that are not finite: no accuracy can be stated")
    return logits
