"""Time what runs on a device, against the model's own forward and backward pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

Result = TypeVar("Result")


def forward_backward(model: nn.Module, images: Tensor, target: Tensor) -> None:
    """Run a model on images (B, 3, H, W) and take the gradient of the classes `target` (B,)."""
    inputs = images.clone().requires_grad_()
    torch.autograd.grad(model(inputs).gather(1, target[:, None]).sum(), inputs)


def timed(run: Callable[[], Result], device: torch.device) -> tuple[Result, float]:
    """Return what `run` returns and the seconds it took, the device's unfinished work included."""
    _wait(device)
    started = time.perf_counter()
    result = run()
    _wait(device)
    return result, time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
