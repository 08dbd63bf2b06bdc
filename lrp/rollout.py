"""The class-specific attention map of Chefer et al. (CVPR 2021), which LRP-QViT shows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lrp.maps import grid_size
from lrp.relevance import Target, relevance
from lrp.rules import GRADIENT, LRP_QVIT
from lrp.trace import Trace


def rolls_out(model: nn.Module) -> bool:
    """Say whether the model has a class token that attends to all patches."""
    windows = any(hasattr(module, "shift_size") for module in model.modules())
    return bool(getattr(model, "num_prefix_tokens", 0)) and not windows


def transformer_attribution(model: nn.Module, images: Tensor, target: Target = None) -> Tensor:
    """Return the map of `target` for each image: (B, h, w), in patches.

    A_b = I + mean over heads of max(grad A_b * R_b, 0);  C = A_B ... A_2 A_1;  the class token's
    row of C is the map (eqs. 13 and 14 of arXiv:2012.09838). Needs a class token that attends to
    all patches.

    Raises:
        ValueError: the model has no class token, or attends within windows.
    """
    if not rolls_out(model):
        raise ValueError("this map needs a class token and global attention: use ViT or DeiT")
    trace = Trace(model, images, LRP_QVIT)
    found = relevance(trace, target)
    gradients = _attention_gradients(Trace(model, images, GRADIENT), found.target)
    rollout: Tensor | None = None
    for name, gradient in gradients.items():
        cam = (gradient * found.layers[name][0]).clamp_min(0).mean(1)  # (B, N, N)
        step = cam + torch.eye(cam.shape[-1], device=cam.device)
        rollout = step if rollout is None else step @ rollout
    assert rollout is not None
    height, width = grid_size(trace)
    return rollout[:, 0, -height * width :].reshape(-1, height, width)


def _attention_gradients(trace: Trace, target: Tensor) -> dict[str, Tensor]:
    logit = trace.logits.gather(1, target[:, None]).sum()
    products = {
        name: operands[0] for name, operands in trace.operands.items() if name.endswith("matmul2")
    }
    return dict(zip(products, torch.autograd.grad(logit, list(products.values())), strict=True))
