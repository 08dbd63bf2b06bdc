"""Chefer et al.'s relevance as its authors compute it: a walk back through the model's layers.

The tape of `lrp.propagation.trace` is measured against it, in speed (`python -m bench relevance`)
and numbers (tests/lrp/propagation/test_relprop.py). Plain ViTs of timm only, down to the first
block's tokens; one image at a time, as sums over a batch would mix images.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def relprop(model: Any, image: Tensor, target: int) -> dict[str, Tensor]:
    """Return the relevance of each block's input tokens: {name: (1, N, C)}, 1 at the target."""
    kept = _remember(model, image)
    start = torch.zeros(1, model.num_classes, dtype=image.dtype).index_fill_(
        1, torch.tensor(target), 1
    )
    relevance = torch.zeros_like(kept[model.norm][0])
    relevance[:, 0] = _linear(kept[model.head][0], model.head.weight, start)
    found = {}
    for index, block in reversed(list(enumerate(model.blocks))):
        relevance = found[f"blocks.{index}"] = _block(block, kept, relevance)
    return found


def _remember(model: nn.Module, image: Tensor) -> dict[nn.Module, tuple[Tensor, Tensor]]:
    """Run the model and keep each module's input and output."""
    kept: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        kept[module] = (inputs[0], output)

    handles = [module.register_forward_hook(hook) for module in model.modules()]
    with torch.no_grad():
        model(image)
    for handle in handles:
        handle.remove()
    return kept


def _block(block: Any, kept: dict[nn.Module, tuple[Tensor, Tensor]], relevance: Tensor) -> Tensor:
    """Walk back through one block; norms and GELU hand relevance on as it is."""
    tokens, middle = kept[block][0], kept[block.norm2][0]
    skip, branch = _addition(middle, kept[block.mlp][1], relevance)
    branch = _linear(kept[block.mlp.fc2][0], block.mlp.fc2.weight, branch)
    relevance = skip + _linear(kept[block.mlp.fc1][0], block.mlp.fc1.weight, branch)
    skip, branch = _addition(tokens, kept[block.attn][1], relevance)
    return skip + _attention(block.attn, kept, branch)


def _attention(
    attn: Any, kept: dict[nn.Module, tuple[Tensor, Tensor]], relevance: Tensor
) -> Tensor:
    relevance = _linear(kept[attn.proj][0], attn.proj.weight, relevance)
    qkv = kept[attn.qkv][1].unflatten(2, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
    query, key, value = qkv[0] * attn.scale, qkv[1], qkv[2]  # (1, h, N, d)
    attention = (query @ key.transpose(-2, -1)).softmax(-1)
    mixed = relevance.unflatten(2, (attn.num_heads, -1)).transpose(1, 2)
    by_attention, by_value = _product(attention, value, mixed)
    by_query, by_key = _product(query, key.transpose(-2, -1), by_attention)
    parts = torch.stack([by_query, by_key.transpose(-2, -1), by_value])  # (3, 1, h, N, d)
    return _linear(kept[attn.qkv][0], attn.qkv.weight, parts.permute(1, 3, 0, 2, 4).flatten(2))


def _linear(x: Tensor, weight: Tensor, relevance: Tensor) -> Tensor:
    """Apply the alpha-beta rule with alpha 1, the part of weight beta = 0 computed as published."""
    positive, negative = weight.clamp(min=0), weight.clamp(max=0)
    activators = _share(x, (positive, negative), relevance)
    inhibitors = _share(x, (negative, positive), relevance)
    return activators - 0 * inhibitors


def _share(x: Tensor, weights: tuple[Tensor, Tensor], relevance: Tensor) -> Tensor:
    parts = [x.clamp(min=0).requires_grad_(), x.clamp(max=0).requires_grad_()]
    with torch.enable_grad():
        products = [F.linear(part, weight) for part, weight in zip(parts, weights, strict=True)]
    ratio = _divide(relevance, products[0].detach() + products[1].detach())
    gradients = torch.autograd.grad(products, parts, [ratio, ratio])
    return sum(
        (part.detach() * g for part, g in zip(parts, gradients, strict=True)), torch.zeros_like(x)
    )


def _product(a: Tensor, b: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
    ratio = _divide(relevance, a @ b)
    return a * (ratio @ b.transpose(-2, -1)) / 2, b * (a.transpose(-2, -1) @ ratio) / 2


def _addition(a: Tensor, b: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
    ratio = _divide(relevance, a + b)
    first, second = a * ratio, b * ratio
    sum_a, sum_b = first.sum(), second.sum()
    share = sum_a.abs() / (sum_a.abs() + sum_b.abs())
    total = relevance.sum()
    return first * _divide(share * total, sum_a), second * _divide((1 - share) * total, sum_b)


def _divide(a: Tensor, b: Tensor) -> Tensor:
    safe = b.sign() * b.abs().clamp(min=1e-9)
    return a / torch.where(safe == 0, torch.full_like(safe, 1e-9), safe) * (b != 0)
