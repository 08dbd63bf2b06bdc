"""Localisation: whether a map's relevance lies on the true mask of what is to be seen."""

import torch
import torch.nn.functional as F
from torch import Tensor

TOLERANCE = 15 / 224  # of the longer side, as Zhang et al. allow 15 pixels


def mass(maps: Tensor, masks: Tensor) -> Tensor:
    """Return the share of each map's positive relevance that is inside its mask: (B,), 0 to 1.

    Maps (B, h, w) are brought to the size of the masks (B, H, W), bool, by area: a patch's
    relevance is spread evenly over it, so a map in patches cannot reach 1 on thin ink. A map that
    is nowhere positive has 0.

    Raises:
        ValueError: there is not one mask for each map.
    """
    _check(maps, masks)
    positive = maps.clamp_min(0)
    spread = F.interpolate(positive[:, None], masks.shape[-2:], mode="area").squeeze(1)
    inside = (spread * masks).sum((1, 2))
    return inside / spread.sum((1, 2)).clamp_min(torch.finfo(spread.dtype).tiny)


def hits(maps: Tensor, masks: Tensor) -> Tensor:
    """Return whether the strongest point of each map is on its mask: (B,), bool.

    The pointing game of Zhang et al. (arXiv:1608.00507). The point is the middle of the strongest
    pixel or patch; as there, it may miss the mask by 15/224 of the picture's longer side.

    Raises:
        ValueError: there is not one mask for each map.
    """
    _check(maps, masks)
    (rows, columns), (height, width) = maps.shape[-2:], masks.shape[-2:]
    strongest = maps.flatten(1).argmax(1)
    y = (strongest // columns + 0.5) * height / rows
    x = (strongest % columns + 0.5) * width / columns
    down = torch.arange(height, device=maps.device) + 0.5 - y[:, None]  # (B, H)
    right = torch.arange(width, device=maps.device) + 0.5 - x[:, None]
    distance = torch.hypot(down[:, :, None], right[:, None])  # (B, H, W)
    return (masks & (distance <= TOLERANCE * max(height, width))).any(2).any(1)


def _check(maps: Tensor, masks: Tensor) -> None:
    if maps.dim() != 3 or masks.dim() != 3 or len(maps) != len(masks):
        raise ValueError(
            f"maps {tuple(maps.shape)} and masks {tuple(masks.shape)}: give one mask for each map"
        )


class Localiser:
    """Compare methods' maps with masks (T, H, W), batch by batch: `on_maps` of `faithfulness`.

    Attributes:
        mass, hits: what the functions of those names find, by method; (images so far,) each.
    """

    def __init__(self, masks: Tensor) -> None:
        self.masks = masks
        self.mass: dict[str, Tensor] = {}
        self.hits: dict[str, Tensor] = {}

    def __call__(self, method: str, maps: Tensor) -> None:
        """Add the next maps (B, h, w) of a method; they come in the order of the masks."""
        maps, before = maps.cpu(), self.mass.get(method, torch.empty(0))
        masks = self.masks[len(before) : len(before) + len(maps)]
        self.mass[method] = torch.cat([before, mass(maps, masks)])
        self.hits[method] = torch.cat([self.hits.get(method, before.bool()), hits(maps, masks)])
