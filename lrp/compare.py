"""What others attribute, and how well any map fares: captum's methods and metrics, on our models.

Each method takes (model, images (B, 3, H, W), target (B,)) and returns one map an image, (B, h, w).
Models are frozen, so a gradient is of the image alone. Baselines are 0, the data set's mean colour.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.nn.functional as F
from captum.attr import InputXGradient, IntegratedGradients, LayerGradCam, Occlusion, Saliency
from captum.metrics import infidelity as captum_infidelity
from captum.metrics import sensitivity_max as captum_sensitivity
from torch import Tensor, nn

from lrp.deletion import PICTURES, grid
from lrp.layers import block_of

STEPS = 32  # of integrated gradients
DELETED = 0.1  # of an image's cells, for infidelity
Maps = Callable[[nn.Module, Tensor, Tensor], Tensor]


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
    window = _cell(model, images)
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
    """Say whether the model has blocks whose tokens have a place, as Grad-CAM needs."""
    patch_embed = getattr(model, "patch_embed", None)
    return bool(_blocks(model)) and hasattr(patch_embed, "dynamic_feat_size")


def infidelity(
    model: nn.Module,
    images: Tensor,
    maps: Tensor,
    target: Tensor,
    generator: torch.Generator,
    samples: int = 32,
) -> Tensor:
    """Return captum's infidelity of each map: (B,), in squared logits; lower is better.

    Mean of (b sum over deleted cells of map - (f(x) - f(x without them)))^2 over `samples` random
    deletions (Yeh et al. 2019), b the best scale for each image, as maps have units of their own.
    Our reading of the deletion: each cell takes the mean colour with probability 1/10; of many at
    once, a map that only counts them predicts the fall well.

    Args:
        maps: (B, h, w) of any size.
        generator: draws the deletions; on the CPU.
    """
    size = grid(model, *images.shape[-2:])

    def delete(pictures: Tensor) -> tuple[Tensor, Tensor]:
        drawn = torch.rand(len(pictures), 1, *size, generator=generator)
        gone = _enlarged((drawn < DELETED).to(pictures), pictures)
        return gone, pictures * (1 - gone)

    return captum_infidelity(
        model,
        delete,
        images,
        _enlarged(maps[:, None], images),
        target=target,
        n_perturb_samples=samples,
        max_examples_per_batch=_at_once(images, samples),
        normalize=True,
    )


def max_sensitivity(
    maps: Maps,
    model: nn.Module,
    images: Tensor,
    target: Tensor,
    generator: torch.Generator,
    radius: float = 0.02,
    samples: int = 10,
) -> Tensor:
    """Return how far a little noise moves each map, at most, by captum: (B,); lower is better.

    max over `samples` of |map(x + noise) - map(x)| / |map(x)|, the noise uniform in +- `radius`
    for every normalised value (Yeh et al. 2019).

    Args:
        maps: what makes the maps, such as `Method.maps`.
        generator: draws the noise; on the CPU.
    """

    def explain(pictures: Tensor | tuple[Tensor], target: Tensor) -> tuple[Tensor]:
        pictures = pictures if isinstance(pictures, Tensor) else pictures[0]
        with torch.enable_grad():  # captum turns gradients off
            return (maps(model, pictures, target).contiguous(),)

    def shake(pictures: Tensor, radius: float) -> Tensor:
        noise = torch.rand(pictures.shape, generator=generator).to(pictures)
        return pictures + radius * (2 * noise - 1)

    return captum_sensitivity(
        explain,
        images,
        shake,
        perturb_radius=radius,
        n_perturb_samples=samples,
        max_examples_per_batch=_at_once(images, samples),
        target=target,
    )


def _blocks(model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_modules() if name and block_of(name) == name]


def _leaf(images: Tensor) -> Tensor:
    return images.detach().clone().requires_grad_()  # captum warns of images that are none


def _cell(model: nn.Module, images: Tensor) -> tuple[int, int]:
    """Return the height and width of a cell, in pixels."""
    height, width = images.shape[-2:]
    rows, columns = grid(model, height, width)
    return -(-height // rows), -(-width // columns)


def _enlarged(cells: Tensor, images: Tensor) -> Tensor:
    """Give every pixel and colour the value of its cell: (B, 1, h, w) -> (B, 3, H, W)."""
    enlarged = F.interpolate(cells, images.shape[-2:], mode="nearest-exact")
    return enlarged.expand(-1, images.shape[1], -1, -1)


def _at_once(images: Tensor, samples: int) -> int:
    """Return how many pictures captum may take in one pass: whole batches, at least one."""
    batches = max(1, PICTURES // len(images))
    return len(images) * min(batches, samples)


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
