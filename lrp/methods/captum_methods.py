"""Methods of others, from captum, on our models.

Each method takes (model, images (B, 3, H, W), target (B,)) and returns one map an image, (B, h, w).
Models are frozen, so a gradient is of the image alone. Baselines are 0, the data set's mean colour.
"""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from captum.attr import InputXGradient, IntegratedGradients, LayerGradCam, Occlusion, Saliency
from torch import Tensor, nn

from lrp.engine.names import block_of
from lrp.maps.cells import PICTURES, grid

STEPS = 32  # of integrated gradients


def integrated_gradients(model: nn.Module, images: Tensor, target: Tensor) -> Tensor:
    """Map x * integral of the gradient from 0 to x, summed over the colours, signed: (B, H, W).

    Sundararajan et al. 2017; 32 Gauss-Legendre steps.
    """
    at_once = max(PICTURES, len(images))
    attribution = IntegratedGradients(model).attribute(
        images, target=target, n_steps=STEPS, internal_batch_size=at_once
    )
    return attribution.sum(1).detach()


def saliency(model: nn.Module, images: Tensor, target: Tensor) -> Tensor:
    """Map the largest |gradient| among a pixel's colours: (B, H, W), not negative.

    Simonyan et al. 2014.
    """
    return Saliency(model).attribute(_leaf(images), target=target).amax(1).detach()


def input_x_gradient(model: nn.Module, images: Tensor, target: Tensor) -> Tensor:
    """Map x * gradient, summed over the colours, signed: (B, H, W). Shrikumar et al. 2016."""
    return InputXGradient(model).attribute(_leaf(images), target=target).sum(1).detach()


def occlusion(model: nn.Module, images: Tensor, target: Tensor) -> Tensor:
    """Map how far the logit falls when a cell is covered, signed: (B, h, w), in cells.

    Zeiler & Fergus 2014. Cells are those of the faithfulness curves: patches, joined where there
    are more than 16 a side.
    """
    height, width = images.shape[-2:]
    rows, columns = grid(model, height, width)
    window = -(-height // rows), -(-width // columns)  # pixels of a cell
    with torch.no_grad():
        attribution = Occlusion(model).attribute(
            images,
            sliding_window_shapes=(images.shape[1], *window),
            strides=(images.shape[1], *window),
            target=target,
            perturbations_per_eval=max(1, PICTURES // len(images)),
        )
    return attribution[:, 0, :: window[0], :: window[1]].contiguous()


def grad_cam(model: nn.Module, images: Tensor, target: Tensor) -> Tensor:
    """Map the last block's input tokens weighted by their mean gradient: (B, h, w), in tokens.

    sum over c of a_ijc * mean over ij of dlogit/da_ijc (Selvaraju et al. 2017), over the tokens
    that have a place in the image (our reading for transformers). Signed: the paper's ReLU, which
    would leave half of the tokens alike, is the map's positive part.

    Raises:
        ValueError: the model's tokens have no place in the image.
    """
    if not has_tokens(model):
        raise ValueError(
            f"{type(model).__name__} has no tokens with a place: use ViT, DeiT or Swin"
        )
    with _last_tokens(model, images) as layer:
        return LayerGradCam(model, layer).attribute(images, target).squeeze(1).detach()


def has_tokens(model: nn.Module) -> bool:
    """Return whether the model has blocks whose tokens have a place, as Grad-CAM needs."""
    patch_embed = getattr(model, "patch_embed", None)
    return bool(_blocks(model)) and hasattr(patch_embed, "dynamic_feat_size")


def _blocks(model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_modules() if name and block_of(name) == name]


def _leaf(images: Tensor) -> Tensor:
    return images.detach().clone().requires_grad_()  # captum warns of images that are none


@contextmanager
def _last_tokens(model: nn.Module, images: Tensor) -> Iterator[nn.Module]:
    """Lead the last block's input through a layer of its own, as (B, C, h, w), while in context.

    captum averages gradients over all dimensions but the second, where tokens have their number.
    Other threads that run the model meanwhile are left alone.
    """
    layer, thread = nn.Identity(), threading.get_ident()
    grid_size = cast(Any, model).patch_embed.dynamic_feat_size(images.shape[-2:])

    def detour(block: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if threading.get_ident() != thread:
            return None
        tokens = inputs[0].detach()  # what lies below takes no part
        if tokens.dim() == 4:  # Swin's (B, h, w, C)
            return layer(tokens.movedim(-1, 1).requires_grad_()).movedim(1, -1), *inputs[1:]
        prefix, patches = tokens.tensor_split([-math.prod(grid_size)], 1)
        placed = layer(patches.mT.unflatten(2, grid_size).requires_grad_())
        return torch.cat([prefix, placed.flatten(2).mT], 1), *inputs[1:]

    with model.get_submodule(_blocks(model)[-1]).register_forward_pre_hook(detour):
        yield layer
