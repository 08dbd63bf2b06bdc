"""Quantizers and weight grids of formats that are no plain integers (`formats`)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from quant.primitives.formats import (
    BF16,
    DYNAMIC,
    E4M3,
    FLOAT,
    FORMATS,
    FP8,
    HALF,
    NVFP4,
    Element,
)
from quant.primitives.quantizer_search import cluster

SHARED_EXPONENT = 127  # of an E8M0 scale, at most; -127 at least
CELLS = 256  # of the histogram that a palette is chosen on
DTYPES = {HALF: torch.float16, BF16: torch.bfloat16, FLOAT: torch.float32}


@dataclass(frozen=True)
class Cast:
    """Round to another float type, saturating; `bits` is `HALF`, `BF16` or `FLOAT`."""

    bits: int

    def __call__(self, x: Tensor) -> Tensor:
        if self.bits == FLOAT:
            return x
        most = torch.finfo(DTYPES[self.bits]).max
        return x.clamp(-most, most).to(DTYPES[self.bits]).to(x.dtype)


@dataclass(frozen=True)
class PerToken:
    """INT8 with a range a row (..., C), found as it runs: affine, zero always a level.

    As torchao's "int8_asym_per_token". Levels that are chosen at calibration and scaled a row are
    those of `quantizers.Scaled`.
    """

    bits: int = DYNAMIC

    def __call__(self, x: Tensor) -> Tensor:
        low, high = x.amin(-1, keepdim=True).clamp_max(0), x.amax(-1, keepdim=True).clamp_min(0)
        scale = ((high - low) / 255).clamp_min(torch.finfo(x.dtype).eps)
        zero = (-128 - torch.round(low / scale)).clamp(-128, 127)
        codes = (x * (1 / scale)).round_().add_(zero).clamp_(-128, 127)
        return codes.sub_(zero).mul_(scale)


@dataclass(frozen=True)
class SmallFloat:
    """A quantizer to a small float with scales; those of blocks are found as it runs.

    Attributes:
        bits: the format.
        scale: of the tensor, as calibrated: x is divided by it first. 1 for MX formats.
        axis: which blocks lie along: the one that a product sums over.
    """

    bits: int
    scale: float
    axis: int = -1

    def __call__(self, x: Tensor) -> Tensor:
        element = FORMATS[self.bits].element
        assert element is not None
        x = x.transpose(self.axis, -1)
        scale = block_scales(x, self.bits, torch.tensor(self.scale).to(x))
        rounded = scaled(x, scale, element)
        return rounded.transpose(self.axis, -1)


def scaled(x: Tensor, scale: Tensor, element: Element) -> Tensor:
    """Return x rounded to `element` at a scale; 0 where the scale is 0."""
    return element.round(x / torch.where(scale > 0, scale, 1.0)).mul_(scale)


def block_scales(x: Tensor, code: int, tensor: Tensor) -> Tensor:
    """Return the scale of each value of x (..., C), by the definition of its format.

    MX (OCP 1.0, section 6.3): 2^(floor(log2 max|x|) - emax) of each block.
    NVFP4: max|x| / 6 of each block, as an E4M3 number times the tensor's scale.
    FP8: the tensor's.

    Args:
        tensor: the tensor's scale; or one that broadcasts to x.
    """
    of = FORMATS[code]
    if not of.block:
        return tensor.expand(x.shape)
    assert of.element is not None
    size = x.shape[-1]
    blocks = F.pad(x, (0, -size % of.block)).unflatten(-1, (-1, of.block))
    largest = blocks.abs().amax(-1)
    if code == NVFP4:
        scale = E4M3.round(largest / of.element.largest / tensor) * tensor
    else:
        exponent = torch.frexp(largest).exponent - 1 - of.element.top
        exponent.clamp_(-SHARED_EXPONENT, SHARED_EXPONENT)
        scale = torch.ldexp(torch.ones_like(largest), exponent)
    return scale.repeat_interleave(of.block, -1)[..., :size]


def tensor_scale(x: Tensor, code: int) -> Tensor:
    """Return the scale () of a tensor, by its greatest value: what a calibrated format keeps."""
    largest = x.abs().amax().clamp_min(torch.finfo(x.dtype).tiny * 2**20)
    if code == NVFP4:
        element = FORMATS[code].element
        assert element is not None
        return largest / (element.largest * E4M3.largest)
    return largest / E4M3.largest if code == FP8 else torch.ones_like(largest)


def float_quantizer(x: Tensor, code: int, axis: int = -1) -> Cast | PerToken | SmallFloat:
    """Choose the quantizer of an input x (..., C) in a format that is no plain integer.

    Args:
        axis: that the product sums over.
    """
    if code in DTYPES:
        return Cast(code)
    if code == DYNAMIC:
        return PerToken()
    return SmallFloat(code, float(tensor_scale(x, code)), axis)


@dataclass(frozen=True, eq=False)
class FloatGrid:
    """Where weights (K, C) of a small float format may lie: scale * an element.

    Attributes:
        scale: (K, C).
    """

    scale: Tensor
    element: Element

    def at(self, columns: Tensor | slice) -> "FloatGrid":
        """Return the grid of some columns."""
        return FloatGrid(self.scale[:, columns], self.element)

    def nearest(self, weight: Tensor) -> Tensor:
        """Return the values nearest to a weight (K, C)."""
        return scaled(weight, self.scale, self.element)


@dataclass(frozen=True, eq=False)
class PaletteGrid:
    """Where weights may lie that are looked up: a row's scale (K, 1) times one of `levels` (n,)."""

    scale: Tensor
    levels: Tensor

    def at(self, columns: Tensor | slice) -> "PaletteGrid":
        """Return the grid of some columns: all have the same."""
        return self

    def nearest(self, weight: Tensor) -> Tensor:
        """Return the values nearest to a weight (K, C)."""
        edges = (self.levels[1:] + self.levels[:-1]) / 2
        return self.levels[torch.bucketize(weight / self.scale, edges)] * self.scale


def float_grid(weight: Tensor, code: int, importance: Tensor) -> FloatGrid | PaletteGrid:
    """Choose the grid of a weight (K, C) in a small float format or a palette.

    Args:
        importance: (C,) weights of squared errors.
    """
    of = FORMATS[code]
    if of.palette:
        return _palette(weight, of.palette, importance)
    assert of.element is not None
    if code == FP8:
        scale = weight.abs().amax(1, keepdim=True).clamp_min(1e-12) / E4M3.largest
        return FloatGrid(scale.expand_as(weight), of.element)
    return FloatGrid(block_scales(weight, code, tensor_scale(weight, code)), of.element)


def _palette(weight: Tensor, bits: int, importance: Tensor) -> PaletteGrid:
    """Choose 2^bits levels of least weighted error for rows scaled to [-1, 1]."""
    scale = weight.abs().amax(1, keepdim=True).clamp_min(1e-12)
    cells = ((weight / scale + 1) * (CELLS - 1) / 2).round().long().flatten()
    weights = (scale.square() * importance).flatten().double()
    mass = torch.bincount(cells, weights, minlength=CELLS).cpu().numpy()
    levels = torch.tensor(cluster(mass, 2**bits)).to(weight) * (2 / (CELLS - 1)) - 1
    return PaletteGrid(scale, levels)
