"""Small random models of each family, built by timm."""

import timm
import torch
from torch import Tensor, nn

SIZE = (3, 32, 32)
IMAGES = 3
SMALL = {
    "vit": ("vit_tiny_patch16_224", {"patch_size": 8, "embed_dim": 32, "depth": 4, "num_heads": 2}),
    "deit": (
        "deit_tiny_distilled_patch16_224",
        {"patch_size": 8, "embed_dim": 32, "depth": 4, "num_heads": 2},
    ),
    "swin": (
        "swin_tiny_patch4_window7_224",
        {"patch_size": 2, "window_size": 4, "embed_dim": 16, "depths": (2, 2), "num_heads": (2, 4)},
    ),
}


def build(family: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    name, kwargs = SMALL[family]
    torch.manual_seed(3)
    model = timm.create_model(name, img_size=SIZE[1], num_classes=5, **kwargs)
    for parameter in model.parameters():  # biases and tables start at 0: make them matter
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval().requires_grad_(False).to(dtype)


def random_images(count: int = IMAGES) -> Tensor:
    return torch.randn(count, *SIZE, generator=torch.Generator().manual_seed(5))
