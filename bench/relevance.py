"""Relevance of every layer, against the model's own forward and backward pass."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from bench.models import NAMES, build
from bench.timing import ratios, show
from lrp.relevance import relevance
from lrp.rules import PRESETS, Rules
from lrp.trace import Trace


def main() -> None:
    """Measure both presets on a batch of 8."""
    for name in NAMES:
        model, images = build(name)
        runs: dict[str, Callable[[], object]] = {"forward + backward": _plain(model, images)}
        runs |= {preset: _traced(model, images, rules) for preset, rules in PRESETS.items()}
        show(f"relevance, {name}, 8 images", ratios(runs, "forward + backward"))


def _plain(model: nn.Module, images: Tensor) -> Callable[[], object]:
    def run() -> None:
        inputs = images.clone().requires_grad_()
        model(inputs).amax(1).sum().backward()

    return run


def _traced(model: nn.Module, images: Tensor, rules: Rules) -> Callable[[], object]:
    return lambda: relevance(Trace(model, images, rules))
