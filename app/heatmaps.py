"""Read maps out of relevance, as arrays ready to be drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from lrp.heatmap import PIXELS, depths, heatmap
from lrp.layers import Layer
from lrp.maps import attention_relevance, layer_map
from lrp.relevance import Relevance
from lrp.trace import Trace

PIXEL_QUANTILE = 0.995  # few pixels are far stronger than the rest; they saturate


@dataclass(frozen=True, eq=False)
class LayerDetail:
    """What is known of one layer's relevance in one image.

    Attributes:
        place: its map (h, w), or None where it has no place in the image.
        heads: of an attention product's map, one (N, N) a head; empty for other layers.
        values: all relevance values it hands on, flat.
    """

    place: np.ndarray | None
    heads: tuple[np.ndarray, ...]
    values: np.ndarray


def at_depth(trace: Trace, found: Relevance, depth: str) -> np.ndarray:
    """Return the map at a depth: (h, w)."""
    return _array(heatmap(trace, found, depth))


def through_depth(trace: Trace, found: Relevance) -> dict[str, np.ndarray]:
    """Return one map a block, from the first to the last."""
    return {d: at_depth(trace, found, d) for d in depths(trace, found) if d != PIXELS}


def detail(trace: Trace, found: Relevance, layer: Layer) -> LayerDetail:
    """Look at one layer."""
    operands = found.layers[layer.name]
    try:
        values = layer_map(trace, found, layer)
    except ValueError:  # a model whose patches have no known size
        values = None
    flat = np.concatenate([o.detach().cpu().numpy().ravel() for o in operands])
    return LayerDetail(None if values is None else _array(values), _heads(found, layer), flat)


def _heads(found: Relevance, layer: Layer) -> tuple[np.ndarray, ...]:
    """Return matmul2's attention maps by head; Swin's are summed over its windows."""
    if layer.kind != "matmul" or layer.role != "matmul2":
        return ()
    relevance = attention_relevance(found, layer.name)
    if relevance.dim() != 4:
        return ()
    return tuple(relevance.sum(0).cpu().numpy())


def _array(values: Tensor) -> np.ndarray:
    return values[0].detach().cpu().numpy()
