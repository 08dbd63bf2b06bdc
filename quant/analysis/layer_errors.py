"""What quantizing one layer does to its output: its weights alone, its input alone, or both.

Errors as tensors of one layer at one width; and in decibels, of all layers at all widths.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lrp.engine.progress import SILENT, Progress
from quant.calibration.calibration import Calibration
from quant.calibration.store import Stored
from quant.model.float_layers import FloatLayers, Seen
from quant.primitives.bits import MENU
from quant.primitives.transforms import transformed

WEIGHTS, ACTIVATIONS, BOTH = 0, 1, 2  # what is quantized in a row of `SqnrByWidth`


def errors_of(
    seen: Seen, passes: Mapping[int, Stored], width: int, corrected: bool
) -> "LinearErrors | ProductErrors":
    """Return the errors of a layer at `width`.

    Args:
        passes: solved, by activation width.
        corrected: whether the bias makes up for the mean error of the input.
    """
    if seen.affine is None:
        return ProductErrors(seen, passes[width])
    return LinearErrors(seen, passes[max(passes)], passes[width], width, corrected)


def drift_of(seen: Seen, stored: Stored, width: int) -> Tensor:
    """Return the mean error (K,) that a quantized input adds, which a bias can make up for.

    `seen` is no attention product; `stored` is the pass of the input's width.
    """
    assert seen.affine is not None
    (x,), layer = seen.operands, stored.solved(seen.name, width)
    inputs = x if layer.transform is None else layer.transform(x)
    lost = (layer.quantizer(inputs) - inputs).flatten(0, -2).mean(0)
    return transformed(layer.transform, seen.affine)[0] @ lost


class LinearErrors:
    """What quantization adds to a linear layer's or convolution's float output, `wanted`.

    Weights alone are those of the widest pass; an input alone meets the float weight.
    """

    def __init__(
        self, seen: Seen, widest: Stored, narrow: Stored, width: int, corrected: bool
    ) -> None:
        assert seen.affine is not None
        (self._x,), self._affine = seen.operands, seen.affine
        self._wide, self._narrow = (s.solved(seen.name, width) for s in (widest, narrow))
        self._width, self._corrected = width, corrected
        self.wanted = F.linear(self._x, *self._affine)

    def weights(self) -> Tensor:
        transform, rounded = self._wide.transform, self._wide.weights[self._width]
        inputs = self._x if transform is None else transform(self._x)
        return F.linear(inputs, rounded.values, rounded.bias) - self.wanted

    def input(self) -> Tensor:
        affine = transformed(self._narrow.transform, self._affine)
        error = F.linear(self._narrow.at(self._width).encode(self._x), *affine) - self.wanted
        return error - error.flatten(0, -2).mean(0) if self._corrected else error

    def both(self) -> Tensor:
        return self._narrow.at(self._width)(self._x) - self.wanted


class ProductErrors:
    """As `LinearErrors` of an attention product, whose second factor stands for weights."""

    def __init__(self, seen: Seen, stored: Stored) -> None:
        self._a, self._b = seen.operands
        self._first, self._second = (stored.operand(seen.name, side) for side in (0, 1))
        self.wanted = self._a @ self._b

    def weights(self) -> Tensor:
        return self._a @ self._second(self._b) - self.wanted

    def input(self) -> Tensor:
        return self._first(self._a) @ self._b - self.wanted

    def both(self) -> Tensor:
        return self._first(self._a) @ self._second(self._b) - self.wanted


def decibels(signal: float, noise: float) -> float:
    """Return 10 log10(signal / noise) of powers: inf without noise, -inf without signal."""
    if noise <= 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


def power(x: Tensor) -> float:
    """Return the sum of squares."""
    return float(x.double().square().sum())


def sqnr(wanted: Tensor, quantized: Tensor) -> float:
    """Return the ratio of signal to noise in dB."""
    return decibels(power(wanted), power(quantized - wanted))


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
