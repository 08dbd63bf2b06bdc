"""Read maps out of relevance, as arrays ready to be drawn. Pure."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from lrp.engine.layers import Layer
from lrp.maps.heatmap import depths, heatmap
from lrp.maps.pictures import scale
from lrp.maps.places import attention_relevance, head_maps, layer_map
from lrp.propagation.relevance import Relevance
from lrp.propagation.trace import Trace

PIXEL_QUANTILE = 0.995  # few pixels are far stronger than the rest; they saturate
PATCHES = 64  # a map with more values a side is one of pixels


@dataclass(frozen=True, eq=False)
class LayerDetail:
    """What is known of one layer's relevance in one image.

    Attributes:
        place: its map (h, w), or None where it has no place in the image.
        heads: of an attention product, one map (h, w) a head; empty for other layers.
        attention: of a second attention product, relevance of its attention, one (N, N) a head;
            Swin's are summed over its windows.
        tokens: the relevance of each of its N input tokens, or of each channel of a pooled input.
        unit: what `tokens` counts: "tokens" or "channels".
    """

    place: np.ndarray | None
    heads: tuple[np.ndarray, ...]
    attention: tuple[np.ndarray, ...]
    tokens: np.ndarray
    unit: str


def at_depth(trace: Trace, found: Relevance, depth: str) -> np.ndarray:
    """Return the map at a depth: (h, w)."""
    return _array(heatmap(trace, found, depth))


def through_depth(trace: Trace, found: Relevance) -> dict[str, np.ndarray]:
    """Return one map a depth: the pixels', then those of the blocks, from the first to the last."""
    *blocks, pixels = depths(trace)
    return {depth: at_depth(trace, found, depth) for depth in (pixels, *blocks)}


def scaled(values: np.ndarray, supporting: bool = False) -> np.ndarray:
    """Scale a map to -1..1 by its strongest value; of `supporting` only what speaks for."""
    kept = values.clip(min=0) if supporting else values
    return scale(kept, PIXEL_QUANTILE if min(values.shape) >= PATCHES else 1.0)


def concentration(values: np.ndarray, share: float = 0.1) -> float:
    """Return how much of the positive relevance the strongest `share` of the map holds."""
    positive = np.sort(values.clip(min=0).ravel())[::-1]
    total = float(positive.sum())
    return float(positive[: max(1, round(share * positive.size))].sum()) / total if total else 0.0


def detail(trace: Trace, found: Relevance, layer: Layer) -> LayerDetail:
    """Look at one layer."""
    place, heads = layer_map(trace, found, layer), head_maps(trace, found, layer)
    tokens, unit = _tokens(found, layer)
    return LayerDetail(
        None if place is None else _array(place),
        () if heads is None else tuple(_array(heads)),
        _attention(found, layer),
        tokens,
        unit,
    )


def _attention(found: Relevance, layer: Layer) -> tuple[np.ndarray, ...]:
    if layer.role != "matmul2" or found.layers[layer.name][0].dim() != 4:
        return ()
    relevance = attention_relevance(found, layer.name)[0]
    return tuple((relevance if relevance.dim() == 3 else relevance.sum(0)).cpu().numpy())


def _tokens(found: Relevance, layer: Layer) -> tuple[np.ndarray, str]:
    """Sum a layer's relevance over channels and heads."""
    values = found.layers[layer.name][-1].detach()
    if layer.kind == "conv2d":
        return values.sum(1).flatten().cpu().numpy(), "pixels"
    if values.dim() < 3:
        return values.flatten().cpu().numpy(), "channels"
    if values.dim() == 4 and layer.kind == "matmul":  # (B, h, d, N) or (B, h, N, d)
        values = values.sum((1, 2) if layer.role == "matmul1" else (1, 3))
        return values.flatten().cpu().numpy(), "tokens"
    return values.sum(-1).flatten().cpu().numpy(), "tokens"


def _array(values: Tensor) -> np.ndarray:
    return values[0].detach().cpu().numpy()
