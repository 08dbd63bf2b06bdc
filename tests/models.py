"""Small random models of each family, built by timm."""

import re
from typing import Any

import timm
import torch
from torch import Tensor, nn

SIZE = (3, 32, 32)
IMAGES = 3
TOKENS: dict[str, Any] = {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
WINDOWS = {
    "patch_size": 2,
    "window_size": 4,
    "embed_dim": 16,
    "depths": (2, 2),
    "num_heads": (2, 4),
}
Families = dict[str, tuple[str, dict[str, Any]]]  # timm's name and keywords
SMALL: Families = {
    "vit": ("vit_tiny_patch16_224", TOKENS),
    "deit": ("deit_tiny_distilled_patch16_224", TOKENS),
    "swin": ("swin_tiny_patch4_window7_224", WINDOWS),
}
FAMILIES: Families = SMALL | {
    "deit3": ("deit3_small_patch16_224", TOKENS),  # LayerScale, class token outside positions
    "beit": ("beit_base_patch16_224", TOKENS),  # relative positions, average pooling
    "cait": ("cait_xxs24_224", TOKENS),  # talking heads, class attention
    "registers": ("vit_small_patch16_224", TOKENS | {"reg_tokens": 4}),
    "average": ("vit_tiny_patch16_224", TOKENS | {"global_pool": "avg", "class_token": False}),
    "dinov2": ("vit_small_patch14_reg4_dinov2", TOKENS),
    "dinov2-swiglu": ("vit_giant_patch14_reg4_dinov2", TOKENS),
    "dinov3": ("vit_small_plus_patch16_dinov3", TOKENS),  # rotary, gated, registers
    "eva02": ("eva02_tiny_patch14_224", TOKENS),  # rotary, SwiGLU
    "eva02-subnorm": ("eva02_base_patch14_224", TOKENS),
    "siglip": ("vit_base_patch16_siglip_224", TOKENS),  # attention pooling
    "aimv2": ("aimv2_large_patch14_224", TOKENS),  # RMSNorm
    "relative": ("vit_relpos_small_patch16_224", TOKENS),
    "rope-mixed": ("vit_base_patch16_rope_mixed_224", TOKENS),
    "parallel": ("vit_small_patch16_18x2_224", TOKENS),
    "pit": (
        "pit_ti_224",
        {
            "patch_size": 8,
            "stride": 4,
            "base_dims": (8, 8, 8),
            "depth": (1, 1, 1),
            "heads": (1, 2, 4),
        },
    ),
    "swinv2": ("swinv2_tiny_window8_256", WINDOWS),
    "swinv2-cr": ("swinv2_cr_tiny_224", WINDOWS),
}
_SCALES = re.compile(r"(weight|gamma(_\d)?|logit_scale|latent|freqs)$")


def build(
    family: str, dtype: torch.dtype = torch.float32, seed: int = 3, size: int = SIZE[1]
) -> nn.Module:
    name, kwargs = FAMILIES[family]
    torch.manual_seed(seed)
    model = timm.create_model(name, img_size=size, num_classes=5, **kwargs)
    for parameter in model.parameters():  # biases and tables start at 0: make them matter
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval().requires_grad_(False).to(dtype)


def without_constants(model: nn.Module) -> nn.Module:
    """Zero what the model adds to activations: biases, position tables and prefix tokens."""
    for name, parameter in model.named_parameters():
        if not _SCALES.search(name):
            parameter.zero_()
    return model


def random_images(count: int = IMAGES, shape: tuple[int, int, int] = SIZE) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(5))
