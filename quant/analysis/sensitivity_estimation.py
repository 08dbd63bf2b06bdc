"""How much quantizing one layer moves the model's answer, at every width: Lambda_i(b)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lrp.engine.progress import SILENT, Progress
from quant.analysis.layer_errors import drift_of, errors_of
from quant.calibration.calibration import Calibration
from quant.calibration.store import Stored
from quant.model.float_layers import Replay, Seen
from quant.primitives.bits import MENU

ESTIMATED, MEASURED = "estimated", "measured"
HOW = (ESTIMATED, MEASURED)
LABELS = 8  # classes drawn an image
BATCH = 4  # images whose operands and gradients are held at once
MEASURED_IMAGES = 16  # of the calibration's: each layer and width is a run of the model
SCHEMA = 1  # of the file


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

    def write(self, path: Path) -> None:
        """Write a JSON file, in one step; ValueError where it cannot be written."""
        part = path.with_suffix(f".{os.getpid()}.part")
        facts = {"schema": SCHEMA, "how": self.how, "images": self.images, "widths": self.widths}
        rows = zip(self.names, self.weight.tolist(), self.activation.tolist(), strict=True)
        layers = {name: {"weight": w, "activation": a} for name, w, a in rows}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps({**facts, "layers": layers}), encoding="utf-8")
            part.replace(path)
        except OSError as error:
            raise ValueError(f"{path} cannot be written: make room or rights for it") from error

    @classmethod
    def read(cls, path: Path) -> Sensitivity:
        """Read what `write` wrote; ValueError for a file that is none, or of another version."""
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            layers = facts["layers"]
            weight, activation = (
                np.array([layer[side] for layer in layers.values()], dtype=float)
                for side in ("weight", "activation")
            )
            version, names, widths = facts["schema"], tuple(layers), tuple(facts["widths"])
            found = cls(names, widths, weight, activation, facts["how"], facts["images"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} holds no sensitivities: delete it ({error})") from None
        shape = len(names), len(widths)
        if version != SCHEMA or not weight.shape == activation.shape == shape:
            raise ValueError(f"{path} holds sensitivities of another version: delete it")
        return found


Losses = Callable[[str, list[Tensor]], list[float]]  # of errors of a layer's output, by image


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

    def begin(part: Tensor) -> tuple[Replay, Losses]:
        replay = Replay(calibration.model, calibration.plan(), part, gradients=True)
        gradients = _gradients(replay, generator)

        def losses(name: str, errors: list[Tensor]) -> list[float]:
            count = len(replay.logits)  # an image's windows stand in one row
            form = replay.seen[name].form
            rows = [form.as_rows(g[name]).reshape(count, -1) for g in gradients]
            columns = [error.reshape(count, -1) for error in errors]
            moved = torch.stack(rows, 1) @ torch.stack(columns, 1).mT
            found: list[float] = (moved.square().mean(1).sum(0) / 2).tolist()
            return found  # (B, LABELS, M) @ (B, M, errors)

        return replay, losses

    return _walk(calibration, images, begin, ESTIMATED, progress)


def _gradients(replay: Replay, generator: torch.Generator) -> list[dict[str, Tensor]]:
    """Return weighted dL_y/dY_i by layer for each of `LABELS` classes y drawn an image.

    Drawn by q(y) ~ p(y) (1 - p(y)) and weighted by sqrt(p / q): the likeliest class of a sure
    answer hardly moves, the others, seldom drawn by p, carry the expectation.
    """
    log = replay.logits.log_softmax(1)
    p = log.detach().exp()
    q = p * (1 - p) + torch.finfo(p.dtype).tiny
    q = q / q.sum(1, keepdim=True)
    drawn = torch.multinomial(q.cpu(), LABELS, replacement=True, generator=generator).to(p.device)
    outputs, found = list(replay.outputs.values()), []
    for label in drawn.split(1, dim=1):
        weight = (p.gather(1, label) / q.gather(1, label)).sqrt()
        total = (weight * log.gather(1, label)).sum()
        gradients = torch.autograd.grad(total, outputs, retain_graph=True)
        found.append(dict(zip(replay.outputs, gradients, strict=True)))
    return found


def measure(
    calibration: Calibration,
    images: Tensor | None = None,
    progress: Progress = SILENT,
) -> Sensitivity:
    """Measure Lambda_i(b): quantize one operand of one layer at one width, and run the model.

    Layers before it are not computed again. As `estimate` otherwise.
    """

    def begin(part: Tensor) -> tuple[Replay, Losses]:
        replay = Replay(calibration.model, calibration.plan(), part)
        wanted = _log_probabilities(replay.logits)

        def loss(name: str, error: Tensor) -> float:
            progress.check()
            output = replay.outputs[name]
            moved = output + replay.seen[name].form.laid(error, output.shape[2:])
            found = _log_probabilities(replay.changed(name, moved))
            return float((wanted.exp() * (wanted - found)).sum())

        return replay, lambda name, errors: [loss(name, error) for error in errors]

    return _walk(calibration, images, begin, MEASURED, progress)


def _log_probabilities(logits: Tensor) -> Tensor:
    # In float32, rounding is as large as the divergence of a layer at 8 bits.
    return logits.cpu().double().log_softmax(1)


def _walk(
    calibration: Calibration,
    images: Tensor | None,
    begin: Callable[[Tensor], tuple[Replay, Losses]],
    how: str,
    progress: Progress,
) -> Sensitivity:
    """Add up losses over batches of images, layers and widths; `progress` counts layers."""
    images = calibration.images if images is None else images
    calibration.solve(MENU, Progress(stopped=progress.stopped))
    names, passes = tuple(calibration.plan().layers), {w: calibration.stored(w) for w in MENU}
    drifts = _drifts(calibration, passes, progress)
    sums = np.zeros((len(names), 2, len(MENU)))
    parts = images.split(BATCH)
    for done, part in enumerate(parts):
        replay, losses = begin(part)
        for index, name in enumerate(names):
            progress.check()
            with torch.no_grad():
                found = losses(name, _errors(replay.seen[name], passes, drifts))
            sums[index] += np.reshape(found, (2, len(MENU)))
            progress(done * len(names) + index + 1, len(parts) * len(names))
    weight, activation = np.maximum(sums, 0).transpose(1, 0, 2) / len(images)
    return Sensitivity(names, MENU, weight, activation, how, len(images))


@torch.no_grad()
def _drifts(
    calibration: Calibration, passes: Mapping[int, Stored], progress: Progress
) -> dict[str, Tensor]:
    """Return the mean error (W, K) that an input adds at each width, by layer with a bias for it.

    That of all calibration images: a mean over fewer would take errors off that biases leave.
    """
    images, found = calibration.images, dict[str, Tensor]()
    for part in images.split(BATCH) if calibration.preset.bias else ():
        for name, seen in Replay(calibration.model, calibration.plan(), part).seen.items():
            progress.check()
            if seen.affine is not None:
                means = torch.stack([drift_of(seen, passes[width], width) for width in MENU])
                found[name] = found.get(name, 0) + means * (len(part) / len(images))
    return found


def _errors(seen: Seen, passes: Mapping[int, Stored], drifts: Mapping[str, Tensor]) -> list[Tensor]:
    """Return a layer's errors with its weights at each width, then with its input."""
    errors = [errors_of(seen, passes, width, corrected=False) for width in MENU]
    drift = drifts.get(seen.name, [0.0] * len(MENU))
    inputs = [one.input() - mean for one, mean in zip(errors, drift, strict=True)]
    return [one.weights() for one in errors] + inputs


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
    chosen = calibration.images[: default if images is None else images]
    return (measure if how == MEASURED else estimate)(calibration, chosen, progress)


def file_of(folder: Path, how: str, images: int | None = None) -> Path:
    """Return where sensitivities are kept beside a calibration's passes."""
    return folder / f"sensitivity-{how}{'' if images is None else f'-{images}'}.json"
