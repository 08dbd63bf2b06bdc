"""Relevance of every layer, of every block's tokens and of the pixels, for a target class."""

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass

import torch
from torch import Tensor

from lrp.propagation.equations import stabilise
from lrp.propagation.rules import Rules
from lrp.propagation.trace import Trace

Target = int | Tensor | None
BLOCK, PIXELS, LAYER = "block", "pixels", "layer"  # what relevance is read at


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


def relevance(trace: Trace, target: Target = None, stop: str | None = None) -> Relevance:
    """Propagate relevance of `target` (default: each image's top class) back through `trace`.

    The trace is kept, so that several targets share one forward pass.

    Args:
        stop: a block; propagation ends at its input tokens, which is cheaper, and `blocks` then
            holds these alone, `layers` nothing, and `pixels` has no elements.

    Raises:
        ValueError: a target is not one of the model's classes, or there is no block `stop`.
    """
    classes = _targets(trace.logits, target)
    logit = trace.logits.gather(1, classes[:, None]).squeeze(1)  # (B,)
    start = torch.ones_like(logit)
    if trace.rules.start == "one-hot":
        start = 1 / stabilise(logit.detach())
    sources = _sources(trace, stop)
    # A tensor that never reaches the target (allow_unused) carries no relevance.
    tensors = list(sources.values())
    gradients = torch.autograd.grad(
        logit, tensors, start, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    values = dict(zip(sources, _multiply(tensors, gradients), strict=True))
    layers = {} if stop else trace.operands
    return Relevance(
        target=classes,
        start=(logit * start).detach(),
        blocks={name: values[BLOCK, name] for name in trace.blocks if (BLOCK, name) in values},
        pixels=trace.images.detach()[:, :0] if stop else values[PIXELS,],
        layers={n: tuple(values[LAYER, n, i] for i in range(len(o))) for n, o in layers.items()},
        rules=trace.rules,
    )


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
    targets = torch.as_tensor(target, device=logits.device).expand(images)
    if targets.min() < 0 or targets.max() >= classes:
        raise ValueError(f"target {target} is not a class: use 0 to {classes - 1}")
    return targets


def _sources(trace: Trace, stop: str | None) -> dict[tuple[Hashable, ...], Tensor]:
    """Return what relevance is read at: blocks, pixels, operands; or one block."""
    if stop is not None:
        if stop not in trace.blocks:
            raise ValueError(f"there is no block {stop!r}: use one of {', '.join(trace.blocks)}")
        return {(BLOCK, stop): trace.blocks[stop]}
    return {
        **{(BLOCK, name): tokens for name, tokens in trace.blocks.items()},
        (PIXELS,): trace.images,
        **{(LAYER, name, i): t for name, o in trace.operands.items() for i, t in enumerate(o)},
    }
