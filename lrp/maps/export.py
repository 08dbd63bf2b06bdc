"""What a user takes away of an explanation: arrays and a description, for files."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from lrp.engine.layers import Layer
from lrp.engine.versions import versions
from lrp.maps.heatmap import depths, heatmap
from lrp.maps.places import layer_map
from lrp.propagation.relevance import Relevance
from lrp.propagation.scores import image_scores
from lrp.propagation.trace import Trace

TOP = 5


def arrays(trace: Trace, found: Relevance, layers: Iterable[Layer]) -> dict[str, np.ndarray]:
    """Return the first image's map (h, w) at the pixels and at each block and layer with one."""
    maps: dict[str, Tensor | None] = {
        depth: heatmap(trace, found, depth) for depth in depths(trace)
    }
    maps |= {layer.name: layer_map(trace, found, layer) for layer in layers}
    return {name: grid[0].cpu().numpy() for name, grid in maps.items() if grid is not None}


def description(
    trace: Trace,
    found: Relevance,
    names: Sequence[str],
    model: str,
    weights: str,
    depth: str,
) -> dict[str, Any]:
    """Describe the first image's explanation: what was explained, how, and what was found.

    Args:
        names: of the classes.
        model: its name, as the user gave it.
        weights: what identifies the weights.
        depth: where the heatmap beside it was read.
    """
    probabilities = trace.logits[0].detach().softmax(0)
    best = probabilities.topk(min(TOP, len(names))).indices.tolist()

    def described(index: int) -> dict[str, Any]:
        return {
            "class": index,
            "name": names[index],
            "probability": float(probabilities[index]),
            "logit": float(trace.logits[0, index].detach()),
        }

    return {
        "model": model,
        "weights": weights,
        "rules": dataclasses.asdict(found.rules),
        "depth": depth,
        "target": described(int(found.target[0])),
        "top5": [described(index) for index in best],
        **_sums(found),
        "versions": versions(),
    }


def _sums(found: Relevance) -> dict[str, Any]:
    """Return how much relevance the first image has at the start and at each depth and layer."""
    images = len(found.target)

    def total(*operands: Tensor) -> float:
        # Swin's operands are (B * windows, ...), batch-major
        return sum(float(r.reshape(images, -1)[0].sum()) for r in operands)

    share = dict(zip(found.layers, image_scores(found)[0].tolist(), strict=True))
    return {
        "start": float(found.start[0]),
        "pixels": {"sum": total(found.pixels)},
        "blocks": {name: {"sum": total(tokens)} for name, tokens in found.blocks.items()},
        "layers": {
            name: {"sum": total(*operands), "contribution": share[name]}
            for name, operands in found.layers.items()
        },
    }
