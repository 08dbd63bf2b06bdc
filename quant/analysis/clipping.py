"""What clipping the channels' ranges does to a layer behind a LayerNorm, threshold by threshold."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lrp.engine.progress import SILENT, Progress
from quant.analysis.layer_errors import sqnr
from quant.calibration.calibration import Calibration
from quant.model.float_layers import Seen
from quant.primitives.bits import LayerBits
from quant.primitives.qparams import QParams
from quant.primitives.quantizer_search import fit_percentile
from quant.primitives.quantizers import Uniform
from quant.primitives.reparameterise import Reparameterised, reparameterise
from quant.primitives.rounding import round_weight
from quant.primitives.transforms import Rescaling, transformed

LIMITS = tuple(k / 10 for k in range(3, 61))  # standard deviations
SHARE = 0.999  # of a channel's values: its range


@dataclass(frozen=True, eq=False)
class Clipping:
    """Ranges of an input's channels, and the layer's output error under each way of scaling them.

    Weights are rounded to the nearest and no bias is corrected, but in `own`, so that the ways
    differ in the input's scales alone.

    Attributes:
        low, high: (C,), between which lie 99.8 % of each channel.
        channels: each channel's own quantization parameters, (C,).
        touched: of each limit of `LIMITS`, how many channels it changes.
        errors: of each limit, the SQNR in dB of the layer's output.
        off: the same with one range for all channels; `plain` with a range each (RepQ-ViT).
        own: the same as the preset solved the layer.
    """

    low: np.ndarray
    high: np.ndarray
    channels: QParams
    touched: tuple[int, ...]
    errors: tuple[float, ...]
    off: float
    plain: float
    own: float

    def at(self, limit: float) -> int:
        """Return the place of the limit nearest to `limit`."""
        return min(range(len(LIMITS)), key=lambda i: abs(LIMITS[i] - limit))

    @property
    def best(self) -> int:
        """The place of the limit of least error."""
        return int(np.argmax(self.errors))

    def covered(self, limit: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what the quantizer covers of each channel, and whether the limit changed it."""
        clipped, q = reparameterise(self.channels, limit).channels, self.channels
        changed = (clipped.scale != q.scale) | (clipped.zero_point != q.zero_point)
        low = -clipped.zero_point * clipped.scale
        high = low + clipped.levels * clipped.scale
        return low.numpy(), high.numpy(), changed.numpy()


def is_normed(calibration: Calibration, name: str) -> bool:
    """Return whether a layer's input comes straight out of a LayerNorm."""
    return name in calibration.surveyed().norms


def clipping(
    calibration: Calibration, seen: Seen, bits: LayerBits, progress: Progress = SILENT
) -> Clipping:
    """Try every limit on one layer with weights."""
    (x,), affine = seen.operands, seen.affine
    assert affine is not None
    wanted = F.linear(x, *affine)
    channels = fit_percentile(x.T.contiguous(), bits.activation)

    def error(transform: Rescaling | None, q: QParams) -> float:
        progress.check()
        weight, bias = transformed(transform, affine)
        encoded = Uniform(q)(x if transform is None else transform(x))
        return sqnr(wanted, F.linear(encoded, _nearest(weight, encoded, bits.weight), bias))

    def scaled(scales: Reparameterised) -> float:
        return error(scales.transform, scales.tensor)

    tried = [reparameterise(channels, limit) for limit in LIMITS]
    one = fit_percentile(x.flatten()[None], bits.activation)
    own = calibration.stored(bits.activation).solved(seen.name, bits.weight).at(bits.weight)
    low, high = torch.quantile(x, torch.tensor([1 - SHARE, SHARE]).to(x), dim=0).cpu().numpy()
    return Clipping(
        low=low,
        high=high,
        channels=QParams(channels.scale.cpu(), channels.zero_point.cpu(), bits.activation),
        touched=tuple(scales.clipped for scales in tried),
        errors=tuple(scaled(scales) for scales in tried),
        off=error(None, QParams(one.scale[0], one.zero_point[0], bits.activation)),
        plain=scaled(reparameterise(channels, None)),
        own=sqnr(wanted, own(x)),
    )


def _nearest(weight: Tensor, encoded: Tensor, width: int) -> Tensor:
    gram = encoded.T @ encoded / len(encoded)
    ((codes, scale),) = round_weight(weight, [width], gram, "nearest")
    return codes * scale[:, None]
