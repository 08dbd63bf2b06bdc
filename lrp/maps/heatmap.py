"""One heatmap an image, read at any depth: the input of a block, or the pixels."""

from torch import Tensor

from lrp.maps.places import block_map, has_map
from lrp.propagation.relevance import Relevance, Target, relevance
from lrp.propagation.trace import Trace

PIXELS = "pixels"


def depths(trace: Trace) -> tuple[str, ...]:
    """List where a heatmap can be read: the blocks whose tokens have a place, and the pixels."""
    return (*(block for block in trace.blocks if has_map(trace, block)), PIXELS)


def default_depth(trace: Trace) -> str:
    """Name the depth to start with: an early block, where token relevance is most faithful.

    A quarter of the way down, or the first block where tokens are merged on the way, as in Swin.
    No other block measured as more faithful, beyond error, on any model in
    docs/results/relevance.md; the pixels did, by a little, on one bundled model.
    """
    names = list(trace.blocks)
    block = names[0 if trace.windows else len(names) // 4] if names else PIXELS
    return block if block in depths(trace) else PIXELS


def heatmap(trace: Trace, relevance: Relevance, depth: str | None = None) -> Tensor:
    """Return the heatmap of each image: (B, h, w), signed; `depth` None is `default_depth`.

    Raises:
        ValueError: no heatmap can be read at `depth`.
    """
    depth = default_depth(trace) if depth is None else depth
    if depth not in depths(trace):
        known = ", ".join(depths(trace))
        raise ValueError(f"depth {depth!r} has no heatmap in this model: use {known}")
    if depth == PIXELS:
        return relevance.pixels.sum(1)  # over the colours
    found = block_map(trace, relevance, depth)
    assert found is not None
    return found


def heatmap_alone(trace: Trace, target: Target = None, depth: str | None = None) -> Tensor:
    """Return the heatmap of `target` at one depth: (B, h, w); relevance goes no further down.

    Raises:
        ValueError: no heatmap can be read at `depth`.
    """
    depth = default_depth(trace) if depth is None else depth
    stop = depth if depth in trace.blocks else None
    return heatmap(trace, relevance(trace, target, stop), depth)
