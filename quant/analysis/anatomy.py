"""Take one quantized layer apart: what it sees and holds, before and after its quantizers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lrp.engine.names import is_within, owner_of
from quant.analysis.layer_errors import decibels, power, sqnr
from quant.calibration.calibration import Calibration
from quant.calibration.linear_solver import SolvedLinear
from quant.calibration.origins import Affine
from quant.layers.quantized import QuantizedProduct, Rounded
from quant.model.float_layers import Seen
from quant.model.quantized_model import QuantizedModel
from quant.primitives.bits import Allocation, LayerBits
from quant.primitives.quantizers import Quantizer, Scaled, Uniform, by_size
from quant.primitives.transforms import Rescaling, Transform

BINS, STEPS = 96, 513  # of a histogram; points of a staircase


@dataclass(frozen=True, eq=False)
class Histogram:
    """One operand of a layer, before and after its quantizer.

    Attributes:
        unit: what values are counted in: "steps" of their own channel or head, "sizes" of their own
            token, or "", as they are.
        edges: (BINS + 1,) of the histograms `before` and `after`, (BINS,) each.
        x, stairs: the quantizer as a function, (STEPS,) each.
        levels: how many different values one channel, head or tensor can have.
        error: SQNR in dB of the operand itself.
        clipped: share of its values beyond the outermost levels by more than half a step.
        clipping: share of its squared error that those have; the rest is rounding.
        moved: share of values that are not on the level nearest to them: they make up for others.
    """

    unit: str
    edges: np.ndarray
    before: np.ndarray
    after: np.ndarray
    x: np.ndarray
    stairs: np.ndarray
    levels: int
    error: float
    clipped: float
    clipping: float
    moved: float


@dataclass(frozen=True, eq=False)
class _Grid:
    """How values were quantized: the unit and scale they are counted in, what rounding alone would
    do, and the bounds beyond which they are clipped."""

    unit: str
    scale: Tensor | None
    stairs: Callable[[Tensor], Tensor]
    low: Tensor
    high: Tensor
    levels: int


def side(x: Tensor, quantizer: Quantizer) -> Histogram:
    """Return what its quantizer does to an operand (...)."""
    encoded, unit, sizes = quantizer(x), "", None
    if isinstance(quantizer, Uniform) and quantizer.qparams.scale.numel() > 1:
        q = quantizer.qparams
        low, high = -q.zero_point, q.levels - q.zero_point
        stairs = _rounding(float(low.min()), float(high.max()))
        return _side(x, encoded, _Grid("steps", q.scale, stairs, low - 0.5, high + 0.5, 2**q.bits))
    levels = encoded.unique()
    if isinstance(quantizer, Scaled):
        (rows, sizes), quantizer, unit = by_size(x), quantizer.levels, "sizes"
        levels, sizes = quantizer(rows).unique(), sizes.clamp_min(torch.finfo(x.dtype).tiny)
    gaps = levels.diff() / 2 if len(levels) > 1 else levels.new_full((1,), torch.inf)
    low, high = levels[0] - gaps[0], levels[-1] + gaps[-1]
    return _side(x, encoded, _Grid(unit, sizes, quantizer, low, high, len(levels)))


def weight_side(solved: SolvedLinear, width: int, affine: Affine) -> Histogram:
    """Return what rounding does to the weight that is multiplied, in steps of each channel."""
    transform, rounded = solved.transform, solved.weights[width]
    assert isinstance(rounded, Rounded)  # palettes and small floats have no steps to count in
    weight = affine[0] if transform is None else transform.weight(affine[0])
    codes = rounded.codes.to(weight.dtype)
    low, high = codes.amin(1, keepdim=True), codes.amax(1, keepdim=True)
    stairs = _rounding(float(low.min()), float(high.max()))
    grid = _Grid("steps", rounded.scale[:, None], stairs, low - 0.5, high + 0.5, 2**width)
    return _side(weight, rounded.values, grid)


def _rounding(low: float, high: float) -> Callable[[Tensor], Tensor]:
    return lambda points: points.round().clamp(low, high)


def _side(x: Tensor, encoded: Tensor, grid: _Grid) -> Histogram:
    before, after = (v if grid.scale is None else v / grid.scale for v in (x, encoded))
    squared = (encoded - x).double().square()
    outside = (before < grid.low) | (before > grid.high)
    total, low, high = float(squared.sum()), float(before.min()), float(before.max())
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    points = torch.linspace(float(edges[0]), float(edges[-1]), STEPS).to(x)
    counts = [
        np.histogram(values.cpu().numpy().clip(edges[0], edges[-1]), bins=edges)[0]
        for values in (before, after)
    ]
    moved = 0.0
    if grid.unit == "steps":
        nearest = before.round().clamp((grid.low + 0.5).round(), (grid.high - 0.5).round())
        moved = float(((nearest - after).abs() > 0.5).float().mean())
    return Histogram(
        unit=grid.unit,
        edges=edges,
        before=counts[0],
        after=counts[1],
        x=points.cpu().numpy(),
        stairs=grid.stairs(points).cpu().numpy(),
        levels=grid.levels,
        error=decibels(power(x), total),
        clipped=float(outside.float().mean()),
        clipping=float(squared[outside].sum()) / total if total > 0 else 0.0,
        moved=moved,
    )


@dataclass(frozen=True, eq=False)
class Anatomy:
    """One layer at one pair of widths: its operands and the SQNR of its output in dB.

    `turned` says how the input is changed before it is quantized: "" for not at all, "Stream" with
    the residual stream it is read from.
    """

    name: str
    bits: LayerBits
    turned: str
    sides: tuple[Histogram, Histogram]
    error: float


def anatomy(calibration: Calibration, seen: Seen, bits: LayerBits) -> Anatomy:
    """Take one layer apart: its input and weight, or the two factors of an attention product."""
    stored = calibration.stored(bits.activation)
    if seen.affine is None:
        second = calibration.stored(bits.weight).operand(seen.name, 1)
        product = QuantizedProduct(stored.operand(seen.name, 0), second)
        wanted, output = seen.operands[0] @ seen.operands[1], product(*seen.operands)
        sides = side(seen.operands[0], product.first), side(seen.operands[1], product.second)
        return Anatomy(seen.name, bits, "", sides, sqnr(wanted, output))
    solved = stored.solved(seen.name, bits.weight)
    x, turned = seen.operands[0], solved.transform
    sides = (
        side(x if turned is None else turned(x), solved.quantizer),
        weight_side(solved, bits.weight, seen.affine),
    )
    error = sqnr(F.linear(x, *seen.affine), solved.at(bits.weight)(x))
    return Anatomy(seen.name, bits, _way(calibration, seen.name, turned), sides, error)


def _way(calibration: Calibration, name: str, transform: Transform | None) -> str:
    if isinstance(transform, Rescaling) and name in calibration.turned.reads:
        return "Stream"
    return type(transform).__name__ if transform else ""


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """One attention of one image, queries in rows, in float and in the quantized model.

    Attributes:
        plain, quantized: (h, N, N), the mean over the windows where there are several.
        windows: how many; 1 where all tokens look at all.
    """

    plain: np.ndarray
    quantized: np.ndarray
    windows: int


class _Watched(QuantizedModel):
    """A quantized model that keeps every softmax's output by the module that runs it."""

    def __init__(self, calibration: Calibration, allocation: Allocation) -> None:
        super().__init__(calibration, allocation)
        self.seen: dict[str, Tensor] = {}

    def softmax(self, input: Tensor, dim: int, *args: Any, **kwargs: Any) -> Tensor:
        output = super().softmax(input, dim)
        self.seen[self.scope.current] = output
        return output


def attention(
    calibration: Calibration, allocation: Allocation, image: Tensor, product: str
) -> AttentionMaps:
    """Return one attention as `product` reads it, its name ending in `.matmul2`.

    Args:
        allocation: how the quantized model is quantized, with `product`.
        image: (1, 3, H, W).

    Raises:
        ValueError: no softmax runs in the product's module.
    """
    module, attentions = owner_of(product), []
    for model in (_Watched(calibration, {}), _Watched(calibration, allocation)):
        model.run(image)
        inside = [x for name, x in model.seen.items() if is_within(name, module)]
        if not inside:
            raise ValueError(f"{product} reads no softmax: choose the product of an attention")
        attentions.append(inside[0])
    stored = calibration.stored(allocation[product].activation)
    plain, quantized = attentions[0], stored.operand(product, 0)(attentions[1])
    means = [x.mean(0).cpu().numpy() for x in (plain, quantized)]
    return AttentionMaps(means[0], means[1], len(plain))
