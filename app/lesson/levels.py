"""A lesson in quantization: a few numbers, a grid laid over them, what it costs. Pure."""

from dataclasses import dataclass

import numpy as np
import torch

from app.look import units
from app.text import Markdown
from quant.primitives.qparams import choose_qparams, dequantize, quantize

SHARES = tuple(round(0.02 * k, 2) for k in range(5, 51))
_HALF = (0.05, 0.13, 0.21, 0.29, 0.38, 0.47, 0.58, 0.72, 0.9, 1.25)  # of a normal distribution
_BELL = (*(-x for x in reversed(_HALF)), *_HALF)
_GELU = (-0.17, -0.16, -0.14, -0.1, -0.05, -0.02, 0.0, 0.03, 0.11)
WEIGHTS: dict[str, tuple[float, ...]] = {
    "Like a bell": tuple(x + 0.012 for x in _BELL),
    "With an outlier": (*(x / 3 + 0.005 for x in _BELL), 1.5),
    "After GELU": (*_GELU, 0.2, 0.34, 0.5, 0.71, 0.98, 1.4, 2.3),
}


@dataclass(frozen=True, eq=False)
class Lesson:
    """Numbers (n,) on a uniform grid.

    Attributes:
        scale: from one level to the next.
        zero_point: the integer that stands for 0.
        levels: (2^bits,), the values there are.
        clipped: (n,), which lie beyond the grid by more than half a step.
        rounding, clipping: the part of the mean squared error of those within, and beyond.
    """

    values: np.ndarray
    quantized: np.ndarray
    scale: float
    zero_point: int
    levels: np.ndarray
    clipped: np.ndarray
    rounding: float
    clipping: float

    @property
    def total(self) -> float:
        """The mean squared error."""
        return self.rounding + self.clipping

    @property
    def root(self) -> float:
        """The root mean square of the error."""
        return self.total**0.5


def lesson(numbers: tuple[float, ...], bits: int, share: float) -> Lesson:
    """Lay a grid of `bits` over `share` of the numbers' range."""
    values = torch.tensor(numbers, dtype=torch.float64)
    low, high = values.min() * share, values.max() * share
    q = choose_qparams(low, high, bits)
    quantized = dequantize(quantize(values, q), q)
    levels = dequantize(torch.arange(2**bits), q).numpy()
    x, error = values.numpy(), (quantized - values).square().numpy()
    half = float(q.scale) * (0.5 + 1e-9)
    clipped = (x < levels[0] - half) | (x > levels[-1] + half)
    return Lesson(
        values=x,
        quantized=quantized.numpy(),
        scale=float(q.scale),
        zero_point=int(q.zero_point),
        levels=levels,
        clipped=clipped,
        rounding=float(error[~clipped].sum()) / len(x),
        clipping=float(error[clipped].sum()) / len(x),
    )


def best(numbers: tuple[float, ...], bits: int) -> float:
    """Return the share of the range that leaves the least error, the widest among equals."""
    return min(reversed(SHARES), key=lambda share: lesson(numbers, bits, share).total)


def sentence(numbers: tuple[float, ...], bits: int, share: float) -> Markdown:
    """Return in words what is seen, and what would be better."""
    now, top = lesson(numbers, bits, share), best(numbers, bits)
    ideal = lesson(numbers, bits, top)
    count = int(now.clipped.sum())
    lost = f"{count} of {len(numbers)} numbers lie beyond it and are" if count else "no number is"
    part = units.share(now.clipping / now.total, 0) if now.total else "none"
    if now.total <= ideal.total * 1.005:
        verdict = "This is the best range for these bits"
    else:
        verdict = f"Best at {bits} bits is {100 * top:.0f} % of the range: error {ideal.root:.4f}"
    more = ""
    if bits < 8:
        wider = lesson(numbers, bits + 1, best(numbers, bits + 1))
        more = f"; one bit more, with its own best range, would have {wider.root:.4f}"
    apart = f"{2**bits} levels stand {now.scale:.3f} apart, and integer {now.zero_point} is zero"
    return Markdown(
        "{}; {} clipped. The error is **{:.4f}** (root mean square), {} of its square from "
        "clipping. {}."
    ).format(apart, lost, now.root, part, verdict + more)
