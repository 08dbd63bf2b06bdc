"""Relevance of every layer, of every block's tokens and of the pixels, for a target class."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from lrp.propagate import stabilise
from lrp.rules import Rules
from lrp.trace import Trace

Target = int | Tensor | None


@dataclass(frozen=True, eq=False)
class Relevance:
    """Relevance R = activation * modified gradient, read from a trace.

    Attributes:
        target: (B,) the class explained in each image.
        start: (B,) the relevance the propagation started with.
        pixels: (B, 3, H, W), of the normalised input.
        blocks: for each block, of its input tokens: (B, N, C), or (B, H, W, C) in Swin.
        layers: for each layer, what it hands to its operands (our reading of "a layer's
            relevance"), shaped as `Trace.operands`.
        rules: the rules it was propagated by.
    """

    target: Tensor
    start: Tensor
    pixels: Tensor
    blocks: dict[str, Tensor]
    layers: dict[str, tuple[Tensor, ...]]
    rules: Rules


def relevance(trace: Trace, target: Target = None) -> Relevance:
    """Propagate relevance of `target` (default: each image's top class) back through `trace`.

    The trace is kept, so that several targets share one forward pass.

    Raises:
        ValueError: a target is not one of the model's classes.
    """
    logits = trace.logits
    chosen = _targets(logits, target)
    logit = logits.gather(1, chosen[:, None]).squeeze(1)  # (B,)
    start = torch.ones_like(logit)
    if trace.rules.start == "one-hot":
        start = 1 / stabilise(logit.detach())
    sources = _sources(trace)
    # A tensor that never reaches the target (allow_unused) carries no relevance.
    gradients = torch.autograd.grad(
        logit, sources, start, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    values = _multiply(sources, gradients)
    return _arrange(trace, chosen, (logit * start).detach(), values)


def _multiply(sources: list[Tensor], gradients: tuple[Tensor, ...]) -> list[Tensor]:
    """Return R = activation * gradient, in the gradient's own memory where nothing else is there.

    New memory costs more time than the product.
    """
    homes = Counter(g.untyped_storage().data_ptr() for g in gradients)
    values = []
    for source, gradient in zip(sources, gradients, strict=True):
        alone = homes[gradient.untyped_storage().data_ptr()] == 1 and gradient.is_contiguous()
        values.append(torch.mul(source.detach(), gradient, out=gradient if alone else None))
    return values


def _targets(logits: Tensor, target: Target) -> Tensor:
    images, classes = logits.shape
    if target is None:
        return logits.argmax(1)
    chosen = torch.as_tensor(target, device=logits.device).expand(images)
    if chosen.min() < 0 or chosen.max() >= classes:
        raise ValueError(f"target {target} is not a class: use 0 to {classes - 1}")
    return chosen


def _sources(trace: Trace) -> list[Tensor]:
    operands = [t for operands in trace.operands.values() for t in operands]
    return [trace.images, *trace.blocks.values(), *operands]


def _arrange(trace: Trace, target: Tensor, start: Tensor, values: list[Tensor]) -> Relevance:
    remaining = iter(values)
    return Relevance(
        target=target,
        start=start,
        pixels=next(remaining),
        blocks={name: next(remaining) for name in trace.blocks},
        layers={
            name: tuple(next(remaining) for _ in operands)
            for name, operands in trace.operands.items()
        },
        rules=trace.rules,
    )
