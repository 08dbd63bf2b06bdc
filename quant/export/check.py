"""Run what was exported, and compare it with what Bitlens measures."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from quant.evaluation.answers import Answers, Evaluation
from quant.evaluation.intervals import wilson
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
        plain: the same of Bitlens' own and the float model.
    """

    images: int
    largest: float
    typical: float
    moved: float
    equal: float
    plain: float

    def check(self) -> None:
        """Check that answers and logits are nearer to Bitlens' own than the float model's.

        95 % of equal answers are enough, however few quantization changes; a share counts as the
        highest that so many images leave open (the end of its 95 % interval).

        They are seldom equal to the last bit. Two programs add up in different orders, so one value
        in some 10,000 is rounded to the next integer in one of them alone, and that spreads: a
        millionth of a pixel's value moves Bitlens' own logits as far.

        Raises:
            ValueError: they are not.
        """
        possible = wilson(round(self.equal * self.images), self.images)[1]
        if possible < min(LEAST, self.plain) or self.typical > max(self.moved, TINY):
            raise ValueError(
                f"the exported model gives other answers than Bitlens: {self.equal:.1%} of "
                f"{self.images} are equal, logits differ by {self.typical:.3g} where quantization "
                f"moves them by {self.moved:.3g}; no file is written, use another preset or opset"
            )


@torch.no_grad()
def compare(exported: Run, request: Request) -> tuple[Comparison, dict[str, Evaluation]]:
    """Run an exported model, the quantized one as Bitlens does, and float, on the images asked for.

    Returns:
        how near the first two are, and the accuracy beside float of "exported" and "bitlens".

    Raises:
        ValueError: there are no images.
    """
    own = QuantizedModel(request.calibration, request.allocation)
    device = request.calibration.images.device
    made = []
    for images, labels in request.images():
        runs = (run(images.to(device)).cpu() for run in (exported, own.run, request.model))
        made.append((*runs, labels))
    if not made:
        raise ValueError("no images to check the exported model on: give at least one")
    found, expected, plain, classes = (torch.cat(side) for side in zip(*made, strict=True))
    apart, moved = ((other - expected).abs().amax(1) for other in (found, plain))
    answers = expected.argmax(1)
    equal = [float((side.argmax(1) == answers).float().mean()) for side in (found, plain)]
    middle = float(apart.median()), float(moved.median())
    compared = Comparison(len(found), float(apart.max()), *middle, *equal)
    sides = {"exported": found, "bitlens": expected}
    return compared, {
        name: Answers.of(logits, classes, plain).counts().evaluation(0.0)
        for name, logits in sides.items()
    }


def checked(exported: Run, request: Request) -> dict[str, Any]:
    """Compare and check, as JSON has it; ValueError as `compare` and `Comparison.check` say."""
    compared, accuracies = compare(exported, request)
    compared.check()
    sides = {name: asdict(accuracy) for name, accuracy in accuracies.items()}
    return {"check": asdict(compared), "accuracy": sides}


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
