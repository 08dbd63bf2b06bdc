"""Every way to explain a decision, by name: what tables, pages and command lines choose from."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from lrp.maps.cells import grid
from lrp.maps.heatmap import PIXELS, heatmap_alone
from lrp.methods import captum_methods
from lrp.methods.rollout import (
    attention_rollout,
    gradient_attention,
    rolls_out,
    transformer_attribution,
)
from lrp.propagation.rules import ATTN_LRP, ATTN_LRP_GAMMA, CHEFER, LRP_QVIT, Rules
from lrp.propagation.trace import Trace

Maps = Callable[[nn.Module, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Method:
    """A way to explain decisions.

    Attributes:
        name: as typed on the command line.
        label: for people.
        what: one sentence that says what the map shows, and whose it is.
        maps: takes (model, images (B, 3, H, W), target (B,)) and returns (B, h, w), in patches or
            pixels, detached, on the images' device; an image's map does not depend on the others.
            Signed where the method is; ValueError where it does not suit the model.
        suits: says whether it can be had for a model.
    """

    name: str
    label: str
    what: str
    maps: Maps
    suits: Callable[[nn.Module], bool] = lambda model: True


def method(name: str) -> Method:
    """Return the method called `name`; "attn-lrp@blocks.2" is `at_depth("blocks.2")`.

    Raises:
        ValueError: there is no such method.
    """
    if name.startswith(_AT):
        return at_depth(name.removeprefix(_AT))
    if name not in METHODS:
        raise ValueError(f"method {name!r} is unknown: use one of {', '.join(METHODS)}")
    return METHODS[name]


def at_depth(depth: str) -> Method:
    """Return the default method read at another depth than the model's own."""
    what = f"Relevance read at {depth}: AttnLRP (Achtibat et al. 2024)."
    return Method(_AT + depth, f"AttnLRP at {depth}", what, _relevance_by(ATTN_LRP, depth))


def suitable(model: nn.Module) -> tuple[str, ...]:
    """Name the methods that can be had for `model`, in the order tables show them."""
    return tuple(name for name, found in METHODS.items() if found.suits(model))


def _relevance_by(rules: Rules, depth: str | None = None) -> Maps:
    """Make maps of relevance under `rules`, read at `depth` (default: the model's own)."""

    def maps(model: nn.Module, images: Tensor, target: Tensor) -> Tensor:
        return heatmap_alone(Trace(model, images, rules), target, depth)

    return maps


def _random(model: nn.Module, images: Tensor, target: Tensor) -> Tensor:
    """Draw maps (B, h, w), in cells, each from a seed of its image."""
    size = grid(model, *images.shape[-2:])
    seeds = (zlib.crc32(image.numpy().tobytes()) for image in images.detach().cpu())
    drawn = [torch.rand(size, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(drawn).to(images)


_CONSTANT = replace(ATTN_LRP, name="ATTN_LRP_CONSTANT", softmax="constant")
_METHODS = (
    Method(
        "attn-lrp",
        "AttnLRP",
        "Relevance of an early block's tokens: AttnLRP (Achtibat et al. 2024), stopped above the "
        "pixels.",
        _relevance_by(ATTN_LRP),
    ),
    Method(
        "attn-lrp-pixels",
        "AttnLRP, pixels",
        "Relevance of the pixels: AttnLRP (Achtibat et al. 2024) with the epsilon rule.",
        _relevance_by(ATTN_LRP, PIXELS),
    ),
    Method(
        "attn-lrp-gamma",
        "AttnLRP, gamma",
        "Relevance of an early block's tokens, positive contributions favoured by AttnLRP's gamma "
        "rule.",
        _relevance_by(ATTN_LRP_GAMMA),
    ),
    Method(
        "attn-lrp-gamma-pixels",
        "AttnLRP, gamma, pixels",
        "Relevance of the pixels, positive contributions favoured by AttnLRP's gamma rule.",
        _relevance_by(ATTN_LRP_GAMMA, PIXELS),
    ),
    Method(
        "attn-lrp-constant",
        "AttnLRP, attention constant",
        "Relevance of an early block's tokens that flows through values alone, attention taken as "
        "given (Ali et al. 2022).",
        _relevance_by(_CONSTANT),
    ),
    Method(
        "lrp-qvit",
        "LRP-QViT",
        "Relevance of an early block's tokens under the rules that LRP-QViT scores layers by.",
        _relevance_by(LRP_QVIT),
    ),
    Method(
        "lrp-qvit-pixels",
        "LRP-QViT, pixels",
        "Relevance of the pixels under the rules that LRP-QViT scores layers by.",
        _relevance_by(LRP_QVIT, PIXELS),
    ),
    Method(
        "chefer-pixels",
        "Chefer's LRP, pixels",
        "Relevance of the pixels under the rules of Chefer et al. (CVPR 2021) as published.",
        _relevance_by(CHEFER, PIXELS),
    ),
    Method(
        "transformer-attribution",
        "Transformer attribution",
        "Attention of all blocks, weighted by its gradient and by its relevance under LRP-QViT's "
        "rules, multiplied up (Chefer et al., CVPR 2021); not signed.",
        transformer_attribution,
        rolls_out,
    ),
    Method(
        "chefer-attribution",
        "Chefer's attribution",
        "The same under the rules of Chefer et al. (CVPR 2021) as published; not signed.",
        partial(transformer_attribution, rules=CHEFER),
        rolls_out,
    ),
    Method(
        "gradient-attention",
        "Gradient-weighted attention",
        "Attention of all blocks, weighted by its gradient and multiplied up (Chefer et al., ICCV "
        "2021); not signed.",
        gradient_attention,
        rolls_out,
    ),
    Method(
        "rollout",
        "Attention rollout",
        "Attention of all blocks, multiplied up (Abnar & Zuidema 2020); the same for every class, "
        "not signed.",
        attention_rollout,
        rolls_out,
    ),
    Method(
        "integrated-gradients",
        "Integrated gradients",
        "Gradient averaged over 32 steps from the mean colour to the image, times the image "
        "(Sundararajan et al. 2017, by captum).",
        captum_methods.integrated_gradients,
    ),
    Method(
        "saliency",
        "Saliency",
        "Size of the gradient at each pixel (Simonyan et al. 2014, by captum); not signed.",
        captum_methods.saliency,
    ),
    Method(
        "input-x-gradient",
        "Input × gradient",
        "Gradient at each pixel times the pixel (Shrikumar et al. 2016, by captum).",
        captum_methods.input_x_gradient,
    ),
    Method(
        "occlusion",
        "Occlusion",
        "How far the class's logit falls when a patch is covered with the mean colour (Zeiler & "
        "Fergus 2014, by captum).",
        captum_methods.occlusion,
    ),
    Method(
        "grad-cam",
        "Grad-CAM",
        "Tokens that enter the last block, weighted by their mean gradient (Selvaraju et al. 2017, "
        "by captum, without its ReLU).",
        captum_methods.grad_cam,
        captum_methods.has_tokens,
    ),
    Method(
        "random",
        "Random",
        "Random numbers, the control that says nothing about the image.",
        _random,
    ),
)
METHODS: dict[str, Method] = {found.name: found for found in _METHODS}
DEFAULT = "attn-lrp"
_AT = f"{DEFAULT}@"
