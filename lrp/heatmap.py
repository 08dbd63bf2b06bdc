"""One heatmap an image, read at any depth: the input of a block, or the pixels."""

from __future__ import annotations

from torch import Tensor

from lrp.maps import block_map, default_block, pixel_map
from lrp.relevance import Relevance
from lrp.trace import Trace

PIXELS = "pixels"


def depths(trace: Trace, relevance: Relevance) -> tuple[str, ...]:
    """List where a heatmap can be read: the blocks whose tokens have a place, and the pixels."""
    return (*(b for b in trace.blocks if _block(trace, relevance, b) is not None), PIXELS)


def default_depth(trace: Trace, relevance: Relevance) -> str:
    """Name the depth to start with: an early block, where token relevance is most faithful."""
    block = default_block(trace) if trace.blocks else PIXELS
    return block if block in depths(trace, relevance) else PIXELS


def heatmap(trace: Trace, relevance: Relevance, depth: str | None = None) -> Tensor:
    """Return the heatmap of each image: (B, h, w), signed; `depth` None is `default_depth`.

    Raises:
        ValueError: no heatmap can be read at `depth`.
    """
    depth = default_depth(trace, relevance) if depth is None else depth
    if depth == PIXELS:
        return pixel_map(relevance)
    found = _block(trace, relevance, depth) if depth in relevance.blocks else None
    if found is None:
        known = ", ".join(depths(trace, relevance))
        raise ValueError(f"depth {depth!r} has no heatmap in this model: use {known}")
    return found


def _block(trace: Trace, relevance: Relevance, block: str) -> Tensor | None:
    try:
        return block_map(trace, relevance, block)
    except ValueError:  # a model whose patches have no known size
        return None
