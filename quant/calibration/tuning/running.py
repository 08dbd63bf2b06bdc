"""Run a model, or one block of it, with some of its layers quantized."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from lrp.engine.interpreter import Interpreter, Linear
from lrp.engine.names import block_of
from quant.calibration.passes import Surveyed
from quant.primitives.quantizers import Quantizer

CHUNK = 16  # images at a time
DRAWS = 2  # of gradients, an image
Rows = Mapping[str, Callable[..., Tensor]]


class _Reached(Exception):
    """What was to be seen has been seen: the rest of the model need not run."""


class Running(Interpreter):
    """The rewritten model with `layers` in place of those of their names.

    Args:
        stream: quantizers of residual sums and LayerNorm outputs, by name.
    """

    def __init__(
        self, surveyed: Surveyed, layers: Rows, stream: Mapping[str, Quantizer] | None = None
    ) -> None:
        super().__init__(surveyed.turned.model)
        self._surveyed, self._layers, self._stream = surveyed, layers, stream or {}

    def having(self, layers: Rows) -> "Running":
        """Return the same with these layers in place of those of their names."""
        return Running(self._surveyed, {**self._layers, **layers}, self._stream)

    def weigh(
        self, name: str, form: Linear, input: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        if name in self._layers:
            return form.by_rows(self._layers[name], input)
        return form.apply(input, *self._surveyed.affine(name, weight, bias))

    def multiply(self, name: str, input: Tensor, other: Tensor) -> Tensor:
        return self._layers.get(name, torch.matmul)(input, other)

    def passed(self, name: str, output: Tensor) -> Tensor:
        return self._stream[name](output) if name in self._stream else output

    def block(self, name: str, input: Tensor) -> Tensor:
        """Run one block alone, on its input."""
        output: Tensor = self.within(self.model.get_submodule(name), input)
        return output

    def into(self, block: str, images: Tensor) -> Tensor:
        """Return the input of a block for `images` (B, 3, H, W); nothing after it is run."""
        until = _Until(block, self._surveyed, self._layers, self._stream)
        return torch.cat([until.input(chunk) for chunk in images.split(CHUNK)])

    def out_of(self, block: str, inputs: Tensor) -> Tensor:
        """Return the output of a block for its inputs, (B, ..., C) both."""
        with torch.no_grad():
            return torch.cat([self.block(block, chunk) for chunk in inputs.split(CHUNK)])


class _Until(Running):
    """Run a model until a block of it starts."""

    def __init__(self, block: str, *given: Any) -> None:
        super().__init__(*given)
        self._block, self._found = block, torch.empty(0)

    @torch.no_grad()
    def input(self, images: Tensor) -> Tensor:
        """Return what the block gets."""
        with suppress(_Reached):
            self.run(images)
        return self._found

    def enter(self, name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if name == self._block:
            self._found = inputs[0]
            raise _Reached


class _Blocks(Running):
    """Run the float model once; keep what blocks get, and what they give."""

    def __init__(self, surveyed: Surveyed) -> None:
        super().__init__(surveyed, {})
        self.inputs: dict[str, list[tuple[Any, ...]]] = {}
        self.outputs: dict[str, Any] = {}

    def enter(self, name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if name and block_of(name) == name:
            self.inputs.setdefault(name, []).append(inputs)

    def leave(self, name: str, module: nn.Module, output: Any) -> None:
        if name in self.inputs:
            self.outputs[name] = output


@torch.no_grad()
def find_blocks(surveyed: Surveyed, images: Tensor) -> list[str]:
    """Return the blocks, in order, that are run once and alone give what they give in the model.

    Args:
        images: any, (B, 3, H, W).
    """
    running, finder = Running(surveyed, {}), _Blocks(surveyed)
    finder.run(images)

    def alone(name: str, calls: list[tuple[Any, ...]]) -> bool:
        given, gave = calls[0], finder.outputs[name]
        if len(calls) > 1 or not all(isinstance(x, Tensor) for x in (*given, gave)):
            return False
        try:
            return torch.allclose(gave, running.block(name, *given), rtol=1e-3, atol=1e-4)
        except TypeError:  # it takes more than one tensor
            return False

    return [name for name, calls in finder.inputs.items() if alone(name, calls)]


def weigh_tokens(
    surveyed: Surveyed, blocks: Sequence[str], images: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    """Return how much a squared error of each token of a block's output counts, (B, ..., 1).

    The mean of the squared gradients, along the channels, of the float model's logits, drawn such
    that its mean is the curvature of the divergence (Fisher information): our reading.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in blocks}
    for chunk in images.split(CHUNK // 2):
        run = _Blocks(surveyed)
        logits = run.run(chunk.detach().clone().requires_grad_())
        outputs = [run.outputs[name] for name in blocks]
        share = logits.detach().softmax(1)
        total = [torch.zeros_like(output[..., :1]) for output in outputs]
        for draw in range(DRAWS):
            noise = torch.randn(share.shape, generator=generator).to(share) * share.sqrt()
            moved = (logits * (noise - share * noise.sum(1, keepdim=True))).sum()
            again = draw < DRAWS - 1
            slopes = torch.autograd.grad(moved, outputs, retain_graph=again, materialize_grads=True)
            total = [t + g.square().mean(-1, True) for t, g in zip(total, slopes, strict=True)]
        for name, one in zip(blocks, total, strict=True):
            found[name].append(one)
    return {name: _evened(torch.cat(parts)) for name, parts in found.items()}


def _evened(weights: Tensor) -> Tensor:
    """Return weights whose mean is 1; ones where there is nothing to go by."""
    mean = weights.mean()
    return weights / mean if mean > 0 and bool(mean.isfinite()) else torch.ones_like(weights)
