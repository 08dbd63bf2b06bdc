"""Run an unmodified model operation by operation, and let subclasses say what each one does.

Listing layers, tracing, relevance, calibration and fake quantization are interpreters over this
one mechanism. Operations are seen through `torch.overrides.TorchFunctionMode`, which is per
thread; the running module comes from `lrp.engine.scope`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from lrp.engine.names import owner_of
from lrp.engine.scope import scope_of

# The method that handles an operation, and what torch calls it: operators have names of their own.
# Methods keep torch's argument names.
_SPELLINGS: dict[str, tuple[Callable[..., Any], ...]] = {
    "linear": (F.linear,),
    "conv2d": (F.conv2d, torch.conv2d),
    "attention": (F.scaled_dot_product_attention,),
    "layer_norm": (F.layer_norm,),
    "rms_norm": (F.rms_norm,),
    "normalize": (F.normalize,),
    "matmul": (torch.matmul, torch.bmm, Tensor.matmul, Tensor.bmm, Tensor.__matmul__),
    "softmax": (F.softmax, torch.softmax, Tensor.softmax),
    "add": (torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__, Tensor.__iadd__),
    "mul": (torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__, Tensor.__imul__),
    "activate": (
        *(F.gelu, F.silu, F.relu, F.sigmoid, F.tanh),
        *(torch.sigmoid, torch.tanh, Tensor.sigmoid, Tensor.tanh),
    ),
}
_NORMS = ("layer_norm", "rms_norm")
OPERATIONS = {spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings}

Rows = Callable[[Tensor], Tensor]  # a layer on rows (..., C)
Size = int | tuple[int, ...]


class UnsupportedOperation(ValueError):
    """A model does something that is not handled."""


@dataclass(frozen=True)
class Linear:
    """How a linear layer multiplies: its inputs (..., C) are rows, its weight is (K, C)."""

    def apply(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return the layer's output in float."""
        return F.linear(input, weight, bias)

    def rows(self, input: Tensor) -> Tensor:
        """Return what the weight multiplies."""
        return input

    def by_rows(self, layer: Rows, input: Tensor) -> Tensor:
        """Run `layer`, which takes rows."""
        return layer(input)

    def as_rows(self, output: Tensor) -> Tensor:
        """Return an output as `layer` gives it."""
        return output

    def laid(self, rows: Tensor, size: Sequence[int]) -> Tensor:
        """Return rows of an output as `apply` gives it: the inverse of `as_rows`."""
        return rows


@dataclass(frozen=True)
class Convolution(Linear):
    """How a convolution multiplies: its rows are patches, its weight is (K, C kh kw).

    The methods take images (B, C, H, W) for inputs and (B, K, h, w) for outputs, and rows (B, h w,
    C kh kw) and (B, h w, K).
    """

    kernel: tuple[int, ...]
    stride: Size = 1
    padding: str | Size = 0
    dilation: Size = 1
    groups: int = 1

    def apply(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        weight = weight.view(len(weight), -1, *self.kernel)
        return F.conv2d(input, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def rows(self, input: Tensor) -> Tensor:
        """Cut images into patches.

        Raises:
            UnsupportedOperation: the convolution is grouped.
        """
        if self.groups != 1:
            raise UnsupportedOperation(
                f"a convolution in {self.groups} groups: only groups=1 is handled"
            )
        padding = self.padding
        if isinstance(padding, str):
            padding = (0, 0) if padding == "valid" else tuple(size // 2 for size in self.kernel)
        return F.unfold(input, self.kernel, self.dilation, padding, self.stride).transpose(1, 2)

    def by_rows(self, layer: Rows, input: Tensor) -> Tensor:
        output = layer(self.rows(input))
        # On "meta" nothing is computed but the size of the output.
        image = input.new_empty(1, 1, *input.shape[2:], device="meta")
        size = self.apply(image, image.new_empty(1, 1, *self.kernel)).shape[2:]
        return self.laid(output, size)

    def as_rows(self, output: Tensor) -> Tensor:
        return output.flatten(2).transpose(1, 2)

    def laid(self, rows: Tensor, size: Sequence[int]) -> Tensor:
        return rows.transpose(1, 2).unflatten(2, tuple(size))


class Interpreter(TorchFunctionMode):
    """Run `model` with each operation handled by a method, which computes what torch computes.

    A subclass overrides what it wants to know or to do otherwise::

        run
        |- enter, leave             a module starts, and ends
        |- linear, conv2d           each calls
        |  `- weigh                 a layer with weights, by its name
        |- attention                torch's fused attention, taken apart into what follows
        |- matmul                   calls
        |  `- multiply              a product of two activations, by its name
        |- softmax, layer_norm, rms_norm, normalize, activate, add, mul
        |- passed                   what add, layer_norm and rms_norm gave, by its name
        `- other                    anything else

    For example, a model without what one layer adds::

        class Without(Interpreter):
            def weigh(self, name, form, input, weight, bias):
                output = super().weigh(name, form, input, weight, bias)
                return output * 0 if name == "blocks.3.mlp.fc2" else output

        logits = Without(model).run(images)
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.scope = scope_of(model)
        # A parameter that several modules share belongs to the last of them.
        named = model.named_parameters(remove_duplicate=False)
        self._owners = {id(parameter): owner_of(name) for name, parameter in named}

    def run(self, images: Tensor) -> Tensor:
        """Return the model's logits (B, K) for `images` (B, 3, H, W)."""
        logits: Tensor = self.within(self.model, images)
        return logits

    def within(self, module: nn.Module, *inputs: Any) -> Any:
        """Return what `module`, the model or a part of it, gives for `inputs`."""
        self.scope.reset(self.enter, self.leave)
        try:
            with self:
                return module(*inputs)
        finally:
            self.scope.reset()

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = OPERATIONS.get(func)
        if name == "activate":
            return self.activate(func, *args, **(kwargs or {}))
        if name is None:
            return self.other(func, args, kwargs or {})
        output = getattr(self, name)(*args, **(kwargs or {}))
        if name == "add":
            return self.passed(self.scope.next_sum(), output)
        return self.passed(self.scope.current, output) if name in _NORMS else output

    def enter(self, name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Note that the module called `name` starts with `inputs`."""

    def leave(self, name: str, module: nn.Module, output: Any) -> None:
        """Note what the module called `name` gave; None where it raised an error."""

    def layer_name(self, weight: Tensor) -> str:
        """Return the dotted name of the layer that owns `weight`."""
        return self._owners.get(id(weight), self.scope.current)

    def other(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run an operation that no method handles."""
        return func(*args, **kwargs)

    def passed(self, name: str, output: Tensor) -> Tensor:
        """Pass on what a sum, or the normalisation of a module, gave; `name` is its own."""
        return output

    def weigh(
        self, name: str, form: Linear, input: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        """Apply the layer with weights called `name`."""
        return form.apply(input, weight, bias)

    def multiply(self, name: str, input: Tensor, other: Tensor) -> Tensor:
        """Multiply two activations; `name` is the product's."""
        return torch.matmul(input, other)

    def linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return self.weigh(self.layer_name(weight), Linear(), input, weight, bias)

    def conv2d(
        self, input: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        form = Convolution(tuple(weight.shape[2:]), *args, **kwargs)
        return self.weigh(self.layer_name(weight), form, input, weight, bias)

    def matmul(self, input: Tensor, other: Tensor) -> Tensor:
        return self.multiply(self.scope.next_product(), input, other)

    def softmax(self, input: Tensor, dim: int, *args: Any, **kwargs: Any) -> Tensor:
        return torch.softmax(input, dim)

    def layer_norm(self, *args: Any, **kwargs: Any) -> Tensor:
        return F.layer_norm(*args, **kwargs)

    def rms_norm(self, *args: Any, **kwargs: Any) -> Tensor:
        return F.rms_norm(*args, **kwargs)

    def normalize(self, *args: Any, **kwargs: Any) -> Tensor:
        return F.normalize(*args, **kwargs)

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
