"""Run a model once under relevance rules and keep the tape, for relevance of any target."""

from typing import Any, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrp.engine.interpreter import Interpreter, Linear, UnsupportedOperation, require_frozen
from lrp.engine.layers import Stage, list_layers
from lrp.engine.names import block_of, is_within
from lrp.propagation.equations import (
    absolute_add,
    alpha_beta,
    attribute,
    gamma_rule,
    half_matmul,
    halve,
    layer_norm,
    magnitude,
    ratio_add,
)
from lrp.propagation.rules import ATTN_LRP, Rules

# Operations whose own gradient already hands R = a * G on: they move, pool or scale by constants.
_LINEAR = frozenset(
    """__get__ __getitem__ __neg__ adaptive_avg_pool2d avg_pool2d cat chunk clone contiguous
    dropout expand expand_as flatten float interpolate masked_fill mean movedim narrow neg pad
    permute repeat reshape reshape_as roll select split squeeze stack sum to transpose type_as
    unbind unflatten unfold unsqueeze view view_as""".split()  # noqa: SIM905 - a table of names
)
# Linear where only their first argument depends on the image.
_BY_CONSTANT = frozenset(("div", "__truediv__", "true_divide", "sub", "__sub__"))


class Trace(Interpreter):
    """One forward pass of `model` on `images` under `rules`.

    Attributes:
        layers: the model's layers by name, in the order they run.
        logits: (B, K), equal to the model's own up to rounding.
        operands: for each layer, what it multiplies: (x,) for a layer with weights, (q, k^T) or
            (attention, v) for an attention product. Swin's are (B * windows, ...), batch-major.
        blocks: for each transformer block, its input tokens.
        windows: for each block with shifted attention windows, the block itself.
        grids: for each block, the (rows, columns) its tokens lie in: those of the last convolution
            outside any block; under "", of the last one in the model.
    """

    def __init__(self, model: nn.Module, images: Tensor, rules: Rules = ATTN_LRP) -> None:
        require_frozen(model)
        super().__init__(model)
        for name, module in model.named_modules():
            if isinstance(module, nn.RNNBase):  # torch shows no interpreter what happens inside
                self._refuse(type(module).__name__, name)
        _, channels, height, width = images.shape
        layers = list_layers(model, (channels, height, width))
        self.layers = {layer.name: layer for layer in layers}
        self._attentions = {layer.attention for layer in layers if layer.attention}
        self.rules = rules
        self.images = images.detach().clone().requires_grad_()
        self.operands: dict[str, tuple[Tensor, ...]] = {}
        self.blocks: dict[str, Tensor] = {}
        self.windows: dict[str, nn.Module] = {}
        self.grids: dict[str, tuple[int, int]] = {}
        with torch.enable_grad():
            self.logits = self.run(self.images)

    def enter(self, name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if name and block_of(name) == name and inputs and isinstance(inputs[0], Tensor):
            self.blocks[name] = inputs[0]
            if "" in self.grids:
                self.grids[name] = self.grids[""]
            if hasattr(module, "window_size") and hasattr(module, "shift_size"):
                self.windows[name] = module

    def _operand(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        # An alias of its own, so that relevance of this use is not mixed with that of others.
        return tuple(t.view_as(t) for t in tensors)

    def conv2d(self, *args: Any, **kwargs: Any) -> Tensor:
        y = super().conv2d(*args, **kwargs)
        if not block_of(self.scope.current):
            self.grids[""] = (y.shape[-2], y.shape[-1])
        return y

    def weigh(
        self, name: str, form: Linear, input: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        """Apply the layer with weights called `name` under its rule."""
        if not input.requires_grad:
            return form.apply(input, weight, bias)
        (x,) = self.operands[name] = self._operand(input)
        y = form.apply(x, weight, bias)
        gamma = self._gamma(name, weight)
        if self.rules.linear == "epsilon" or (self.rules.linear == "gamma" and not gamma):
            return attribute(y, y, self.rules.epsilon) if self.rules.epsilon else y
        magnitudes = form.apply(magnitude(x), weight.abs())
        spread = None if bias is None else bias.view(-1, *[1] * (weight.dim() - 2))
        if self.rules.linear == "gamma":
            return gamma_rule(y, magnitudes, spread, gamma)
        alpha = self.rules.alpha if self.rules.linear == "alpha-beta" else 1.0
        return alpha_beta(y, magnitudes, spread, alpha)

    def _gamma(self, name: str, weight: Tensor) -> float:
        if weight.dim() > 2:
            return self.rules.gamma_convolution
        return self.rules.gamma_attention if self.layers[name].attention else self.rules.gamma

    def multiply(self, name: str, input: Tensor, other: Tensor) -> Tensor:
        """Apply the attention product called `name` under its rule."""
        if not (_varies(input) and _varies(other)):
            return torch.matmul(input, other)
        a, b = self.operands[name] = self._operand(input, other)
        if self.rules.softmax == "constant" and self.layers[name].stage is Stage.MIX:
            return torch.matmul(a.detach(), b)  # attention is a constant: v takes all
        if self.rules.product == "half":
            return half_matmul(a, b)
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
        return layer_norm(input, normalized_shape, weight, bias, eps)

    def rms_norm(
        self,
        input: Tensor,
        normalized_shape: list[int],
        weight: Tensor | None = None,
        eps: float | None = None,
    ) -> Tensor:
        y = F.rms_norm(input, normalized_shape, weight, eps)
        # With a constant deviation each value is only scaled: both rules hand it on unchanged.
        return y if self.rules.norm == "gradient" else attribute(input, y)

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
        varying = [value for value in (input, other) if _varies(value)]
        if self._on_heads(input, other):
            y = torch.add(input, other, alpha=alpha)
            # Of two, a rotation of queries or keys, which is linear in them; of one, a bias.
            return self._biased(varying[0], y) if len(varying) == 1 else y
        if len(varying) == 2 and input.shape == other.shape and alpha == 1:
            return self._residual(input, other)
        return torch.add(input, other, alpha=alpha)

    def _on_heads(self, *values: Any) -> bool:
        """Return whether an attention works on values of its heads, (B, h, N, ...)."""
        dims = max(value.dim() for value in values if isinstance(value, Tensor))
        return dims > 3 and any(is_within(self.scope.current, a) for a in self._attentions)

    def _residual(self, a: Tensor, b: Tensor) -> Tensor:
        if self.rules.addition == "ratio":
            return ratio_add(a, b, len(self.images))
        return absolute_add(a, b) if self.rules.addition == "absolute" else a + b

    def _biased(self, scores: Tensor, y: Tensor) -> Tensor:
        """Under the identity rule, give attention scores all relevance, position biases none."""
        whole = self.rules.softmax == "identity" and scores.shape == y.shape
        return attribute(scores, y) if whole else y

    def mul(self, input: Any, other: Any) -> Tensor:
        both = _varies(input) and _varies(other)
        y = torch.mul(input, other)
        return self._product(y) if both else y

    def _product(self, y: Tensor) -> Tensor:
        if self.rules.product == "gradient":
            return y
        return halve(attribute(y, y, self.rules.epsilon) if self.rules.product == "epsilon" else y)

    def other(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        name = getattr(func, "__name__", str(func))
        if name.endswith("_") and not name.endswith("__") and any(map(_varies, args[:1])):
            self._refuse(name, self.scope.current)  # in place: it would tear the tape
        result = func(*args, **kwargs)
        several = isinstance(result, tuple | list)
        varies = any(map(_varies, result)) if several else _varies(result)
        if varies and name not in _LINEAR and not (name in _BY_CONSTANT and not _varies(args[1])):
            self._refuse(name, self.scope.current)
        return result

    def _refuse(self, operation: str, module: str) -> NoReturn:
        where = module or "the model"
        raise UnsupportedOperation(f"no relevance rule for {operation!r} in {where}")


def _varies(value: Any) -> bool:
    """Return whether `value` depends on the image: a computed tensor in the graph, no parameter."""
    return isinstance(value, Tensor) and value.requires_grad and value.grad_fn is not None
