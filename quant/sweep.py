"""Measure every layer's error at every width, in one walk through the float model."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from lrp.progress import Progress, check
from quant.calibration import WIDTHS, Calibration
from quant.store import Stored
from quant.transforms import transformed
from quant.watch import Seen, Watch, decibels, power

WEIGHTS, ACTIVATIONS, BOTH = 0, 1, 2  # what is quantized in a row of `Sweep`


@dataclass(frozen=True, eq=False)
class Sweep:
    """SQNR in dB of every layer's output at every width.

    Attributes:
        errors: (L, 3, W): weights alone quantized, activations alone, both. Of an attention
            product, the second factor alone and the first alone.
    """

    names: tuple[str, ...]
    widths: tuple[int, ...]
    errors: np.ndarray


def sweep(
    calibration: Calibration,
    images: Tensor,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Sweep:
    """Measure all layers at all widths in one walk; passes must be solved, or are here.

    Weights alone are those of the widest pass; activations alone multiply the float weight.
    """
    passes, names = {w: calibration.stored(w) for w in WIDTHS}, calibration.plan().layers
    powers: dict[str, np.ndarray] = {}

    def hear(seen: Seen) -> None:
        check(cancel)
        noise = _product_noise if seen.affine is None else _linear_noise
        found = noise(seen, passes, calibration.preset.bias)
        powers[seen.name] = powers.get(seen.name, 0) + found
        if progress is not None:
            progress(len(powers), len(names))

    Watch(calibration.model, calibration.plan(), hear).run(images)
    errors = [[[decibels(s, n) for s, n in row] for row in powers[name]] for name in names]
    return Sweep(tuple(names), WIDTHS, np.array(errors))


def _linear_noise(seen: Seen, passes: Mapping[int, Stored], corrected: bool) -> np.ndarray:
    """Return powers of signal and noise, (3, W, 2)."""
    (x,), affine = seen.operands, seen.affine
    assert affine is not None
    wanted = F.linear(x, *affine)
    return np.array(list(zip(*(
        [(power(wanted), power(error)) for error in _errors(seen, passes, w, wanted, corrected)]
        for w in passes
    ), strict=True)))  # fmt: skip


def _errors(
    seen: Seen, passes: Mapping[int, Stored], width: int, wanted: Tensor, corrected: bool
) -> Sequence[Tensor]:
    """Return the output's error with weights, activations and both at `width`."""
    (x,), affine = seen.operands, seen.affine
    assert affine is not None
    wide, narrow = (passes[w].solved(seen.name, width) for w in (max(passes), width))
    rounded, turned = wide.weights[width], narrow.transform
    inputs = x if wide.transform is None else wide.transform(x)
    weight, bias = transformed(turned, affine)
    layer = narrow.at(width)
    alone = F.linear(layer.encode(x), weight, bias) - wanted
    if corrected:  # as the bias makes up for it
        alone = alone - alone.mean(0)
    return F.linear(inputs, rounded.values, rounded.bias) - wanted, alone, layer(x) - wanted


def _product_noise(seen: Seen, passes: Mapping[int, Stored], corrected: bool) -> np.ndarray:
    a, b = seen.operands
    wanted = a @ b
    rows = []
    for stored in passes.values():
        first, second = stored.operand(seen.name, 0)(a), stored.operand(seen.name, 1)(b)
        errors = a @ second - wanted, first @ b - wanted, first @ second - wanted
        rows.append([(power(wanted), power(error)) for error in errors])
    return np.array(rows).transpose(1, 0, 2)
