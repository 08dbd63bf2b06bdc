"""Run the rewritten float model and keep what each of its layers sees, to measure quantizers by.

It is the model as calibration passes see it (`quant.calibration.survey`): one layer's error is not
mixed up with that of the layers before it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from lrp.engine.interpreter import Interpreter, Linear
from quant.calibration.calibration import Calibration
from quant.calibration.origins import Affine
from quant.calibration.passes import Surveyed

ROWS, PRODUCTS = 2048, 48  # of a layer's input, of an attention product's images or windows
ROOM = 2**29  # bytes


@dataclass(frozen=True, eq=False)
class Seen:
    """A layer as the float model ran it.

    Attributes:
        operands: the input, as rows (..., C); or both factors of an attention product, (B, h, N, d)
            and so on.
        affine: weight (K, C) and bias (K,); None for an attention product.
        form: how its rows are laid.
    """

    name: str
    operands: tuple[Tensor, ...]
    affine: Affine | None = None
    form: Linear = field(default_factory=Linear)

    def drawn(self) -> "Seen":
        """Return the layer with at most `ROWS` rows (n, C), or `PRODUCTS` images or windows."""
        if self.affine is None:
            return replace(self, operands=tuple(_some(x, PRODUCTS) for x in self.operands))
        return replace(self, operands=(_some(self.operands[0].flatten(0, -2), ROWS),))


def _some(x: Tensor, count: int) -> Tensor:
    """Draw at most `count` rows, the same ones of equally long operands."""
    if len(x) <= count:
        return x
    rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:count]
    return x[rows.to(x.device)]


class FloatLayers(Interpreter):
    """Run the rewritten float model; `on_layer` is called with each of its layers and its output.

    Attributes:
        replayed: outputs of the first layers, the last of them first: they are not computed, and
            `on_layer` is not called with them.
    """

    def __init__(self, surveyed: Surveyed, on_layer: Callable[[Seen, Tensor], None] | None) -> None:
        super().__init__(surveyed.turned.model)
        self.surveyed, self.on_layer, self.names = surveyed, on_layer, set(surveyed.layers)
        self.replayed: list[Tensor] = []

    def weigh(
        self, name: str, form: Linear, input: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        if name in self.names and self.replayed:
            return self.replayed.pop()
        affine = self.surveyed.affine(name, weight, bias)
        output = form.apply(input, *affine)
        if name in self.names and self.on_layer is not None:
            self.on_layer(Seen(name, (form.rows(input.detach()),), affine, form), output)
        return output

    def multiply(self, name: str, input: Tensor, other: Tensor) -> Tensor:
        if name in self.names and self.replayed:
            return self.replayed.pop()
        output = torch.matmul(input, other)
        if name in self.names and self.on_layer is not None:
            self.on_layer(Seen(name, (input.detach(), other.detach())), output)
        return output


class Replay:
    """The rewritten float model run once, to be run again from any layer on with another output.

    Args:
        gradients: whether outputs and logits keep their graph.

    Attributes:
        seen: each layer as it ran.
        outputs: each layer's output.
        logits: (B, K).
    """

    def __init__(self, surveyed: Surveyed, images: Tensor, gradients: bool = False) -> None:
        self.seen: dict[str, Seen] = {}
        self.outputs: dict[str, Tensor] = {}
        self._surveyed = surveyed
        self._images = images.detach().clone().requires_grad_(gradients)
        with torch.set_grad_enabled(gradients):
            self.logits = FloatLayers(surveyed, self._keep).run(self._images)

    def _keep(self, seen: Seen, output: Tensor) -> None:
        self.seen[seen.name], self.outputs[seen.name] = seen, output

    @torch.no_grad()
    def changed(self, name: str, output: Tensor) -> Tensor:
        """Return the logits (B, K) where `output` is what `name` gives.

        Layers before it are not computed again.
        """
        before = list(self.outputs)[: list(self.outputs).index(name)]
        again = FloatLayers(self._surveyed, None)
        again.replayed = [*(self.outputs[layer] for layer in before), output][::-1]
        return again.run(self._images)


def at_once(surveyed: Surveyed, images: Tensor, copies: int) -> int:
    """Return how many of `images` to run at once, so that their values take `ROOM` at most.

    By the model alone, not by what memory is free: on any machine the same sums are rounded.

    Args:
        images: (B, 3, H, W), at least one.
        copies: as many times as a layer's output are held of every layer.
    """
    outputs = Replay(surveyed, images[:1]).outputs.values()
    held = copies * sum(output.numel() * output.element_size() for output in outputs)
    return max(1, min(len(images), ROOM // held))


@torch.no_grad()
def look(calibration: Calibration, images: Tensor, name: str) -> Seen:
    """Return what one layer sees of `images` (B, 3, H, W), drawn.

    Raises:
        ValueError: the model has no such layer.
    """
    seen: list[Seen] = []

    def keep(layer: Seen, _output: Tensor) -> None:
        if layer.name == name and not seen:
            seen.append(layer.drawn())

    FloatLayers(calibration.surveyed(), keep).run(images)
    if not seen:
        raise ValueError(f"no layer {name!r} in this model: choose one of its layers")
    return seen[0]
