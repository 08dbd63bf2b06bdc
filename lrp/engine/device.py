"""Choose where a model runs, and time what runs there."""

import time
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

Result = TypeVar("Result")


def resolve_device(name: str | torch.device = "auto") -> torch.device:
    """Return the device called `name`; `auto` takes CUDA, else MPS, else the CPU.

    Raises:
        ValueError: the name is unknown, or this machine has no such device.
    """
    if str(name) == "auto":
        kinds = (torch.device(kind) for kind in ("cuda", "mps", "cpu"))
        return next(device for device in kinds if _present(device))
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device {name!r} is unknown: use auto, cpu, cuda or mps") from None
    if device.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"device {name!r} is not supported: use auto, cpu, cuda or mps")
    if not _present(device):
        raise ValueError(f"device {name!r} is not on this machine: use auto or cpu")
    return device


def _present(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    return device.type != "mps" or torch.backends.mps.is_available()


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
