"""One calibration pass at one width: every layer is quantized in turn, as the model runs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lrp.engine.interpreter import Interpreter, Linear
from lrp.engine.names import is_product
from lrp.engine.progress import SILENT, Progress
from quant.calibration.linear_solver import SolvedLinear, solve_linear
from quant.calibration.origins import Affine
from quant.calibration.presets import Preset
from quant.calibration.product_solver import solve_mix, solve_scores
from quant.calibration.residual_stream import fit_stream
from quant.calibration.turning import Turned
from quant.layers.quantized import QuantizedLinear, QuantizedProduct
from quant.primitives.bits import MENU, Allocation, LayerBits, quantized
from quant.primitives.formats import DYNAMIC, FLOAT, HALF, PALETTES
from quant.primitives.quantizers import Quantizer, Uniform

ROWS = 16384  # of a layer's input, kept for its weights
Compute = Callable[..., Tensor]
PRODUCT_ROWS = 1200  # query tokens an attention product is fitted on


# A pass is called by the width of its inputs; one whose weights are palettes, by so much more.
PALETTED = 1000


def pass_of(bits: LayerBits) -> int:
    """Return the pass that holds a layer with weights at these widths."""
    return bits.activation + PALETTED * (bits.weight in PALETTES.values())


def weights_in(number: int) -> tuple[int, ...]:
    """Return the widths of weights that a pass solves: those that may meet its inputs."""
    if number >= PALETTED:
        return tuple(PALETTES.values())
    if number in MENU or number == DYNAMIC:
        return MENU
    return (*MENU, number) if number in (HALF, FLOAT) else (number,)


def needed(allocation: Allocation) -> set[int]:
    """Return the passes that hold what `allocation` asks for, by their numbers."""
    taken = quantized(allocation)
    widths = {pass_of(bits) for bits in taken.values()}
    return widths | {b.weight for name, b in taken.items() if is_product(name)}


@dataclass(frozen=True, eq=False)
class Surveyed:
    """What the survey of a model found, which every pass over it shares.

    Attributes:
        turned: the float model, its streams turned where the preset says so.
        layers: the names to quantize, in the order they run.
        weights: rewritten weights and biases by layer name (`quant.calibration.survey`).
        norms, kinds: what comes before a layer (`survey.Survey`); "turned" is a norm's output that
            is rotated already.
        plainer: layers that the preset treats in a plainer way than others of their kind, and why.
        stream: names of the residual stream that are quantized (`residual_stream.stream_of`).
    """

    turned: Turned
    preset: Preset
    layers: Sequence[str]
    weights: Mapping[str, Affine]
    norms: Mapping[str, Affine]
    kinds: Mapping[str, str]
    plainer: Mapping[str, str]
    stream: Sequence[str] = ()

    def affine(self, name: str, weight: Tensor, bias: Tensor | None) -> Affine:
        """Return a layer's weight (K, C) and bias (K,), rewritten where they are."""
        if name in self.weights:
            return self.weights[name]
        rows = weight.detach().flatten(1)
        return rows, rows.new_zeros(len(rows)) if bias is None else bias.detach()


@dataclass(eq=False)
class Pass:
    """What one pass makes: every layer at one activation width.

    Attributes:
        bits: what the pass is called.
        linear: by layer name; weights at every width asked for.
        products: by name; both operands' quantizers at this width.
        stream: by name; quantizers of residual sums and LayerNorm outputs.
    """

    bits: int
    linear: dict[str, SolvedLinear] = field(default_factory=dict)
    products: dict[str, tuple[Quantizer, Quantizer]] = field(default_factory=dict)
    stream: dict[str, Uniform] = field(default_factory=dict)


class Solver(Interpreter):
    """Run the float model and the quantized one side by side, quantizing each layer as it comes.

    The batch holds the images twice. The first half runs in float; the second runs through the
    layers quantized so far, so each layer is fitted to the inputs it will really see. Where the
    preset is not sequential, the batch holds them once, in float. `_fitted` and `_side_by_side`
    alone know of halves.
    """

    def __init__(
        self,
        surveyed: Surveyed,
        bits: int,
        weight_bits: Sequence[int],
        progress: Progress = SILENT,
    ) -> None:
        super().__init__(surveyed.turned.model)
        self.surveyed, self.bits, self.weight_bits = surveyed, bits, tuple(weight_bits)
        # The layers after see inputs as this width of the weights gives them.
        self.through = bits if bits in (*MENU, *weight_bits) else self.weight_bits[-1]
        self.progress = progress
        self.preset, self.names = surveyed.preset, set(surveyed.layers)
        self.generator = torch.Generator().manual_seed(bits)
        self.made = Pass(bits)
        self._softmaxed: Tensor | None = None

    @torch.no_grad()
    def solve(self, images: Tensor) -> Pass:
        """Quantize every layer on `images` (B, 3, H, W).

        Raises:
            ValueError: a layer's input is not finite (the layer is named).
            Cancelled: the work was to stop.
        """
        self.run(torch.cat([images, images]) if self.preset.sequential else images)
        self._softmaxed = None
        return self.made

    def _fitted(self, x: Tensor) -> Tensor:
        """Return the part of an input that a layer is fitted to."""
        return x.chunk(2)[1] if self.preset.sequential else x

    def _side_by_side(self, plain: Compute, quantized: Compute, *inputs: Tensor) -> Tensor:
        """Run the first half of the inputs through `plain` and the second through `quantized`."""
        if not self.preset.sequential:
            return plain(*inputs)
        first, second = zip(*(x.chunk(2) for x in inputs), strict=True)
        return torch.cat([plain(*first), quantized(*second)])

    def weigh(
        self, name: str, form: Linear, input: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        if name not in self.names:
            return form.apply(input, weight, bias)
        affine = self.surveyed.affine(name, weight, bias)
        layer = self._linear(name, form.rows(self._fitted(input)).flatten(0, -2), affine)
        return self._side_by_side(
            lambda x: form.apply(x, *affine), lambda x: form.by_rows(layer, x), input
        )

    def _linear(self, name: str, inputs: Tensor, affine: Affine) -> QuantizedLinear:
        rows, norm = self._drawn(inputs), self.surveyed.norms.get(name)
        widths = tuple(dict.fromkeys((self.through, *self.weight_bits)))
        kind, draws = self.surveyed.kinds.get(name, "plain"), self.generator
        self._check(name, input=inputs, weight=affine[0], bias=affine[1])
        with _named(name):
            given = self.preset, kind, rows, affine, widths, self.bits, draws, norm
            solved = solve_linear(*given, self.surveyed.turned.reads.get(name))
        self.made.linear[name] = solved
        self._report()
        return solved.at(self.through)

    def passed(self, name: str, output: Tensor) -> Tensor:
        if name not in self.surveyed.stream:
            return output
        fitted = self._fitted(output)
        self._check(name, output=fitted)
        quantizer = self.made.stream[name] = fit_stream(fitted, self.preset.stream)
        return self._side_by_side(lambda x: x, quantizer, output)

    def softmax(self, input: Tensor, dim: int, *args: Any, **kwargs: Any) -> Tensor:
        self._softmaxed = super().softmax(input, dim)
        return self._softmaxed

    def multiply(self, name: str, input: Tensor, other: Tensor) -> Tensor:
        if name not in self.names:
            return torch.matmul(input, other)
        after = self._softmaxed is not None and input.data_ptr() == self._softmaxed.data_ptr()
        first, second = self._fitted(input), self._fitted(other)
        count = max(6, PRODUCT_ROWS // first.shape[-2])
        drawn = torch.randperm(len(first), generator=self.generator)[:count].to(first.device)
        self._check(name, input=input, other=other)
        with _named(name):
            solve = solve_mix if after else solve_scores
            pair = solve(self.preset, first[drawn], second[drawn], self.bits)
        self.made.products[name] = pair
        self._report()
        return self._side_by_side(torch.matmul, QuantizedProduct(*pair), input, other)

    def _drawn(self, inputs: Tensor) -> Tensor:
        if len(inputs) <= ROWS:
            return inputs
        rows = torch.randperm(len(inputs), generator=self.generator)[:ROWS]
        return inputs[rows.to(inputs.device)]

    def _check(self, name: str, **parts: Tensor) -> None:
        self.progress.check()
        for part, values in parts.items():
            if not bool(torch.isfinite(torch.stack(values.aminmax())).all()):  # NaN comes through
                raise ValueError(f"the {part} of {name} is not finite: check weights and images")

    def _report(self) -> None:
        done = len(self.made.linear) + len(self.made.products)
        self.progress(done, len(self.surveyed.layers))


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Name the layer that cannot be solved."""
    try:
        yield
    except (torch.linalg.LinAlgError, ValueError) as error:
        raise ValueError(
            f"{name} cannot be quantized (are its values too large?): {error}"
        ) from None
