"""Read maps out of relevance, as arrays ready to be drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from lrp.layers import Layer
from lrp.maps import attention_relevance, block_map, default_block, layer_map, pixel_map
from lrp.relevance import Relevance
from lrp.trace import Trace

PIXELS = "pixels"
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


def depths(trace: Trace, found: Relevance) -> dict[str, str]:
    """Name the places a map can be read at: block names, and the pixels, with their labels."""
    mapped = [block for block in trace.blocks if _block(trace, found, block) is not None]
    return {**{block: f"tokens entering {block}" for block in mapped}, PIXELS: "pixels"}


def default_depth(trace: Trace, found: Relevance) -> str:
    """Name the place to start with: an early block, where token relevance is most faithful."""
    named = depths(trace, found)
    block = default_block(trace) if trace.blocks else PIXELS
    return block if block in named else PIXELS


def at_depth(trace: Trace, found: Relevance, depth: str) -> np.ndarray:
    """Return the map at a depth: (h, w)."""
    if depth == PIXELS:
        return _array(pixel_map(found))
    values = _block(trace, found, depth)
    assert values is not None
    return _array(values)


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


def _block(trace: Trace, found: Relevance, block: str) -> Tensor | None:
    try:
        return block_map(trace, found, block)
    except ValueError:  # a model whose patches have no known size
        return None


def _array(values: Tensor) -> np.ndarray:
    return values[0].detach().cpu().numpy()
