"""Relevance of every layer: its time against the model's own passes, its memory, its batches."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.models import NAMES, build
from bench.relprop import relprop
from bench.timing import ratios, show
from lrp.engine.device import forward_backward
from lrp.maps.heatmap import heatmap_alone
from lrp.propagation.relevance import Relevance, relevance
from lrp.propagation.rules import ATTN_LRP, PRESETS, Rules
from lrp.propagation.trace import Trace

OWN = "forward + backward"
WALKABLE = NAMES[0]


def main() -> None:
    """Measure a batch of 8 against the model's own passes, and batches of several sizes."""
    for name in NAMES:
        model, images = build(name)
        runs: dict[str, Callable[[], object]] = {OWN: _plain(model, images)}
        runs |= {preset: _traced(model, images, rules) for preset, rules in PRESETS.items()}
        runs["ATTN_LRP, default heatmap alone"] = _alone(model, images)
        if name == WALKABLE:
            runs["CHEFER, walked layer by layer"] = _walked(model, images)
        show(f"relevance, {name}, 8 images", ratios(runs, OWN))
        for rules in PRESETS.values():
            _batches(model, images, rules)


def _plain(model: nn.Module, images: Tensor) -> Callable[[], object]:
    target = torch.zeros(len(images), dtype=torch.long)
    return lambda: forward_backward(model, images, target)


def _traced(model: nn.Module, images: Tensor, rules: Rules) -> Callable[[], object]:
    return lambda: relevance(Trace(model, images, rules))


def _alone(model: nn.Module, images: Tensor) -> Callable[[], object]:
    return lambda: heatmap_alone(Trace(model, images, ATTN_LRP))


def _walked(model: nn.Module, images: Tensor) -> Callable[[], object]:
    return lambda: [relprop(model, image[None], 0) for image in images]


def _batches(model: nn.Module, images: Tensor, rules: Rules) -> None:
    """Print the memory an image takes by batch size, and how far a batch is from single images."""
    sizes = (1, 2, 4, 8)
    held = [f"{_state_bytes(model, images[:n], rules) / n / 2**20:.1f}" for n in sizes]
    together, alone = (relevance(Trace(model, x, rules), 0) for x in (images, images[:1]))
    print(
        f"{rules.name:<16} MiB an image, {sizes} at a time: {', '.join(held)}; largest difference "
        f"of a batch from one image: {_difference(together, alone):.1e} of a layer's largest value"
    )


def _state_bytes(model: nn.Module, images: Tensor, rules: Rules) -> int:
    """Count the bytes that a trace and its relevance hold, but for the model's own."""
    homes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        homes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        trace = Trace(model, images, rules)
    found = relevance(trace, 0)
    values = [found.pixels, *found.blocks.values(), *(r for o in found.layers.values() for r in o)]
    operands = [t for o in trace.operands.values() for t in o]
    for tensor in (*values, *operands, *trace.blocks.values()):
        keep(tensor)
    for parameter in model.parameters():
        homes.pop(parameter.untyped_storage().data_ptr(), None)
    return sum(homes.values())


def _difference(together: Relevance, alone: Relevance) -> float:
    """Return the largest difference of the first image's values, relative to each layer's peak."""
    images, worst = len(together.target), 0.0
    for name, operands in together.layers.items():
        for many, one in zip(operands, alone.layers[name], strict=True):
            row, single = many.reshape(images, -1)[0], one.flatten()
            worst = max(worst, float((row - single).abs().max() / single.abs().max()))
    return worst
