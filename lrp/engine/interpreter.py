"""Run an unmodified model operation by operation, and let subclasses say what each one does.

Listing layers, tracing, relevance, calibration and fake quantization are interpreters over this
one mechanism. Operations are seen through `torch.overrides.TorchFunctionMode`, which is per
thread; the running module comes from `lrp.engine.scope`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from lrp.engine.scope import parameter_owners, scope_of

# What torch calls an operation -> the method that handles it. Methods keep torch's argument names.
OPERATIONS: dict[Callable[..., Any], str] = {
    F.linear: "linear",
    F.conv2d: "conv2d",
    torch.conv2d: "conv2d",
    F.scaled_dot_product_attention: "attention",
    F.layer_norm: "layer_norm",
    F.rms_norm: "rms_norm",
    F.normalize: "normalize",
    **dict.fromkeys((torch.matmul, torch.bmm, Tensor.matmul, Tensor.bmm), "matmul"),
    **dict.fromkeys((F.softmax, torch.softmax, Tensor.softmax), "softmax"),
    **dict.fromkeys((torch.add, Tensor.add), "add"),
    **dict.fromkeys((torch.mul, Tensor.mul), "mul"),
    **dict.fromkeys((F.gelu, F.silu, F.relu, F.sigmoid, torch.sigmoid, Tensor.sigmoid), "activate"),
    **dict.fromkeys((F.tanh, torch.tanh, Tensor.tanh), "activate"),
}
# Python spells operators with their own methods; they are the same operations.
OPERATIONS |= {
    getattr(Tensor, spelled): name
    for name, spellings in {
        "matmul": ("__matmul__",),
        "add": ("__add__", "__radd__", "__iadd__"),
        "mul": ("__mul__", "__rmul__", "__imul__"),
    }.items()
    for spelled in spellings
}


class UnsupportedOperation(ValueError):
    """A model does something that is not handled."""


class Interpreter(TorchFunctionMode):
    """Run `model` with each operation handled by the method `OPERATIONS` names.

    The base class computes what torch computes, with attention decomposed into
    matmul1 - softmax - matmul2, which timm hides behind one fused call.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.scope = scope_of(model)
        self._owners = parameter_owners(model)

    def run(self, images: Tensor) -> Tensor:
        """Return the model's logits (B, K) for `images` (B, 3, H, W)."""
        self.scope.reset(self.enter)
        try:
            with self:
                return self.model(images)
        finally:
            self.scope.reset()

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = OPERATIONS.get(func)
        if name == "activate":
            return self.activate(func, *args, **(kwargs or {}))
        if name is not None:
            return getattr(self, name)(*args, **(kwargs or {}))
        return self.other(func, args, kwargs or {})

    def enter(self, name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Hear that the module called `name` starts with `inputs`."""

    def layer_name(self, weight: Tensor) -> str:
        """Return the dotted name of the layer that owns `weight`."""
        return self._owners.get(id(weight), self.scope.current)

    def other(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run an operation that no method handles."""
        return func(*args, **kwargs)

    def linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.linear(input, weight, bias)

    def conv2d(
        self, input: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        return F.conv2d(input, weight, bias, *args, **kwargs)

    def matmul(self, input: Tensor, other: Tensor) -> Tensor:
        return torch.matmul(input, other)

    def softmax(self, input: Tensor, dim: int, *args: Any, **kwargs: Any) -> Tensor:
        return torch.softmax(input, dim)

    def layer_norm(
        self,
        input: Tensor,
        normalized_shape: list[int],
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
    ) -> Tensor:
        return F.layer_norm(input, normalized_shape, weight, bias, eps)

    def rms_norm(
        self,
        input: Tensor,
        normalized_shape: list[int],
        weight: Tensor | None = None,
        eps: float | None = None,
    ) -> Tensor:
        return F.rms_norm(input, normalized_shape, weight, eps)

    def normalize(self, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return F.normalize(input, *args, **kwargs)

    def activate(self, func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return func(input, *args, **kwargs)

    def add(self, input: Any, other: Any, *, alpha: float = 1) -> Tensor:
        return torch.add(input, other, alpha=alpha)

    def mul(self, input: Any, other: Any) -> Tensor:
        return torch.mul(input, other)

    def attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Decompose `scaled_dot_product_attention`; (B, h, N, d) in and out."""
        if is_causal or enable_gqa or dropout_p:
            raise UnsupportedOperation(
                f"attention in {self.scope.current!r} is causal, grouped or uses dropout: "
                "only plain attention in evaluation mode is handled"
            )
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        scores = self.matmul(query * scale, key.transpose(-2, -1))  # (B, h, N, N)
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, float("-inf"))
        elif attn_mask is not None:
            scores = self.add(scores, attn_mask)
        return self.matmul(self.softmax(scores, dim=-1), value)


def require_frozen(model: nn.Module) -> None:
    """Check that no parameter wants a gradient: only then does a gradient mean "saw the image".

    Raises:
        ValueError: a parameter requires a gradient.
    """
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            raise ValueError(f"{name} requires a gradient: call model.eval().requires_grad_(False)")
