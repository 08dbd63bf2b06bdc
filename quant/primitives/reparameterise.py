"""Scale reparameterisation: per-channel quantization of a post-LayerNorm input at per-tensor cost.

RepQ-ViT (arXiv:2212.08254, section 3.3): with r1 = s / s~ and r2 = z - z~, the input becomes
x' = (x + s r2) / r1, which one scale s~ and zero point z~ quantize as the channels' own would;
the next layer takes it back by W <- W r1 and bias <- bias - W (s r2). Exact in floating point.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from quant.primitives.qparams import QParams
from quant.primitives.transforms import Rescaling


@dataclass(frozen=True, eq=False)
class Reparameterised:
    """A post-LayerNorm input's quantizer, and what it asks of the next layer.

    Attributes:
        channels: per-channel parameters (C,), clipped.
        tensor: their mean (), as integer hardware sees it.
        clipped: how many channels the clipping changed.
    """

    channels: QParams
    tensor: QParams
    clipped: int

    @property
    def transform(self) -> Rescaling:
        """x' = (x + s r2) / r1, which LayerNorm's weight and bias take in."""
        shift = self.channels.scale * (self.channels.zero_point - self.tensor.zero_point)
        return Rescaling(shift, self.channels.scale / self.tensor.scale)


def reparameterise(channels: QParams, clip: float | None) -> Reparameterised:
    """Clip per-channel parameters (C,) and take their mean.

    Our reading of LRP-QViT's clipped channel-wise quantization: scales and zero points are clamped
    to mean +- clip standard deviations over the channels, so that outliers inflate neither the
    mean nor the weight columns; what lies outside an outlier's clipped range saturates. `clip`
    None is RepQ-ViT's plain form.

    Raises:
        ValueError: `clip` is not positive.
    """
    if clip is not None and not clip > 0:
        raise ValueError(f"clip is {clip}: use a positive number of standard deviations, or none")
    scale, zero_point = channels.scale, channels.zero_point
    if clip is not None:
        scale, zero_point = _clamp(scale, clip), _clamp(zero_point, clip).round()
    changed = (scale != channels.scale) | (zero_point != channels.zero_point)
    return Reparameterised(
        QParams(scale, zero_point, channels.bits),
        QParams(scale.mean(), zero_point.mean().round(), channels.bits),
        int(changed.sum()),
    )


def _clamp(values: Tensor, clip: float) -> Tensor:
    mean, deviation = values.mean(), values.std(correction=0)
    low = torch.maximum(mean - clip * deviation, values.min())  # keeps scales positive
    return values.clamp(low, mean + clip * deviation)
