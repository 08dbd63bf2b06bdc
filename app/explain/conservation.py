"""How much of the relevance is left at each depth, and what took the rest. Pure.

A sum over a block's input tokens is what all layers above handed down. Between two depths the
sums of the layers' own relevance tell where a difference arose: a bias or another constant of the
model answers for a part of what it was added to, and what it answers for goes no further down.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from app.look import units
from app.text import Markdown
from lrp.engine.layers import Stage
from lrp.maps.heatmap import PIXELS
from lrp.maps.places import block_map
from lrp.propagation.relevance import Relevance
from lrp.propagation.trace import Trace

CLASS = "class"
NOTABLE = 0.005  # of the start: less is not worth a word
# What can take relevance, as it is said in a sentence.
HEAD = "the head's bias"
SOFTMAX = "the softmax"
INPUTS = "the biases of queries, keys and values"
POSITION_BIAS = "the softmax and the position bias in it"
INNER = "the bias inside the MLP"
REST = "the norms' and output layers' biases"
TOKENS = "the class token"
EMBEDDED = "the position embedding and the patch embedding's bias"
PATCHES = "the patch embedding's bias and norm"


@dataclass(frozen=True)
class DepthStep:
    """From one depth down to the next: what share of the start is lost, and what took it.

    Negative is gained: a constant that speaks against the class leaves more to the others.
    """

    upper: str
    lower: str
    lost: float
    parts: dict[str, float]


@dataclass(frozen=True)
class Conservation:
    """The share of the start that is left at each depth, from the class to the pixels."""

    left: dict[str, float]
    steps: tuple[DepthStep, ...]


def conservation(trace: Trace, found: Relevance) -> Conservation:
    """Follow the relevance of the first image down through a model."""
    start = float(found.start[0])
    images = len(found.target)
    blocks = {name: _sum(tokens, images) / start for name, tokens in found.blocks.items()}
    pixels = _sum(found.pixels, images) / start
    left = {CLASS: 1.0, **dict(reversed(blocks.items())), PIXELS: pixels}
    sums = {
        name: tuple(_sum(operand, images) / start for operand in operands)
        for name, operands in found.layers.items()
    }
    places = list(left)
    steps = [_step(trace, upper, lower, left, sums) for upper, lower in pairwise(places[:-1])]
    if len(places) > 1:
        steps.append(_embedding(trace, found, places[-2], left, start))
    return Conservation(left, tuple(steps))


def _sum(values: Tensor, images: int) -> float:
    return float(values.reshape(images, -1)[0].sum())  # Swin's operands are batch-major


def _step(
    trace: Trace,
    upper: str,
    lower: str,
    left: Mapping[str, float],
    sums: Mapping[str, tuple[float, ...]],
) -> DepthStep:
    """Account for what the block `lower` takes, and for what stands between it and `upper`."""
    lost = left[upper] - left[lower]
    # Where a block has two layers of one role, the latter counts.
    inside = {la.role: la for la in trace.layers.values() if la.block == lower}
    at: dict[Stage | None, list[tuple[float, ...]]] = defaultdict(list)
    for layer in inside.values():
        at[layer.stage].append(sums[layer.name])
    parts: dict[str, float] = {}
    if Stage.SCORES in at and Stage.MIX in at:
        scores, (attention, values) = sum(at[Stage.SCORES][0]), at[Stage.MIX][0]
        names = " ".join(name for name, _ in trace.model.named_parameters())
        biased = "relative_position" in names or "cpb_mlp" in names
        parts[POSITION_BIAS if biased else SOFTMAX] = attention - scores
        if Stage.INPUTS in at:
            parts[INPUTS] = scores + values - sum(map(sum, at[Stage.INPUTS]))
    if Stage.INNER in at and Stage.OUTER in at:
        parts[INNER] = sum(at[Stage.OUTER][0]) - sum(map(sum, at[Stage.INNER]))
    if upper == CLASS:
        heads = [sum(sums[la.name]) for la in trace.layers.values() if la.stage is Stage.HEAD]
        parts |= {HEAD: 1 - sum(heads)} if heads else {}
    return DepthStep(upper, lower, lost, {**parts, REST: lost - sum(parts.values())})


def _embedding(
    trace: Trace, found: Relevance, first: str, left: Mapping[str, float], start: float
) -> DepthStep:
    """Account for what stays with the constants that tokens begin with."""
    lost = left[first] - left[PIXELS]
    parts: dict[str, float] = {}
    placed = block_map(trace, found, first) if first in found.blocks else None
    if placed is not None and placed[0].numel() < found.blocks[first][0, ..., 0].numel():
        parts[TOKENS] = left[first] - float(placed[0].sum()) / start
    rest = PATCHES if getattr(trace.model, "pos_embed", None) is None else EMBEDDED
    return DepthStep(first, PIXELS, lost, {**parts, rest: lost - sum(parts.values())})


def sentence(found: Conservation) -> Markdown:
    """Return in words how much arrives, and where most of the rest is lost or gained."""
    first = list(found.left)[-2]
    arrives = Markdown(
        "Of the relevance that the class starts with, **{}** enters {} and **{}** reaches the "
        "pixels."
    ).format(units.share(found.left[first], 0), first, units.share(found.left[PIXELS], 0))
    down = max(found.steps, key=lambda step: step.lost)
    up = min(found.steps, key=lambda step: step.lost)
    notable = [_sentence(down, "lost", "to", 1)] if down.lost > NOTABLE else []
    notable += [_sentence(up, "gained", "through", -1)] if up.lost < -NOTABLE else []
    return Markdown(" ").join([arrives, *(notable or ["Nothing is lost on the way."])])


def _sentence(step: DepthStep, verb: str, how: str, sign: int) -> str:
    """Return a sentence: "Most is lost in blocks.3: 12 points, 9 to the softmax."."""
    where = f"in {step.lower}"
    if step.lower == PIXELS:
        where = f"between {step.upper} and the pixels"
    elif step.upper == CLASS:
        where = f"between the class and the input of {step.lower}"
    points = f"{100 * abs(step.lost):.0f} points"
    taker = max(step.parts, key=lambda part: sign * step.parts[part])
    share = "all" if len(step.parts) == 1 else f"{100 * sign * step.parts[taker]:.0f}"
    return f"Most is {verb} {where}: {points}, {share} {how} {taker}."
