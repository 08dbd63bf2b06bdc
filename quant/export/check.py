"""Run what was exported, and compare it with what Bitlens measures."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from quant.export.request import Request
from quant.model.quantized_model import QuantizedModel

LEAST = 0.95  # of answers that are equal
TINY = 1e-3  # of logits: sums in another order
Run = Callable[[Tensor], Tensor]  # from images (B, 3, H, W) to logits (B, K)


@dataclass(frozen=True)
class Comparison:
    """How near an exported model's logits come to Bitlens' own.

    Attributes:
        images: how many were run.
        largest: difference of two logits.
        typical: the median, over images, of their largest difference.
        moved: the same of Bitlens' own and the float model: what quantization changes.
        equal: share of images with the same answer.
    """

    images: int
    largest: float
    typical: float
    moved: float
    equal: float

    def check(self) -> None:
        """Check that 95 % of answers are equal, and that logits are nearer to Bitlens' than float.

        They are seldom equal to the last bit. Two programs add up in different orders, so one value
        in some 10,000 is rounded to the next integer in one of them alone, and that spreads: a
        millionth of a pixel's value moves Bitlens' own logits as far.

        Raises:
            ValueError: they are not.
        """
        if self.equal < LEAST or self.typical > max(self.moved, TINY):
            raise ValueError(
                f"the exported model gives other answers than Bitlens: {self.equal:.1%} of "
                f"{self.images} are equal, logits differ by {self.typical:.3g} where quantization "
                f"moves them by {self.moved:.3g}; no file is written, use another preset or opset"
            )


@torch.no_grad()
def compare(exported: Run, request: Request) -> Comparison:
    """Run an exported model, and the quantized one as Bitlens does, on the images asked for.

    Raises:
        ValueError: there are no images.
    """
    own = QuantizedModel(request.model, request.calibration, request.allocation)
    device = request.calibration.images.device
    runs = (exported, own.run, request.model)
    made = [[run(images.to(device)).cpu() for run in runs] for images in request.images()]
    if not made:
        raise ValueError("no images to check the exported model on: give at least one")
    found, expected, plain = (torch.cat(side) for side in zip(*made, strict=True))
    apart, moved = ((other - expected).abs().amax(1) for other in (found, plain))
    equal = float((found.argmax(1) == expected.argmax(1)).float().mean())
    middle = float(apart.median()), float(moved.median())
    return Comparison(len(found), float(apart.max()), *middle, equal)


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
