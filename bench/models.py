"""Models to measure: full-size, with random weights, which cost what trained ones do."""

import timm
import torch
from torch import Tensor, nn

NAMES = ("deit_tiny_patch16_224", "swin_tiny_patch4_window7_224")


def build(name: str, images: int = 8) -> tuple[nn.Module, Tensor]:
    """Return a frozen model and a batch of random images."""
    torch.manual_seed(0)
    model = timm.create_model(name).eval().requires_grad_(False)
    return model, torch.randn(images, 3, 224, 224)
