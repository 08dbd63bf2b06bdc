"""Small budgets to spend, and every way to spend them."""

import random
from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np

from lrp.engine.layers import Layer
from quant.allocation.budget import Limits
from quant.allocation.objectives import Losses
from quant.primitives.bits import Allocation, LayerBits

WIDTHS = tuple(range(2, 9))


def made_up_layers(seed: int, count: int = 5) -> list[Layer]:
    """Layers of all sorts; the third is an attention product, which has no weights."""
    chance = random.Random(seed)
    layers = [
        Layer(f"l{i}", "linear", "fc", "", chance.randrange(50, 900), chance.randrange(100, 4000))
        for i in range(count)
    ]
    if count > 2:
        layers[2] = Layer("l2", "matmul", "matmul1", "", 0, chance.randrange(100, 4000))
    return layers


def made_up_losses(layers: Sequence[Layer], seed: int, noise: float = 0.3) -> Losses:
    """Losses that fall by about four a bit, from scales far apart; noisy ones may rise."""
    chance = np.random.default_rng(seed)

    def side() -> np.ndarray:
        scale = 10 ** chance.normal(0, 1, (len(layers), 1))
        bits = np.array(WIDTHS) + noise * chance.normal(size=(len(layers), len(WIDTHS)))
        return scale * 4.0**-bits

    return Losses(tuple(la.name for la in layers), WIDTHS, side(), side(), "sensitivity")


def loss_of(losses: Losses, allocation: Allocation) -> float:
    """Add up the losses of an allocation, layer by layer."""
    return sum(
        losses.weight[i, losses.widths.index(allocation[name].weight)]
        + losses.activation[i, losses.widths.index(allocation[name].activation)]
        for i, name in enumerate(losses.names)
    )


def spent_by(layers: Sequence[Layer], allocation: Allocation) -> tuple[int, int]:
    """Add up weight bits and bit operations of an allocation, layer by layer."""
    bits = [allocation[layer.name] for layer in layers]
    return (
        sum(la.parameters * b.weight for la, b in zip(layers, bits, strict=True)),
        sum(la.macs * b.weight * b.activation for la, b in zip(layers, bits, strict=True)),
    )


def every_total(
    layers: Sequence[Layer],
    losses: Losses,
    menu: Sequence[int],
    tied: bool,
    locks: Mapping[str, LayerBits] | None = None,
) -> list[np.ndarray]:
    """Return weight bits, bit operations and loss of every allocation there is."""
    pairs = [LayerBits(w, a) for w in menu for a in menu if w == a or not tied]
    options = [[(locks or {})[la.name]] if la.name in (locks or {}) else pairs for la in layers]
    per_layer = [
        [
            (
                la.parameters * b.weight,
                la.macs * b.weight * b.activation,
                losses.weight[i, WIDTHS.index(b.weight)]
                + losses.activation[i, WIDTHS.index(b.activation)],
            )
            for b in options[i]
        ]
        for i, la in enumerate(layers)
    ]
    return [
        reduce(np.add.outer, [np.array([option[k] for option in one]) for one in per_layer]).ravel()
        for k in range(3)
    ]


def least_loss(totals: Sequence[np.ndarray], limits: Limits) -> float:
    """Return the least loss of all allocations within the limits."""
    size, work, loss = totals
    fits = (size <= limits.weight_bits + 1e-6) & (work <= limits.bitops + 1e-6)
    return float(loss[fits].min())
