"""How much quantizing one layer moves the model's answer, at every width: Lambda_i(b)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lrp.progress import Progress, check
from quant.calibration import WIDTHS, Calibration
from quant.errors import errors_of
from quant.replay import Replay, laid, rows_of

ESTIMATED, MEASURED = "estimated", "measured"
LABELS = 4  # classes drawn an image
BATCH = 8  # images whose operands and gradients are held at once


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Lambda_i(b): the divergence in nats when one layer's weights, or its input, have b bits.

    Mean Kullback-Leibler divergence of the model's probabilities from float's, all else in float.

    Attributes:
        names: the L layers, in order.
        widths: the W widths.
        weight, activation: (L, W); of an attention product, of its second and its first factor.
        how: "estimated" or "measured".
        images: on how many images.
    """

    names: tuple[str, ...]
    widths: tuple[int, ...]
    weight: np.ndarray
    activation: np.ndarray
    how: str
    images: int


Loss = Callable[[str, Tensor], float]  # of an error of a layer's output, summed over images


def estimate(
    calibration: Calibration,
    images: Tensor | None = None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Sensitivity:
    """Estimate Lambda_i(b) of all layers at all widths from one forward and backward pass.

    To second order KL(p || p') = 1/2 E_y~p (sum dL_y/dY_i (Y_i^(b) - Y_i))^2, with L_y the loss of
    class y: the Fisher information along the error a quantizer really makes. The expectation is
    over `LABELS` classes drawn from the model's own answer, each a backward pass of its own.
    The sum stands inside the square: errors of one layer's elements go together (our reading; the
    sum of squares, as often written, ranks inputs far worse).

    Args:
        images: (B, 3, H, W); those of the calibration by default.

    Raises:
        Cancelled: `cancel` was set.
    """
    generator = torch.Generator().manual_seed(0)

    def begin(part: Tensor) -> tuple[Replay, Loss]:
        replay = Replay(calibration.model, calibration.plan(), part, gradients=True)
        gradients = _gradients(replay, generator)

        def loss(name: str, error: Tensor) -> float:
            return _fisher([rows_of(g[name], error) for g in gradients], error)

        return replay, loss

    return _walk(calibration, images, begin, ESTIMATED, progress, cancel)


def _gradients(replay: Replay, generator: torch.Generator) -> list[dict[str, Tensor]]:
    """Return dL_y/dY_i by layer for each of `LABELS` classes y drawn an image."""
    log = replay.logits.log_softmax(1)
    shares = log.detach().exp().cpu()
    drawn = torch.multinomial(shares, LABELS, replacement=True, generator=generator).to(log.device)
    outputs, found = list(replay.outputs.values()), []
    for label in drawn.split(1, dim=1):
        gradients = torch.autograd.grad(log.gather(1, label).sum(), outputs, retain_graph=True)
        found.append(dict(zip(replay.outputs, gradients, strict=True)))
    return found


def _fisher(gradients: list[Tensor], error: Tensor) -> float:
    """Return 1/2 (sum g e)^2, summed over images and averaged over the drawn classes."""
    images = len(gradients[0])
    flat = error.reshape(images, -1)
    moved = [(g.reshape(images, -1) * flat).sum(1).square().sum() for g in gradients]
    return float(torch.stack(moved).mean() / 2)


def measure(
    calibration: Calibration,
    images: Tensor | None = None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Sensitivity:
    """Measure Lambda_i(b): quantize one operand of one layer at one width, and run the model.

    Layers before it are not computed again. As `estimate` otherwise.
    """

    def begin(part: Tensor) -> tuple[Replay, Loss]:
        replay = Replay(calibration.model, calibration.plan(), part)
        wanted = replay.logits.log_softmax(1)

        def loss(name: str, error: Tensor) -> float:
            output = replay.outputs[name]
            found = replay.changed(name, output + laid(error, output)).log_softmax(1)
            return float((wanted.exp() * (wanted - found)).sum())

        return replay, loss

    return _walk(calibration, images, begin, MEASURED, progress, cancel)


def _walk(
    calibration: Calibration,
    images: Tensor | None,
    begin: Callable[[Tensor], tuple[Replay, Loss]],
    how: str,
    progress: Progress | None,
    cancel: threading.Event | None,
) -> Sensitivity:
    """Add up losses over batches of images, layers and widths; `progress` counts layers."""
    images = calibration.images if images is None else images
    names, passes = tuple(calibration.plan().layers), {w: calibration.stored(w) for w in WIDTHS}
    sums = np.zeros((2, len(names), len(WIDTHS)))
    parts = images.split(BATCH)
    for done, part in enumerate(parts):
        replay, loss = begin(part)
        for index, name in enumerate(names):
            for column, width in enumerate(WIDTHS):
                check(cancel)
                with torch.no_grad():
                    errors = errors_of(replay.seen[name], passes, width, calibration.preset.bias)
                    found = loss(name, errors.weights()), loss(name, errors.input())
                sums[:, index, column] += found
            if progress is not None:
                progress(done * len(names) + index + 1, len(parts) * len(names))
    weight, activation = np.maximum(sums, 0) / len(images)
    return Sensitivity(names, WIDTHS, weight, activation, how, len(images))
