"""Run a model once under relevance rules and keep the tape, for relevance of any target."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrp.interpreter import Interpreter, UnsupportedOperation, require_frozen
from lrp.layers import block_of
from lrp.rules import ATTN_LRP, Rules, attribute, halve, ratio_add, z_plus

# Operations whose own gradient already hands R = a * G on: they move, pool or scale by constants.
_LINEAR = frozenset(
    """__get__ __getitem__ __neg__ cat chunk clone contiguous dropout expand expand_as flatten float
    masked_fill mean movedim narrow neg pad permute repeat reshape reshape_as roll select split
    squeeze stack sum to transpose type_as unbind unflatten unsqueeze view view_as""".split()  # noqa: SIM905 - a table of names
)


class Trace(Interpreter):
    """One forward pass of `model` on `images` under `rules`.

    Attributes:
        logits: (B, K), equal to the model's own up to rounding.
        operands: for each layer, what it multiplies: (x,) for a layer with weights, (q, k^T) or
            (attention, v) for an attention product. Swin's are (B * windows, ...), batch-major.
        blocks: for each transformer block, its input tokens.
        windows: for each block with shifted attention windows, the block itself.
    """

    def __init__(self, model: nn.Module, images: Tensor, rules: Rules = ATTN_LRP) -> None:
        require_frozen(model)
        super().__init__(model)
        self.rules = rules
        self.images = images.detach().clone().requires_grad_()
        self.operands: dict[str, tuple[Tensor, ...]] = {}
        self.blocks: dict[str, Tensor] = {}
        self.windows: dict[str, nn.Module] = {}
        with torch.enable_grad():
            self.logits = self.run(self.images)

    def enter(self, name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if name and block_of(name) == name and inputs and isinstance(inputs[0], Tensor):
            self.blocks[name] = inputs[0]
            if hasattr(module, "window_size") and hasattr(module, "shift_size"):
                self.windows[name] = module

    def _operand(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        # An alias of its own, so that relevance of this use is not mixed with that of others.
        return tuple(t.view_as(t) for t in tensors)

    def linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return self._weighted(F.linear, input, weight, bias)

    def conv2d(
        self, input: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        def convolve(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
            return F.conv2d(x, w, b, *args, **kwargs)

        return self._weighted(convolve, input, weight, bias)

    def _weighted(self, apply: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        name = self.layer_name(weight)
        if not input.requires_grad:
            return apply(input, weight, bias)
        (x,) = self.operands[name] = self._operand(input)
        if self.rules.linear == "z-plus":
            with torch.no_grad():
                y = apply(x, weight, bias)
            return z_plus(x, weight, y, apply)
        y = apply(x, weight, bias)
        return attribute(y, y, self.rules.epsilon) if self.rules.epsilon else y

    def matmul(self, input: Tensor, other: Tensor) -> Tensor:
        name = self.scope.next_product()
        if not (_varies(input) and _varies(other)):
            return torch.matmul(input, other)
        a, b = self.operands[name] = self._operand(input, other)
        return self._product(torch.matmul(a, b))

    def softmax(self, input: Tensor, dim: int, *args: Any, **kwargs: Any) -> Tensor:
        y = torch.softmax(input, dim)
        return attribute(input, y) if self.rules.softmax == "identity" else y

    def layer_norm(
        self,
        input: Tensor,
        normalized_shape: list[int],
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
    ) -> Tensor:
        if self.rules.norm == "identity":
            with torch.no_grad():
                y = F.layer_norm(input, normalized_shape, weight, bias, eps)
            return attribute(input, y)
        if self.rules.norm == "gradient":
            return F.layer_norm(input, normalized_shape, weight, bias, eps)
        dims = tuple(range(-len(normalized_shape), 0))
        deviation = (input.detach().var(dims, unbiased=False, keepdim=True) + eps).sqrt()
        y = (input - input.mean(dims, keepdim=True)) / deviation
        y = y if weight is None else y * weight
        return y if bias is None else y + bias

    def normalize(
        self, input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: None = None
    ) -> Tensor:
        return input / input.detach().norm(p, dim, keepdim=True).clamp_min(eps)

    def activate(self, func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self.rules.activation == "gradient":
            return func(input, *args, **kwargs)
        with torch.no_grad():
            y = func(input.clone() if kwargs.get("inplace") else input, *args, **kwargs)
        return attribute(input, y) if input.requires_grad else y

    def add(self, input: Any, other: Any, *, alpha: float = 1) -> Tensor:
        residual = _varies(input) and _varies(other) and input.shape == other.shape and alpha == 1
        if residual and self.rules.addition == "ratio":
            return ratio_add(input, other, len(self.images))
        return torch.add(input, other, alpha=alpha)

    def mul(self, input: Any, other: Any) -> Tensor:
        both = _varies(input) and _varies(other)
        y = torch.mul(input, other)
        return self._product(y) if both else y

    def _product(self, y: Tensor) -> Tensor:
        return halve(y) if self.rules.product == "half" else y

    def other(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        name = getattr(func, "__name__", str(func))
        result = func(*args, **kwargs)
        if name not in _LINEAR and _varies(result) and not self._allowed(name, args):
            layer = self.scope.current or "the model"
            raise UnsupportedOperation(f"no relevance rule for {name!r} in {layer}")
        return result

    @staticmethod
    def _allowed(name: str, args: Any) -> bool:
        """Say whether the image enters this operation only where it is linear in it."""
        if name in ("div", "__truediv__", "true_divide", "sub", "__sub__"):
            return not _varies(args[1])
        return not any(_varies(a) for a in args)


def _varies(value: Any) -> bool:
    """Say whether `value` depends on the image: a computed tensor in the graph, no parameter."""
    return isinstance(value, Tensor) and value.requires_grad and value.grad_fn is not None
