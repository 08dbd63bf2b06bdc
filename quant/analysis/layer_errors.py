"""What quantizing one layer does to its output: its weights alone, its input alone, or both.

Errors as tensors of one layer at one width; and in decibels, of all layers at all widths.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lrp.engine.interpreter import Interpreter
from lrp.engine.progress import SILENT, Progress
from quant.analysis.widths import Sides
from quant.calibration.calibration import Calibration
from quant.calibration.store import Stored
from quant.model.float_layers import FloatLayers, Seen
from quant.primitives.bits import MENU
from quant.primitives.transforms import transformed

WEIGHTS, ACTIVATIONS, BOTH = 0, 1, 2  # what is quantized in a row of `SqnrByWidth`


def errors_of(
    seen: Seen,
    passes: Mapping[int, Stored],
    width: int,
    corrected: bool,
    sides: Sides | None = None,
) -> "LinearErrors | ProductErrors":
    """Return the errors of a layer at `width`.

    Args:
        passes: solved, by their numbers.
        corrected: whether the bias makes up for the mean error of the input.
        sides: in which passes; by default weights are those of the widest.
    """
    if sides is None:
        sides = Sides(width if seen.affine is None else max(passes), width)
    weights, inputs = (None if number is None else passes[number] for number in sides)
    if seen.affine is None:
        return ProductErrors(seen, weights, inputs)
    return LinearErrors(seen, weights, inputs, width, corrected)


def drift_of(seen: Seen, stored: Stored) -> Tensor:
    """Return the mean error (K,) that a quantized input adds, which a bias can make up for.

    `seen` is no attention product; `stored` is the pass of the input's width.
    """
    assert seen.affine is not None
    (x,), (quantizer, transform) = seen.operands, stored.input(seen.name)
    inputs = x if transform is None else transform(x)
    lost = (quantizer(inputs) - inputs).flatten(0, -2).mean(0)
    return transformed(transform, seen.affine)[0] @ lost


class LinearErrors:
    """What quantization adds to a linear layer's or convolution's float output, `wanted`.

    Weights alone are those of one pass; an input alone, of another, meets the float weight.
    """

    def __init__(
        self, seen: Seen, weights: Stored | None, inputs: Stored | None, width: int, corrected: bool
    ) -> None:
        assert seen.affine is not None
        (self._x,), self._affine, self._name = seen.operands, seen.affine, seen.name
        self._weights, self._inputs = weights, inputs
        self._width, self._corrected = width, corrected
        self.wanted = F.linear(self._x, *self._affine)

    def weights(self) -> Tensor:
        assert self._weights is not None
        solved = self._weights.solved(self._name, self._width)
        inputs = self._x if solved.transform is None else solved.transform(self._x)
        rounded = solved.weights[self._width]
        return F.linear(inputs, rounded.values, rounded.bias) - self.wanted

    def input(self) -> Tensor:
        assert self._inputs is not None
        quantizer, transform = self._inputs.input(self._name)
        encoded = quantizer(self._x if transform is None else transform(self._x))
        error = F.linear(encoded, *transformed(transform, self._affine)) - self.wanted
        return error - error.flatten(0, -2).mean(0) if self._corrected else error

    def both(self) -> Tensor:
        assert self._inputs is not None
        return self._inputs.solved(self._name, self._width).at(self._width)(self._x) - self.wanted


class ProductErrors:
    """As `LinearErrors` of an attention product, whose second factor stands for weights."""

    def __init__(self, seen: Seen, second: Stored | None, first: Stored | None) -> None:
        self._a, self._b = seen.operands
        self._first = None if first is None else first.operand(seen.name, 0)
        self._second = None if second is None else second.operand(seen.name, 1)
        self.wanted = self._a @ self._b

    def weights(self) -> Tensor:
        assert self._second is not None
        return self._a @ self._second(self._b) - self.wanted

    def input(self) -> Tensor:
        assert self._first is not None
        return self._first(self._a) @ self._b - self.wanted

    def both(self) -> Tensor:
        assert self._first is not None and self._second is not None
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
        stream: of residual sums and LayerNorm outputs, by name, in the order they run; none where
            they are not quantized.
    """

    names: tuple[str, ...]
    widths: tuple[int, ...]
    errors: np.ndarray
    stream: Mapping[str, float] = field(default_factory=dict)


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
        FloatLayers(calibration.surveyed(), measure).run(images)
    errors = [[[decibels(s, n) for s, n in row] for row in powers[name]] for name in names]
    stream = stream_sqnr(calibration, images) if calibration.preset.stream else {}
    return SqnrByWidth(tuple(names), MENU, np.array(errors), stream)


@torch.no_grad()
def stream_sqnr(calibration: Calibration, images: Tensor) -> dict[str, float]:
    """Return the SQNR in dB of residual sums and LayerNorm outputs by name, as they are in float
    (turned where the model is), under the quantizers behind the widest integers; as they run."""
    found = _Stream(calibration)
    found.run(images)
    return found.errors


class _Stream(Interpreter):
    def __init__(self, calibration: Calibration) -> None:
        super().__init__(calibration.surveyed().turned.model)
        self.quantizers = calibration.stored(MENU[-1]).stream()
        self.errors: dict[str, float] = {}

    def passed(self, name: str, output: Tensor) -> Tensor:
        if name in self.quantizers:
            self.errors[name] = sqnr(output, self.quantizers[name](output))
        return output


def _noise(seen: Seen, passes: Mapping[int, Stored], corrected: bool) -> np.ndarray:
    """Return powers of signal and noise, (3, W, 2)."""
    rows = []
    for width in passes:
        errors = errors_of(seen, passes, width, corrected)
        parts = errors.weights(), errors.input(), errors.both()
        rows.append([(power(errors.wanted), power(error)) for error in parts])
    return np.array(rows).transpose(1, 0, 2)
