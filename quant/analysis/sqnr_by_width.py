"""Measure every layer's error at every width, in one walk through the float model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lrp.engine.progress import SILENT, Progress
from quant.analysis.layer_errors import errors_of
from quant.calibration.calibration import Calibration
from quant.calibration.store import Stored
from quant.model.float_layers import FloatLayers, Seen
from quant.primitives.bits import MENU
from quant.primitives.sqnr import decibels, power

WEIGHTS, ACTIVATIONS, BOTH = 0, 1, 2  # what is quantized in a row of `SqnrByWidth`


@dataclass(frozen=True, eq=False)
class SqnrByWidth:
    """SQNR in dB of every layer's output at every width.

    Attributes:
        errors: (L, 3, W): weights alone quantized, activations alone, both. Of an attention
            product, the second factor alone and the first alone.
    """

    names: tuple[str, ...]
    widths: tuple[int, ...]
    errors: np.ndarray


def sqnr_by_width(
    calibration: Calibration,
    images: Tensor,
    progress: Progress = SILENT,
) -> SqnrByWidth:
    """Measure all layers at all widths in one walk; passes must be solved, or are here."""
    passes, names = {w: calibration.stored(w) for w in MENU}, calibration.surveyed().layers
    powers: dict[str, np.ndarray] = {}

    def measure(seen: Seen, _output: Tensor) -> None:
        progress.check()
        noise = _noise(seen.drawn(), passes, calibration.preset.bias)
        powers[seen.name] = powers.get(seen.name, 0) + noise
        progress(len(powers), len(names))

    with torch.no_grad():
        FloatLayers(calibration.model, calibration.surveyed(), measure).run(images)
    errors = [[[decibels(s, n) for s, n in row] for row in powers[name]] for name in names]
    return SqnrByWidth(tuple(names), MENU, np.array(errors))


def _noise(seen: Seen, passes: Mapping[int, Stored], corrected: bool) -> np.ndarray:
    """Return powers of signal and noise, (3, W, 2)."""
    rows = []
    for width in passes:
        errors = errors_of(seen, passes, width, corrected)
        parts = errors.weights(), errors.input(), errors.both()
        rows.append([(power(errors.wanted), power(error)) for error in parts])
    return np.array(rows).transpose(1, 0, 2)
