"""Maps made of attention: rolled out (Abnar & Zuidema), weighted by gradients or LRP (Chefer).

All three read one row of a product over the blocks, (I + A_L) ... (I + A_1), with A_b (B, N, N) a
block's heads combined: how much of each patch has reached the tokens the head reads.
"""

from collections import defaultdict
from typing import Any

import torch
from timm.models.beit import Beit
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_relpos import VisionTransformerRelPos
from torch import Tensor, nn

from lrp.engine.layers import Stage, list_layers
from lrp.maps.places import grid_size
from lrp.propagation.relevance import Target, relevance
from lrp.propagation.rules import GRADIENT, LRP_QVIT, Rules
from lrp.propagation.trace import Trace


def rolls_out(model: nn.Module) -> bool:
    """Return whether all tokens attend to all, once a block, and the head reads them or their mean.

    That is timm's ViT, DeiT, BEiT and EVA, with a class token or average pooling.
    """
    return (
        isinstance(model, VisionTransformer | VisionTransformerRelPos | Beit | Eva)
        and model.global_pool in ("token", "avg")
        and _attends_once_a_block(model)
    )


def attention_rollout(model: nn.Module, images: Tensor, target: Target = None) -> Tensor:
    """Return the same map whatever the `target`: (B, h, w), in patches, from 0 to 1.

    A_b = (mean over heads of attention + I) / 2, whose rows sum to 1; the map is a row of
    A_L ... A_1 (arXiv:2005.00928).

    Raises:
        ValueError: the model cannot be rolled out.
    """
    trace = _trace(model, images)
    means = [attention.detach().mean(1) for attention in _attentions(trace).values()]
    return _reached(trace, means) / 2 ** len(means)  # (A + I) / 2 = (I + A) / 2


def gradient_attention(model: nn.Module, images: Tensor, target: Tensor) -> Tensor:
    """Return the map of the classes `target` (B,): (B, h, w), in patches, not negative.

    R <- R + mean over heads of max(grad A_b * A_b, 0) R, from R = I (eqs. 5 and 6 of
    arXiv:2103.15679).

    Raises:
        ValueError: the model cannot be rolled out.
    """
    trace = _trace(model, images)
    weights = {name: a.detach() for name, a in _attentions(trace).items()}
    return _reached(trace, _weighted_by_gradient(trace, target, weights))


def transformer_attribution(
    model: nn.Module, images: Tensor, target: Target = None, rules: Rules = LRP_QVIT
) -> Tensor:
    """Return the map of `target` (default: the top class): (B, h, w), in patches, not negative.

    A_b = mean over heads of max(grad A_b * R_b, 0), R_b the relevance of attention under `rules`
    (eqs. 13 and 14 of arXiv:2012.09838).

    Args:
        rules: LRP_QVIT, or CHEFER for the map as published.

    Raises:
        ValueError: the model cannot be rolled out.
    """
    trace = _trace(model, images)
    found = relevance(Trace(model, images, rules), target)
    weights = {name: found.layers[name][0] for name in _attentions(trace)}
    return _reached(trace, _weighted_by_gradient(trace, found.target, weights))


def _attends_once_a_block(model: Any) -> bool:
    # differential attention subtracts two maps, parallel blocks have several
    products: dict[str, list[Stage | None]] = defaultdict(list)
    for layer in list_layers(model, (3, *model.patch_embed.img_size)):
        if layer.is_product and layer.attention:
            products[layer.block].append(layer.stage)
    once = all(stages == [Stage.SCORES, Stage.MIX] for stages in products.values())
    return once and len(products) == len(model.blocks)


def _trace(model: nn.Module, images: Tensor) -> Trace:
    if not rolls_out(model):
        raise ValueError(
            f"{type(model).__name__} has no map of attention from every patch to its head: "
            "use a ViT, DeiT, BEiT or EVA with a class token or average pooling"
        )
    return Trace(model, images, GRADIENT)


def _attentions(trace: Trace) -> dict[str, Tensor]:
    """Return each block's attention (B, heads, N, N), in the order they run."""
    mixing = [layer.name for layer in trace.layers.values() if layer.stage is Stage.MIX]
    return {name: trace.operands[name][0] for name in mixing}


def _weighted_by_gradient(trace: Trace, target: Tensor, weights: dict[str, Tensor]) -> list[Tensor]:
    attentions = list(_attentions(trace).values())
    logit = trace.logits.gather(1, target[:, None]).sum()
    gradients = torch.autograd.grad(logit, attentions, materialize_grads=True)
    pairs = zip(gradients, weights.values(), strict=True)
    return [(gradient * weight).clamp_min(0).mean(1) for gradient, weight in pairs]


def _reached(trace: Trace, steps: list[Tensor]) -> Tensor:
    """Read r (I + A_L) ... (I + A_1) at the patches: (B, h, w), r the share of each token read."""
    row = _read(trace.model, steps[0])
    for step in reversed(steps):
        row = row + row @ step
    height, width = grid_size(trace)
    return row[:, 0, -height * width :].unflatten(1, (height, width))


def _read(model: Any, like: Tensor) -> Tensor:
    """Return the share of each token in what the head reads: (B, 1, N), summing to 1.

    The sources take the class token's row. Our reading of the others: a distilled DeiT averages
    the predictions of two tokens, average pooling all that it pools, so their rows are averaged.
    """
    row = like.new_zeros(len(like), 1, like.shape[-1])
    if model.global_pool == "token":
        read = slice(0, 2 if hasattr(model, "head_dist") else 1)
    else:
        pools_all = getattr(model, "pool_include_prefix", False)
        read = slice(0 if pools_all else model.num_prefix_tokens, None)
    row[..., read] = 1
    return row / row.sum(-1, keepdim=True)
