"""Solving an allocation, for growing models."""

from __future__ import annotations

import random

from bench.timing import ratios, show
from lrp.layers import Layer
from quant.allocation import allocate


def main() -> None:
    """Measure one budget for 74, 148 and 296 layers."""
    runs = {}
    for count in (74, 148, 296):
        layers, scores = _made_up(count)
        runs[f"{count} layers"] = lambda la=layers, s=scores: allocate(la, s, 4.3)
    show("allocation at 4.3 bits", ratios(runs, "74 layers", rounds=5))


def _made_up(count: int) -> tuple[list[Layer], dict[str, float]]:
    chance = random.Random(0)
    layers = [
        Layer(f"l{i}", "linear", "fc", "", chance.randrange(10**4, 10**6), chance.randrange(10**8))
        for i in range(count)
    ]
    return layers, {layer.name: 10 ** chance.uniform(-4, 0) for layer in layers}
