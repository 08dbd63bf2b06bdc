"""One heatmap an image: the ways Bitlens offers to explain a decision."""

from __future__ import annotations

from torch import Tensor

from lrp.maps import block_map, default_block, pixel_map
from lrp.relevance import Relevance
from lrp.trace import Trace

PIXELS = "pixels"


def heatmap(trace: Trace, relevance: Relevance, depth: str | None = None) -> Tensor:
    """Return the heatmap of each image: (B, h, w), signed.

    Args:
        depth: the block whose input tokens are shown, or "pixels"; default `default_block`.

    Raises:
        ValueError: there is no such block, or its tokens stand nowhere in the image.
    """
    depth = default_block(trace) if depth is None else depth
    if depth == PIXELS:
        return pixel_map(relevance)
    if depth not in relevance.blocks:
        raise ValueError(
            f"depth {depth!r} is unknown: use {PIXELS} or one of {', '.join(relevance.blocks)}"
        )
    found = block_map(trace, relevance, depth)
    if found is None:
        raise ValueError(f"the tokens of {depth} stand nowhere in the image: use another depth")
    return found
