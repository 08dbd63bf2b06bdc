"""Share out the damage of an allocation among its layers: parts that add up to the whole.

In the quantized model layer i gives f_i(x_i) + d_i, with f_i its float function and d_i what
quantization adds on the inputs x_i that it has there. Let the float model's layers give f_i(x_i) +
t d_i, d_i as it was noted: at t = 1 that is the quantized model, so the divergence KL grows along t
from 0 to the one measured, by sum_i dKL/dy_i . d_i. The integral of each term is what layer i adds,
in the context of all others (after arXiv:2607.12266, where errors change along the path). Nothing
is rounded on the way, so the gradient is exact, and the parts add up but for what the points of the
integral miss. No labels; a forward and a backward pass a point.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lrp.engine.interpreter import Interpreter, Linear
from lrp.engine.progress import SILENT, Progress
from lrp.engine.side_by_side import side_by_side
from quant.calibration.calibration import Calibration
from quant.calibration.passes import Surveyed
from quant.layers.quantized import QuantizedLinear, QuantizedProduct
from quant.model.float_layers import at_once
from quant.primitives.bits import Allocation, quantized

HELD = 6  # times a layer's output: two ways, what is moved, its gradient, what they are made of
POINTS = (2, 4, 8, 16)
NEAR = 0.02  # relative
Ways = tuple[Tensor, Tensor]  # how far weights, and the input, move a layer's output


@dataclass(frozen=True, eq=False)
class Damage:
    """What each layer of an allocation adds to the divergence from float, in nats an image.

    Attributes:
        names: the L quantized layers, in the order they run.
        weight, activation: (L,), of weights and input; of an attention product, of its second and
            its first factor. A part may be negative: it undoes what others do.
        measured: the divergence of the quantized model on these images, which they add up to but
            for what the points of the path miss.
        images: how many.
    """

    names: tuple[str, ...]
    weight: np.ndarray
    activation: np.ndarray
    measured: float
    images: int

    @property
    def total(self) -> float:
        """The sum of all parts."""
        return float(self.weight.sum() + self.activation.sum())


def damage(
    calibration: Calibration,
    allocation: Allocation,
    images: Tensor | None = None,
    progress: Progress = SILENT,
    points: Sequence[int] = POINTS,
) -> Damage:
    """Share out the divergence from float of `allocation` among its layers.

    Args:
        images: (B, 3, H, W); those of the calibration by default.
        points: of the Gauss-Legendre rule, tried one after the other on each few images until the
            parts add up to within `NEAR`.

    Raises:
        ValueError: the allocation quantizes no layer; the divergence is not finite.
        Cancelled: the work was to stop.
    """
    taken = quantized(allocation)
    if not taken:
        raise ValueError("the allocation quantizes no layer: there is no damage to share out")
    calibration.solve_for(taken, Progress(stopped=progress.stopped))
    given = calibration.images if images is None else images
    shared = partial(_shared, calibration, taken, given, points)
    (found,) = side_by_side([shared], progress)
    return found


def _shared(
    calibration: Calibration,
    allocation: Allocation,
    images: Tensor,
    points: Sequence[int],
    progress: Progress,
) -> Damage:
    noting, surveyed = _Noting(calibration, allocation), calibration.surveyed()
    rows: Any = 0.0
    measured, done = 0.0, 0
    for part in images.split(at_once(surveyed, images, HELD)):
        progress.check()
        with torch.no_grad():
            log = log_probabilities(_Path(surveyed, {}, 0.0).run(part))
            whole = float(divergence(log, log_probabilities(noting.run(part))))
        if not np.isfinite(whole):
            raise ValueError("the divergence from float is not finite: these bits leave no answer")
        rows = rows + _parts(surveyed, noting.ways, part, log, whole, points)
        measured += whole
        done += len(part)
        progress(done, len(images))
    weight, activation = rows.T / len(images)
    return Damage(tuple(noting.ways), weight, activation, measured / len(images), len(images))


def _parts(
    surveyed: Surveyed,
    ways: Mapping[str, Ways],
    images: Tensor,
    log: Tensor,
    whole: float,
    points: Sequence[int],
) -> np.ndarray:
    """Return what weights and input of each layer add (L, 2), summed over the images."""
    found: Any = 0.0
    for count in points:
        nodes, shares = np.polynomial.legendre.leggauss(count)
        at = (_Path(surveyed, ways, float(t)).parts(images, log) for t in (nodes + 1) / 2)
        found = sum(share / 2 * one for share, one in zip(shares, at, strict=True))
        if abs(found.sum() - whole) <= NEAR * whole:
            break
    return np.asarray(found)


def log_probabilities(logits: Tensor) -> Tensor:
    """Return those of (B, K), in double: in float32, rounding is as large as what 8 bits do."""
    return logits.cpu().double().log_softmax(1)


def divergence(log: Tensor, other: Tensor) -> Tensor:
    """Return the divergence of log-probabilities (B, K), summed over the images."""
    return (log.exp() * (log - other)).sum()


class _Noting(Interpreter):
    """The quantized model, which notes d_i of each layer on the inputs that it sees.

    Attributes:
        ways: d_i by layer.
    """

    def __init__(self, calibration: Calibration, allocation: Allocation) -> None:
        self.surveyed = calibration.surveyed()
        super().__init__(self.surveyed.turned.model)
        self.layers = calibration.layers(allocation)
        self.stream = calibration.stream(allocation)
        self.ways: dict[str, Ways] = {}

    @torch.no_grad()
    def run(self, images: Tensor) -> Tensor:
        self.ways = {}
        return super().run(images)

    def weigh(
        self, name: str, form: Linear, input: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        plain = form.apply(input, *self.surveyed.affine(name, weight, bias))
        layer = self.layers.get(name)
        if not isinstance(layer, QuantizedLinear):
            return plain
        quantized, error = _both(layer, form.rows(input), self.surveyed.preset.bias)
        size = plain.shape[2:]
        return self._noted(name, plain, form.laid(quantized, size), form.laid(error, size))

    def multiply(self, name: str, input: Tensor, other: Tensor) -> Tensor:
        plain, layer = torch.matmul(input, other), self.layers.get(name)
        if not isinstance(layer, QuantizedProduct):
            return plain
        first, second = layer.first(input), layer.second(other)
        return self._noted(name, plain, first @ second, (first - input) @ second)

    def _noted(self, name: str, plain: Tensor, quantized: Tensor, error: Tensor) -> Tensor:
        self.ways[name] = quantized - plain - error, error
        return quantized

    def passed(self, name: str, output: Tensor) -> Tensor:
        if name not in self.stream:
            return output
        quantized = self.stream[name](output)
        self.ways[name] = torch.zeros_like(output), quantized - output
        return quantized


def _both(layer: QuantizedLinear, rows: Tensor, corrected: bool) -> tuple[Tensor, Tensor]:
    """Return a layer's output (..., K), and what of it the input's error is.

    Where the bias is corrected, it takes back the input's mean error, here that of these rows.
    """
    x = rows if layer.transform is None else layer.transform(rows)
    encoded, values = layer.quantizer(x), layer.weight.values
    error = F.linear(encoded - x, values)
    error = error - error.flatten(0, -2).mean(0) if corrected else error
    return F.linear(encoded, values, layer.weight.bias), error


class _Path(Interpreter):
    """The float model with its layers' outputs moved by t d_i: at t = 1 it is the quantized one."""

    def __init__(self, surveyed: Surveyed, ways: Mapping[str, Ways], share: float) -> None:
        super().__init__(surveyed.turned.model)
        self.surveyed, self.ways, self.share = surveyed, ways, share
        self.moved: dict[str, Tensor] = {}  # outputs, which gradients are asked of

    def weigh(
        self, name: str, form: Linear, input: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        return self.passed(name, form.apply(input, *self.surveyed.affine(name, weight, bias)))

    def multiply(self, name: str, input: Tensor, other: Tensor) -> Tensor:
        return self.passed(name, torch.matmul(input, other))

    def passed(self, name: str, output: Tensor) -> Tensor:
        if name not in self.ways:
            return output
        self.moved[name] = output + self.share * sum(self.ways[name])
        return self.moved[name]

    def parts(self, images: Tensor, log: Tensor) -> np.ndarray:
        """Return dKL/dy_i . d_i (L, 2), of weights and of input."""
        with torch.enable_grad():  # of the images too, or the graph would begin behind a layer
            total = divergence(log, log_probabilities(self.run(images.detach().requires_grad_())))
            outputs = list(self.moved.values())
            gradients = torch.autograd.grad(total, outputs, materialize_grads=True)
        by_name = dict(zip(self.moved, gradients, strict=True))
        return np.array(
            [[float((by_name[n] * way).sum()) for way in ways] for n, ways in self.ways.items()]
        )
