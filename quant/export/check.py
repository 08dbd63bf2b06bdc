"""Run what was exported, and compare it with what Bitlens measures."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from quant.export.request import Request
from quant.model.quantized_model import QuantizedModel

LEAST = 0.99  # of answers that are equal
Run = Callable[[Tensor], Tensor]  # from images (B, 3, H, W) to logits (B, K)


@dataclass(frozen=True)
class Comparison:
    """How near an exported model's answers come to Bitlens' own.

    Attributes:
        images: how many were run.
        largest: difference of two logits.
        typical: the median, over images, of their largest difference.
        equal: share of images with the same answer.
    """

    images: int
    largest: float
    typical: float
    equal: float

    def check(self) -> None:
        """Check that answers are equal: all but one, or 99 % of more than 100.

        One value in about 10^5 lies so near the middle of two integers that two programs round it
        apart, and quantized layers behind it pass that on: logits are seldom equal to the last bit.

        Raises:
            ValueError: they are not.
        """
        wrong = round((1 - self.equal) * self.images)
        if wrong > max(1, (1 - LEAST) * self.images):
            raise ValueError(
                f"the exported model gives other answers than Bitlens on {wrong} of {self.images} "
                f"images (logits differ by up to {self.largest:.3g}): no file is written, "
                "use other bits or another preset"
            )


@torch.no_grad()
def compare(exported: Run, request: Request) -> Comparison:
    """Run an exported model, and the quantized one as Bitlens does, on the images asked for.

    Raises:
        ValueError: there are no images.
    """
    own = QuantizedModel(request.model, request.calibration, request.allocation)
    device = request.calibration.images.device
    pairs = [(exported(images), own.run(images.to(device)).cpu()) for images in request.images()]
    if not pairs:
        raise ValueError("no images to check the exported model on: give at least one")
    ours, theirs = (torch.cat(side) for side in zip(*pairs, strict=True))
    apart = (ours - theirs).abs().amax(1)
    equal = (ours.argmax(1) == theirs.argmax(1)).float().mean()
    return Comparison(len(ours), float(apart.max()), float(apart.median()), float(equal))


@dataclass(frozen=True)
class Latency:
    """Seconds that one image takes, and how many times as long as float that is.

    Attributes:
        ratio: the median of rounds, each of one run of either.
        low, high: what half of the rounds lie within.
    """

    seconds: float
    float_seconds: float
    ratio: float
    low: float
    high: float


def latency(quantized: Run, plain: Run, image: Tensor, rounds: int = 25) -> Latency:
    """Run two models on one image (1, 3, H, W) by turns, so that both meet the same weather."""
    for run in (quantized, plain):
        run(image)
    times = [(_seconds(quantized, image), _seconds(plain, image)) for _ in range(rounds)]
    ratios = sorted(a / b for a, b in times)
    quarter = rounds // 4
    ours, theirs = (median(side) for side in zip(*times, strict=True))
    return Latency(ours, theirs, median(ratios), ratios[quarter], ratios[-1 - quarter])


def _seconds(run: Run, image: Tensor) -> float:
    started = time.perf_counter()
    run(image)
    return time.perf_counter() - started
