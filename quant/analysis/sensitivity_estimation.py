"""Estimate or measure how far quantizing one layer moves the model's answer: Lambda_i(b)."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from lrp.engine.progress import SILENT, Progress
from quant.analysis.layer_errors import drift_of, errors_of
from quant.analysis.sensitivity import ESTIMATED, MEASURED, Sensitivity
from quant.calibration.calibration import Calibration
from quant.calibration.side_by_side import side_by_side
from quant.calibration.store import Stored
from quant.model.float_layers import Replay, Seen
from quant.primitives.bits import MENU

LABELS = 8  # classes drawn an image
BATCH = 4  # images whose operands and gradients are held at once
MEASURED_IMAGES = 16  # of the calibration's: each layer and width is a run of the model


def estimate(
    calibration: Calibration,
    images: Tensor | None = None,
    progress: Progress = SILENT,
) -> Sensitivity:
    """Estimate Lambda_i(b) of all layers at all widths from one forward pass and its gradients.

    To second order KL(p || p') = 1/2 E_y~p (sum dL_y/dY_i (Y_i^(b) - Y_i))^2, with L_y = -log p(y):
    the Fisher information along the error that a quantizer really makes. The sum stands inside the
    square, as errors of one layer's elements go together (our reading; the sum of squares, as
    often written, ranks inputs far worse). The expectation is over `LABELS` classes an image.

    Args:
        images: (B, 3, H, W); those of the calibration by default.

    Raises:
        Cancelled: the work was to stop.
    """
    generator = torch.Generator().manual_seed(0)
    return _mean_losses(
        calibration, images, lambda part: _Fisher(calibration, part, generator), ESTIMATED, progress
    )


def measure(
    calibration: Calibration,
    images: Tensor | None = None,
    progress: Progress = SILENT,
) -> Sensitivity:
    """Measure Lambda_i(b): quantize one operand of one layer at one width, and run the model.

    Layers before it are not computed again. As `estimate` otherwise.
    """
    return _mean_losses(
        calibration, images, lambda part: _Runs(calibration, part, progress), MEASURED, progress
    )


def find(
    calibration: Calibration,
    how: str,
    images: int | None = None,
    progress: Progress = SILENT,
) -> Sensitivity:
    """Estimate or measure, on the first of the calibration's images.

    Args:
        images: how many; by default all to estimate, `MEASURED_IMAGES` to measure.
    """
    default = MEASURED_IMAGES if how == MEASURED else None
    first = calibration.images[: default if images is None else images]
    return (measure if how == MEASURED else estimate)(calibration, first, progress)


class _Fisher:
    """Losses on a few images to second order, by gradients."""

    def __init__(self, calibration: Calibration, images: Tensor, draws: torch.Generator) -> None:
        self.replay = Replay(calibration.model, calibration.surveyed(), images, gradients=True)
        self._gradients = _gradients(self.replay, draws)

    def losses(self, name: str, errors: list[Tensor]) -> list[float]:
        """Return the divergence of each of several errors of a layer, summed over the images."""
        count = len(self.replay.logits)  # an image's windows stand in one row
        form = self.replay.seen[name].form
        rows = [form.as_rows(g[name]).reshape(count, -1) for g in self._gradients]
        columns = [error.reshape(count, -1) for error in errors]
        # (B, LABELS, M) @ (B, M, errors)
        moved = torch.stack(rows, 1) @ torch.stack(columns, 1).mT
        sums: list[float] = (moved.square().mean(1).sum(0) / 2).tolist()
        return sums


def _gradients(replay: Replay, draws: torch.Generator) -> list[dict[str, Tensor]]:
    """Return weighted dL_y/dY_i by layer for each of `LABELS` classes y drawn an image.

    Drawn by q(y) ~ p(y) (1 - p(y)) and weighted by sqrt(p / q): the likeliest class of a sure
    answer hardly moves, the others, seldom drawn by p, carry the expectation.
    """
    log = replay.logits.log_softmax(1)
    p = log.detach().exp()
    q = p * (1 - p) + torch.finfo(p.dtype).tiny
    q = q / q.sum(1, keepdim=True)
    labels = torch.multinomial(q.cpu(), LABELS, replacement=True, generator=draws).to(p.device)
    outputs, by_label = list(replay.outputs.values()), []
    for label in labels.split(1, dim=1):
        weight = (p.gather(1, label) / q.gather(1, label)).sqrt()
        total = (weight * log.gather(1, label)).sum()
        gradients = torch.autograd.grad(total, outputs, retain_graph=True)
        by_label.append(dict(zip(replay.outputs, gradients, strict=True)))
    return by_label


class _Runs:
    """Losses on a few images as they are, by running the model from the layer on."""

    def __init__(self, calibration: Calibration, images: Tensor, progress: Progress) -> None:
        self.replay = Replay(calibration.model, calibration.surveyed(), images)
        self._float, self._progress = _log_probabilities(self.replay.logits), progress

    def losses(self, name: str, errors: list[Tensor]) -> list[float]:
        """Return the divergence of each of several errors of a layer, summed over the images."""
        return [self._loss(name, error) for error in errors]

    def _loss(self, name: str, error: Tensor) -> float:
        self._progress.check()
        output = self.replay.outputs[name]
        moved = output + self.replay.seen[name].form.laid(error, output.shape[2:])
        quantized = _log_probabilities(self.replay.changed(name, moved))
        return float((self._float.exp() * (self._float - quantized)).sum())


def _log_probabilities(logits: Tensor) -> Tensor:
    # In float32, rounding is as large as the divergence of a layer at 8 bits.
    return logits.cpu().double().log_softmax(1)


def _mean_losses(
    calibration: Calibration,
    images: Tensor | None,
    begin: Callable[[Tensor], _Fisher | _Runs],
    how: str,
    progress: Progress,
) -> Sensitivity:
    """Average losses over the images, for each layer and width; `progress` counts layers."""
    images = calibration.images if images is None else images
    calibration.solve(MENU, Progress(stopped=progress.stopped))
    mean = partial(_mean_losses_of, calibration, images, begin, how)
    (found,) = side_by_side([mean], progress)
    return found


def _mean_losses_of(
    calibration: Calibration,
    images: Tensor,
    begin: Callable[[Tensor], _Fisher | _Runs],
    how: str,
    progress: Progress,
) -> Sensitivity:
    names, passes = tuple(calibration.surveyed().layers), {w: calibration.stored(w) for w in MENU}
    drifts = _drifts(calibration, passes, progress)
    sums = np.zeros((len(names), 2, len(MENU)))
    parts = images.split(BATCH)
    for number, part in enumerate(parts):
        batch, layers_done = begin(part), progress.part(number, len(parts))
        for index, name in enumerate(names):
            progress.check()
            with torch.no_grad():
                losses = batch.losses(name, _errors(batch.replay.seen[name], passes, drifts))
            sums[index] += np.reshape(losses, (2, len(MENU)))
            layers_done(index + 1, len(names))
    weight, activation = np.maximum(sums, 0).transpose(1, 0, 2) / len(images)
    return Sensitivity(names, MENU, weight, activation, how, len(images))


@torch.no_grad()
def _drifts(
    calibration: Calibration, passes: Mapping[int, Stored], progress: Progress
) -> dict[str, Tensor]:
    """Return the mean error (W, K) that an input adds at each width, by layer with a bias for it.

    That of all calibration images: a mean over fewer would take errors off that biases leave.
    """
    images, drifts = calibration.images, dict[str, Tensor]()
    for part in images.split(BATCH) if calibration.preset.bias else ():
        for name, seen in Replay(calibration.model, calibration.surveyed(), part).seen.items():
            progress.check()
            if seen.affine is not None:
                means = torch.stack([drift_of(seen, passes[width], width) for width in MENU])
                drifts[name] = drifts.get(name, 0) + means * (len(part) / len(images))
    return drifts


def _errors(seen: Seen, passes: Mapping[int, Stored], drifts: Mapping[str, Tensor]) -> list[Tensor]:
    """Return a layer's errors with its weights at each width, then with its input."""
    errors = [errors_of(seen, passes, width, corrected=False) for width in MENU]
    drift = drifts.get(seen.name, [0.0] * len(MENU))
    inputs = [one.input() - mean for one, mean in zip(errors, drift, strict=True)]
    return [one.weights() for one in errors] + inputs
