"""One calibration pass at one width: every layer is quantized in turn, as the model runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lrp.engine.interpreter import Interpreter, Linear
from lrp.engine.progress import SILENT, Progress
from quant.calibration.layer_solver import Rows, SolvedLinear, solve_linear, solve_mix, solve_scores
from quant.calibration.presets import Preset
from quant.calibration.survey import Affine
from quant.layers.quantized import QuantizedProduct
from quant.primitives.quantizers import Quantizer

ROWS = 8192  # of a layer's input, kept for its weights
PRODUCT_ROWS = 1200  # query tokens an attention product is fitted on


@dataclass(frozen=True, eq=False)
class Plan:
    """What every pass over one model shares.

    Attributes:
        layers: the names to quantize, in the order they run.
        weights: rewritten weights and biases by layer name (`quant.calibration.survey`).
        gains, activated, convolutions: what comes before a layer (`survey.Survey`).
    """

    preset: Preset
    layers: Sequence[str]
    weights: Mapping[str, Affine]
    gains: Mapping[str, Tensor]
    activated: Collection[str]
    convolutions: Collection[str]

    def kind(self, name: str) -> str:
        """Say what a layer's input is: "norm", "gelu", "patches" or "plain"."""
        if name in self.gains:
            return "norm"
        if name in self.convolutions:
            return "patches"
        return "gelu" if name in self.activated else "plain"

    def affine(self, name: str, weight: Tensor, bias: Tensor | None) -> Affine:
        """Return a layer's weight (K, C) and bias (K,), rewritten where they are."""
        if name in self.weights:
            return self.weights[name]
        rows = weight.detach().flatten(1)
        return rows, rows.new_zeros(len(rows)) if bias is None else bias.detach()


@dataclass(eq=False)
class Pass:
    """What one pass found: every layer at one activation width.

    Attributes:
        linear: by layer name; weights at every width asked for.
        products: by name; both operands' quantizers at this width.
    """

    bits: int
    linear: dict[str, SolvedLinear] = field(default_factory=dict)
    products: dict[str, tuple[Quantizer, Quantizer]] = field(default_factory=dict)


class Solver(Interpreter):
    """Run the float model and the quantized one side by side, quantizing each layer as it comes.

    The batch holds the images twice. The first half runs in float; the second runs through the
    layers quantized so far, so each layer is fitted to the inputs it will really see. Where the
    preset is not sequential, the batch holds them once.
    """

    def __init__(
        self,
        model: nn.Module,
        plan: Plan,
        bits: int,
        weight_bits: Sequence[int],
        progress: Progress = SILENT,
    ) -> None:
        super().__init__(model)
        self.plan, self.bits, self.weight_bits = plan, bits, tuple(weight_bits)
        self.progress = progress
        self.wanted: Collection[str] = set(plan.layers)
        self.generator = torch.Generator().manual_seed(bits)
        self.found = Pass(bits)
        self._softmaxed: Tensor | None = None

    @torch.no_grad()
    def solve(self, images: Tensor) -> Pass:
        """Quantize every layer on `images` (B, 3, H, W).

        Raises:
            ValueError: a layer's input is not finite (the layer is named).
            Cancelled: the work was to stop.
        """
        self.run(torch.cat([images, images]) if self.plan.preset.sequential else images)
        self._softmaxed = None
        return self.found

    def _halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the float half and the quantized half of a batch (the same one without)."""
        if not self.plan.preset.sequential:
            return x, x
        first, second = x.chunk(2)
        return first, second

    @contextmanager
    def _solving(self, name: str, **parts: Tensor) -> Iterator[None]:
        """Check what the layer called `name` computes with, and name it where that fails."""
        self.progress.check()
        for part, values in parts.items():
            if not bool(torch.isfinite(values).all()):
                raise ValueError(f"the {part} of {name} is not finite: check weights and images")
        try:
            yield
        except (torch.linalg.LinAlgError, ValueError) as error:
            raise ValueError(
                f"{name} cannot be quantized (are its values too large?): {error}"
            ) from None
        if self.progress is not None:
            done = len(self.found.linear) + len(self.found.products)
            self.progress(done, len(self.plan.layers))

    def weigh(
        self, name: str, form: Linear, input: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        if name not in self.wanted:
            return form.apply(input, weight, bias)
        affine = self.plan.affine(name, weight, bias)
        plain, quantized = self._halves(input)
        layer = self._solve(name, form.rows(quantized), affine).at(self.bits)
        output = form.apply(plain, *affine)
        return self._joined(output, lambda: form.by_rows(layer, quantized))

    def _joined(self, output: Tensor, quantized: Any) -> Tensor:
        return torch.cat([output, quantized()]) if self.plan.preset.sequential else output

    def _solve(self, name: str, input: Tensor, affine: Affine) -> SolvedLinear:
        inputs = input.flatten(0, -2)
        rows = Rows(self._drawn(inputs), self.plan.gains.get(name))
        widths = tuple(dict.fromkeys((self.bits, *self.weight_bits)))
        preset, kind = self.plan.preset, self.plan.kind(name)
        with self._solving(name, input=inputs, weight=affine[0], bias=affine[1]):
            solved = solve_linear(preset, kind, rows, affine, widths, self.bits, self.generator)
            self.found.linear[name] = solved
        return solved

    def _drawn(self, inputs: Tensor) -> Tensor:
        if len(inputs) <= ROWS:
            return inputs
        chosen = torch.randperm(len(inputs), generator=self.generator)[:ROWS]
        return inputs[chosen.to(inputs.device)]

    def softmax(self, input: Tensor, dim: int, *args: Any, **kwargs: Any) -> Tensor:
        self._softmaxed = super().softmax(input, dim)
        return self._softmaxed

    def multiply(self, name: str, input: Tensor, other: Tensor) -> Tensor:
        if name not in self.wanted:
            return torch.matmul(input, other)
        after = self._softmaxed is not None and input.data_ptr() == self._softmaxed.data_ptr()
        (plain, first), (plain_other, second) = self._halves(input), self._halves(other)
        chosen = self._products(first)
        solve = solve_mix if after else solve_scores
        with self._solving(name, input=input, other=other):
            pair = solve(self.plan.preset, first[chosen], second[chosen], self.bits)
            self.found.products[name] = pair
        product = QuantizedProduct(*pair)
        return self._joined(plain @ plain_other, lambda: product(first, second))

    def _products(self, first: Tensor) -> Tensor:
        """Choose images (or windows) to fit an attention product on."""
        count = max(6, PRODUCT_ROWS // first.shape[-2])
        chosen = torch.randperm(len(first), generator=self.generator)[:count]
        return chosen.to(first.device)
