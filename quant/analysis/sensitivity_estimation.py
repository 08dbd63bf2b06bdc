"""Estimate or measure how far quantizing one layer moves the model's answer: Lambda_i(b)."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from lrp.engine.progress import SILENT, Progress
from lrp.engine.side_by_side import side_by_side
from quant.analysis.damage import divergence, log_probabilities
from quant.analysis.layer_errors import drift_of, errors_of
from quant.analysis.sensitivity import ESTIMATED, MEASURED, Sensitivity
from quant.analysis.widths import PLAIN, Widths, passes_with
from quant.calibration.calibration import Calibration
from quant.model.float_layers import Replay, Seen, at_once

LABELS = 8  # classes drawn an image
HELD = LABELS + 2  # times a layer's output: gradients, operands, what they are made of
MEASURED_IMAGES = 16  # of the calibration's: each layer and width is a run of the model


def estimate(
    calibration: Calibration,
    images: Tensor | None = None,
    progress: Progress = SILENT,
    widths: Widths = PLAIN,
) -> Sensitivity:
    """Estimate Lambda_i(b) of all layers at all widths from one forward pass and its gradients.

    To second order KL(p || p') = 1/2 E_y~p (sum dL_y/dY_i (Y_i^(b) - Y_i))^2, with L_y = -log p(y):
    the Fisher information along the error that a quantizer really makes. The sum stands inside the
    square, as errors of one layer's elements go together (our reading; the sum of squares, as
    often written, ranks inputs far worse). The expectation is over `LABELS` classes an image.

    Args:
        images: (B, 3, H, W); those of the calibration by default.
        widths: which, and where they are held; a side that a width is not used on loses 0.

    Raises:
        Cancelled: the work was to stop.
    """
    generator = torch.Generator().manual_seed(0)
    begin = partial(_Fisher, calibration, draws=generator)
    return _mean_losses(calibration, images, begin, ESTIMATED, progress, widths)


def measure(
    calibration: Calibration,
    images: Tensor | None = None,
    progress: Progress = SILENT,
    widths: Widths = PLAIN,
) -> Sensitivity:
    """Measure Lambda_i(b): quantize one operand of one layer at one width, and run the model.

    Layers before it are not computed again. As `estimate` otherwise.
    """
    begin = partial(_Runs, calibration, progress=progress)
    return _mean_losses(calibration, images, begin, MEASURED, progress, widths)


def find(
    calibration: Calibration,
    how: str,
    images: int | None = None,
    progress: Progress = SILENT,
    widths: Widths = PLAIN,
) -> Sensitivity:
    """Estimate or measure, on the first of the calibration's images.

    Args:
        images: how many; by default all to estimate, `MEASURED_IMAGES` to measure.
    """
    default = MEASURED_IMAGES if how == MEASURED else None
    first = calibration.images[: default if images is None else images]
    return (measure if how == MEASURED else estimate)(calibration, first, progress, widths)


class _Fisher:
    """Losses on a few images to second order, by gradients."""

    def __init__(self, calibration: Calibration, images: Tensor, draws: torch.Generator) -> None:
        self.replay = Replay(calibration.surveyed(), images, gradients=True)
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
        gradients = torch.autograd.grad(total, outputs, retain_graph=True, materialize_grads=True)
        by_label.append(dict(zip(replay.outputs, gradients, strict=True)))
    return by_label


class _Runs:
    """Losses on a few images as they are, by running the model from the layer on."""

    def __init__(self, calibration: Calibration, images: Tensor, progress: Progress) -> None:
        self.replay = Replay(calibration.surveyed(), images)
        self._float, self._progress = log_probabilities(self.replay.logits), progress

    def losses(self, name: str, errors: list[Tensor]) -> list[float]:
        """Return the divergence of each of several errors of a layer, summed over the images."""
        return [self._loss(name, error) for error in errors]

    def _loss(self, name: str, error: Tensor) -> float:
        self._progress.check()
        output = self.replay.outputs[name]
        moved = output + self.replay.seen[name].form.laid(error, output.shape[2:])
        quantized = log_probabilities(self.replay.changed(name, moved))
        return float(divergence(self._float, quantized))


def _mean_losses(
    calibration: Calibration,
    images: Tensor | None,
    begin: Callable[[Tensor], _Fisher | _Runs],
    how: str,
    progress: Progress,
    widths: Widths,
) -> Sensitivity:
    """Average losses over the images, for each layer and width; `progress` counts layers."""
    images = calibration.images if images is None else images
    calibration.solve(passes_with(widths), Progress(stopped=progress.stopped))
    mean = partial(_mean_losses_of, calibration, images, begin, how, widths)
    (found,) = side_by_side([mean], progress)
    return found


def _mean_losses_of(
    calibration: Calibration,
    images: Tensor,
    begin: Callable[[Tensor], _Fisher | _Runs],
    how: str,
    widths: Widths,
    progress: Progress,
) -> Sensitivity:
    names, errors = tuple(calibration.surveyed().layers), _Errors(calibration, widths, progress)
    sums = np.zeros((len(names), 2 * len(widths)))
    parts = images.split(at_once(calibration.surveyed(), images, HELD))
    for number, part in enumerate(parts):
        batch, layers_done = begin(part), progress.part(number, len(parts))
        for index, name in enumerate(names):
            progress.check()
            with torch.no_grad():
                used, made = errors.of(batch.replay.seen[name])
                sums[index, used] += batch.losses(name, made) if made else 0
            layers_done(index + 1, len(names))
    losses = np.maximum(sums, 0).reshape(len(names), 2, len(widths)) / len(images)
    return Sensitivity(names, tuple(widths), losses[:, 0], losses[:, 1], how, len(images))


class _Errors:
    """The errors of a layer with its weights at each of W widths, then with its input."""

    def __init__(self, calibration: Calibration, widths: Widths, progress: Progress) -> None:
        self._widths = widths
        self._passes = {n: calibration.stored(n) for n in sorted(passes_with(widths))}
        self._drifts = self._found(calibration, progress) if calibration.preset.bias else {}

    def of(self, seen: Seen) -> tuple[list[int], list[Tensor]]:
        """Return the errors of the sides that are used, and where they stand among all 2 W."""
        made: dict[int, Tensor] = {}
        for place, (width, of_kind) in enumerate(self._widths.items()):
            sides = of_kind[seen.affine is None]
            errors = errors_of(seen, self._passes, width, corrected=False, sides=sides)
            if sides.weights is not None:
                made[place] = errors.weights()
            if sides.inputs is not None:
                drift = self._drifts.get((seen.name, sides.inputs), 0.0)
                made[len(self._widths) + place] = errors.input() - drift
        return list(made), list(made.values())

    @torch.no_grad()
    def _found(
        self, calibration: Calibration, progress: Progress
    ) -> dict[tuple[str, int], Tensor | float]:
        """Return the mean error (K,) that an input adds, by layer with a bias for it and pass.

        That of all calibration images: a mean over fewer would take errors off that biases leave.
        """
        held = {linear.inputs for linear, _ in self._widths.values()}
        inputs = [number for number in held if number is not None]
        images, drifts = calibration.images, dict[tuple[str, int], Tensor | float]()
        for part in images.split(at_once(calibration.surveyed(), images, HELD)):
            for name, seen in Replay(calibration.surveyed(), part).seen.items():
                progress.check()
                for number in inputs if seen.affine is not None else ():
                    mean = drift_of(seen, self._passes[number]) * (len(part) / len(images))
                    drifts[name, number] = drifts.get((name, number), 0.0) + mean
        return drifts
