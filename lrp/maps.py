"""Put relevance in image coordinates: one value a patch, wherever in the model it was read."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from timm.models.swin_transformer import window_reverse
from torch import Tensor

from lrp.layers import Layer
from lrp.relevance import Relevance
from lrp.trace import Trace


def pixel_map(relevance: Relevance) -> Tensor:
    """Sum the pixels' relevance over the colours: (B, H, W)."""
    return relevance.pixels.sum(1)


def block_map(trace: Trace, relevance: Relevance, block: str) -> Tensor | None:
    """Map the relevance of a block's input tokens: (B, h, w), in patches.

    Class, distillation and register tokens are left out: they stand nowhere in the image. A block
    that runs on those alone has no map.
    """
    return _token_map(trace, relevance.blocks[block].sum(-1))


def layer_map(trace: Trace, relevance: Relevance, layer: Layer) -> Tensor | None:
    """Map the relevance a layer hands to its input: (B, h, w), or None where it has no place.

    An attention product's map is that of its keys (matmul1) or values (matmul2), summed over the
    heads; a convolution's is that of the pixels; a pooled input, such as the head's, has none.
    """
    operands = relevance.layers[layer.name]
    if layer.kind == "conv2d":
        return operands[0].sum(1)
    if layer.kind == "matmul":
        # k^T is (B, h, d, N), v is (B, h, N, d); heads and channels are summed away
        dims = (1, 2) if layer.role == "matmul1" else (1, 3)
        tokens = operands[1].sum(dims)
    else:
        tokens = operands[0].sum(-1)
    return _windowed(trace, layer, tokens) if tokens.dim() > 1 else None


def attention_relevance(relevance: Relevance, product: str) -> Tensor:
    """Return the relevance of an attention map, per head: (B, h, N, N), or (B * windows, ...).

    Args:
        product: name of a second attention product (`....matmul2`).
    """
    return relevance.layers[product][0]


def _windowed(trace: Trace, layer: Layer, tokens: Tensor) -> Tensor | None:
    block = trace.windows.get(layer.block)
    if block is None:
        return _token_map(trace, tokens)
    shape = trace.blocks[layer.block].shape
    if layer.role in ("qkv", "proj", "matmul1", "matmul2"):
        return _from_windows(cast(Any, block), tokens, shape)
    return tokens.reshape(shape[:3])


def _from_windows(block: Any, tokens: Tensor, shape: torch.Size) -> Tensor:
    """Undo Swin's padding, shift and partition: (B * windows, n) -> (B, H, W)."""
    height, width = shape[1:3]
    window = tuple(block.window_size)
    padded = [math.ceil(s / w) * w for s, w in zip((height, width), window, strict=True)]
    shifted = window_reverse(tokens.reshape(-1, *window, 1), window, *padded)
    grid = shifted[:, :height, :width]
    return torch.roll(grid, tuple(block.shift_size), dims=(1, 2)).squeeze(-1)


def _token_map(trace: Trace, tokens: Tensor) -> Tensor | None:
    """Arrange tokens as the image's patches: (B, N) or (B, H, W) -> (B, h, w)."""
    if tokens.dim() == 3:  # Swin keeps its tokens in rows and columns outside its windows
        return tokens if trace.windows else None
    height, width = grid_size(trace)
    if len(tokens) != len(trace.images) or tokens.shape[1] < height * width:
        return None
    return tokens[:, -height * width :].reshape(-1, height, width)


def grid_size(trace: Trace) -> tuple[int, int]:
    """Return how many patches the image is cut into: (rows, columns).

    Raises:
        ValueError: the model has no patch embedding that says its patches' size.
    """
    patch = getattr(getattr(trace.model, "patch_embed", None), "patch_size", None)
    if patch is None:
        raise ValueError("this model's patches have no known size: use a ViT, DeiT or Swin of timm")
    height, width = trace.images.shape[-2:]
    return height // patch[0], width // patch[1]


def default_block(trace: Trace) -> str:
    """Name the block whose input tokens make the default heatmap: a quarter of the way down.

    Measured on DeiT-Tiny, token relevance at an early block is more faithful than at the pixels.
    """
    names = list(trace.blocks)
    return names[len(names) // 4]
