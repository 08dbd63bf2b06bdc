"""Calibration and quantized evaluation, against the float forward pass."""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bench.models import NAMES, build
from bench.timing import ratios, show
from lrp.engine.layers import list_layers
from quant.calibration.calibration import Calibration
from quant.calibration.passes import Solver
from quant.calibration.presets import DEFAULT, PRESETS
from quant.model.quantized_model import QuantizedModel
from quant.primitives.bits import MENU, uniform

IMAGES = 32
ROUNDS = 3


def main() -> None:
    """Measure forward passes of a batch of 8, and calibration on 32 images."""
    for name in NAMES:
        model, images = build(name)
        with torch.inference_mode():
            show(f"quantized forward, {name}, 8 images", ratios(_forwards(model, images), "float"))
    model, images = build(NAMES[0], IMAGES)
    for name in PRESETS:
        _calibration(model, images, name)
    _breakdown(model, images)


def _forwards(model: nn.Module, images: Tensor) -> Mapping[str, Callable[[], object]]:
    layers = list_layers(model, (3, 224, 224))
    runs: dict[str, Callable[[], object]] = {"float": lambda: model(images)}
    for path, integers in (("as the machine can", True), ("simulated", False)):
        calibration = Calibration(model, images, PRESETS[DEFAULT], integers=integers)
        for bits in (4, 8):
            quantized = QuantizedModel(calibration, uniform(layers, bits, bits))
            runs[f"W{bits}A{bits}, {path}"] = lambda q=quantized: q.run(images)  # type: ignore[misc]
    return runs


def _calibration(model: nn.Module, images: Tensor, name: str) -> None:
    """Print what calibration costs, as multiples of one float pass over the same images."""
    passes = {"one width": (4,), "all widths": MENU}
    found: dict[str, list[float]] = {what: [] for what in passes}
    for _ in range(ROUNDS if name != DEFAULT else 1):
        for what, widths in passes.items():
            spent = _seconds(lambda w=widths: Calibration(model, images, PRESETS[name]).solve(w))
            found[what].append(spent / _float_pass(model, images))
    show(
        f"calibration under {name}, {IMAGES} images, in float passes over them",
        {what: (statistics.median(r), min(r), max(r)) for what, r in found.items()},
    )


@torch.inference_mode()
def _float_pass(model: nn.Module, images: Tensor) -> float:
    def run() -> None:
        for part in images.split(8):
            model(part)

    return statistics.median(_seconds(run) for _ in range(ROUNDS))


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


class _TimedSolver(Solver):
    """Add up the time spent on each kind of layer."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.spent: dict[str, float] = defaultdict(float)

    def _timed(self, name: str, call: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = call()
        self.spent[name.rpartition(".")[2]] += time.perf_counter() - started
        return result

    def weigh(self, name: str, *args: Any) -> Tensor:
        return self._timed(name, lambda: Solver.weigh(self, name, *args))

    def multiply(self, name: str, *args: Any) -> Tensor:
        return self._timed(name, lambda: Solver.multiply(self, name, *args))


def _breakdown(model: nn.Module, images: Tensor) -> None:
    """Print where one pass of the default preset spends its time."""
    calibration = Calibration(model, images, PRESETS[DEFAULT])
    solver = _TimedSolver(calibration.surveyed(), 4, MENU)
    whole = _seconds(lambda: solver.solve(images))
    print(f"\none pass of {DEFAULT}, by kind of layer: share of its time")
    for role, spent in sorted(solver.spent.items(), key=lambda pair: -pair[1]):
        print(f"{role:<44} {spent / whole:6.0%}")
