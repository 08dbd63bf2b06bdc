"""Put relevance in image coordinates: one value a patch, wherever in the model it was read."""

import math
from typing import Any, cast

import torch
from timm.models.swin_transformer import window_reverse
from torch import Tensor, nn

from lrp.engine.layers import Layer, Stage
from lrp.propagation.relevance import Relevance
from lrp.propagation.trace import Trace


def block_map(trace: Trace, relevance: Relevance, block: str) -> Tensor | None:
    """Map the relevance of a block's input tokens: (B, h, w), in patches, or None.

    Class, distillation and register tokens are left out: they stand nowhere in the image. A block
    that runs on those alone has no map. CaiT's class attention blocks read the same patches, whose
    relevance is that of all their uses.
    """
    return _on_grid(trace, block, relevance.blocks[block].sum(-1))


def has_map(trace: Trace, block: str) -> bool:
    """Return whether a block's input tokens have a place in the image."""
    return _on_grid(trace, block, trace.blocks[block][..., 0]) is not None


def layer_map(trace: Trace, relevance: Relevance, layer: Layer) -> Tensor | None:
    """Map the relevance a layer hands to its input: (B, h, w), or None where it has no place.

    A convolution's map is that of the pixels under it, an attention product's the sum of its
    `head_maps`. What runs on pooled features, on a class token alone or across heads has none.
    """
    operands = relevance.layers[layer.name]
    if layer.kind == "conv2d":
        return operands[0].sum(1)
    if layer.is_product:
        heads = head_maps(trace, relevance, layer)
        return None if heads is None else heads.sum(1)
    return _placed(trace, layer, operands[0].sum(-1))


def head_maps(trace: Trace, relevance: Relevance, layer: Layer) -> Tensor | None:
    """Map what each head of an attention product hands to its keys or values: (B, h, rows, cols).

    Those of scores are maps of the keys, others of the values. The latter are also the columns of
    `attention_relevance` summed over the queries, as both operands take half of the same products.
    None for other layers, and where keys have no place.
    """
    if layer.stage not in (Stage.SCORES, Stage.MIX) or relevance.layers[layer.name][1].dim() != 4:
        return None
    channels = 2 if layer.stage is Stage.SCORES else 3  # k^T is (B, h, d, N), v is (B, h, N, d)
    heads = relevance.layers[layer.name][1].sum(channels).unbind(1)
    placed = [_placed(trace, layer, head) for head in heads]
    maps = [head for head in placed if head is not None]
    return torch.stack(maps, 1) if maps else None


def attention_relevance(relevance: Relevance, product: str) -> Tensor:
    """Return the relevance of an attention map, head by head, image by image.

    (B, h, N, N), queries in rows and keys in columns, or (B, windows, h, n, n) where attention
    stays within windows. Under the constant rule for softmax it is zero.

    Args:
        product: name of a second attention product (`....matmul2`).
    """
    attention, images = relevance.layers[product][0], len(relevance.target)
    return attention if len(attention) == images else attention.unflatten(0, (images, -1))


def grid_size(trace: Trace) -> tuple[int, int]:
    """Return how many patches the image is cut into: (rows, columns).

    Raises:
        ValueError: the model cuts its images without a convolution.
    """
    if not trace.grids:
        raise ValueError("this model's patches have no known place: they come from no convolution")
    return trace.grids.get(next(iter(trace.blocks), ""), trace.grids[""])


def _placed(trace: Trace, layer: Layer, values: Tensor) -> Tensor | None:
    """Arrange a value a token of a layer as patches."""
    block = trace.windows.get(layer.block)
    if block is None:
        return _on_grid(trace, layer.block, values)
    shape = trace.blocks[layer.block].shape  # (B, H, W, C)
    if layer.attention:
        return _from_windows(block, values, shape)
    return values.reshape(shape[:3])


def _from_windows(block: nn.Module, values: Tensor, shape: torch.Size) -> Tensor:
    """Undo Swin's padding, shift and partition: (B * windows, n) -> (B, H, W)."""
    swin = cast(Any, block)
    window = tuple(swin.window_size)
    padded = [math.ceil(s / w) * w for s, w in zip(shape[1:3], window, strict=True)]
    shifted = window_reverse(values.reshape(-1, *window, 1), window, *padded)
    grid = shifted[:, : shape[1], : shape[2]]
    return torch.roll(grid, tuple(swin.shift_size), dims=(1, 2)).squeeze(-1)


def _on_grid(trace: Trace, block: str, values: Tensor) -> Tensor | None:
    """Arrange a value a token as patches: (B, N) or (B, H, W) -> (B, h, w)."""
    if values.dim() == 3:  # Swin keeps its tokens in rows and columns outside its windows
        return values if trace.windows else None
    grid = trace.grids.get(block)
    if grid is None or values.dim() != 2 or len(values) != len(trace.images):
        return None
    # Class, distillation and register tokens stand before the patches.
    known = getattr(trace.model, "num_prefix_tokens", getattr(trace.model, "num_tokens", 0))
    prefix = values.shape[1] - grid[0] * grid[1]
    return values[:, prefix:].unflatten(1, grid) if prefix in (0, known) else None
