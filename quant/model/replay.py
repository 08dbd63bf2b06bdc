"""Run the rewritten float model once, then again from any layer on with its output changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrp.engine.interpreter import Interpreter
from quant.calibration.passes import Plan
from quant.layers.quantized import patches
from quant.model.watch import Seen


class Replay(Interpreter):
    """The float model as calibration passes see it (`quant.calibration.survey`), on a few images.

    Args:
        gradients: whether outputs and logits keep their graph.

    Attributes:
        seen: each layer's operands, a convolution's input as patches (B, N, C).
        outputs: each layer's output.
        logits: (B, K).
    """

    def __init__(
        self, model: nn.Module, plan: Plan, images: Tensor, gradients: bool = False
    ) -> None:
        super().__init__(model)
        self.plan, self.names = plan, set(plan.layers)
        self.seen: dict[str, Seen] = {}
        self.outputs: dict[str, Tensor] = {}
        self._images = images.detach().clone().requires_grad_(gradients)
        self._known: list[Tensor] | None = None  # outputs not to be computed again
        with torch.set_grad_enabled(gradients):
            self.logits = self.run(self._images)

    @torch.no_grad()
    def changed(self, name: str, output: Tensor) -> Tensor:
        """Return the logits (B, K) where `output` is what `name` gives.

        Layers before it are not computed again.
        """
        before = list(self.outputs)[: list(self.outputs).index(name)]
        self._known = [*(self.outputs[layer] for layer in before), output][::-1]
        return self.run(self._images)

    def _layer(self, seen: Callable[[], Seen], name: str, compute: Callable[[], Tensor]) -> Tensor:
        if name not in self.names:
            return compute()
        if self._known:
            return self._known.pop()
        output = compute()
        if self._known is None:
            self.seen[name], self.outputs[name] = seen(), output
        return output

    def linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        name = self.layer_name(weight)
        affine = self.plan.affine(name, weight, bias)
        return self._layer(
            lambda: Seen(name, (input.detach(),), affine), name, lambda: F.linear(input, *affine)
        )

    def conv2d(
        self, input: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        name = self.layer_name(weight)
        kernel, added = self.plan.affine(name, weight, bias)

        def seen() -> Seen:
            rows = patches(input.detach(), weight.shape[2:], *args, **kwargs)
            return Seen(name, (rows,), (kernel, added))

        return self._layer(
            seen,
            name,
            lambda: F.conv2d(input, kernel.view(weight.shape), added, *args, **kwargs),
        )

    def matmul(self, input: Tensor, other: Tensor) -> Tensor:
        name = self.scope.next_product()
        return self._layer(
            lambda: Seen(name, (input.detach(), other.detach())),
            name,
            lambda: torch.matmul(input, other),
        )


def rows_of(output: Tensor, rows: Tensor) -> Tensor:
    """Return `output` as `rows` are laid: a convolution's (B, K, h, w) as (B, N, K)."""
    return output if output.dim() == rows.dim() else output.flatten(2).transpose(1, 2)


def laid(rows: Tensor, output: Tensor) -> Tensor:
    """Return `rows` as `output` is laid: the inverse of `rows_of`."""
    return rows if output.dim() == rows.dim() else rows.transpose(1, 2).view(output.shape)
