"""The three bundled models' recipes: timm's own architectures, made small by keywords alone."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import timm
from torch import nn

from assets.pictures.digits import CLASSES, SIZE


@dataclass(frozen=True)
class Architecture:
    """How timm builds a bundled model, and what its training starts and learns from."""

    architecture: str
    kwargs: dict[str, Any]
    steps: int  # of training
    restarts: tuple[int, ...] = ()  # steps at which its learning rate begins anew
    teacher: str | None = None  # whose choices a distilled model learns from
    start: str | None = None  # whose weights training starts with, where they fit


_SMALL_VIT = {"img_size": SIZE, "patch_size": 8, "embed_dim": 96, "depth": 6, "num_heads": 3}

RECIPES = MappingProxyType(
    {
        "digits-vit": Architecture(
            "vit_tiny_patch16_224", _SMALL_VIT, steps=9000, restarts=(5000,)
        ),
        "digits-deit": Architecture(
            "deit_tiny_distilled_patch16_224",
            _SMALL_VIT,
            steps=1500,
            teacher="digits-swin",
            start="digits-vit",
        ),
        "digits-swin": Architecture(
            "swin_tiny_patch4_window7_224",
            {
                "img_size": SIZE,
                "patch_size": 4,
                "window_size": 4,
                "embed_dim": 32,
                "depths": (2, 2, 2),
                "num_heads": (2, 4, 8),
            },
            steps=6000,
        ),
    }
)


def build(name: str) -> nn.Module:
    """Build a bundled model, random weights; its pretrained_cfg says how to prepare pictures."""
    recipe = RECIPES[name]
    preparation = {
        "input_size": (3, SIZE, SIZE),
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "crop_pct": 1.0,
        "interpolation": "bicubic",
    }
    return timm.create_model(
        recipe.architecture,
        num_classes=len(CLASSES),
        pretrained_cfg_overlay=preparation,
        **recipe.kwargs,
    )
