"""From a budget to what the slider shows: the path of budgets, priced and put into words. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
import pandas as pd

from app.components.budget_table import Band, BudgetTable, Figures, Plain
from app.state.budget import AVERAGE, BITOPS, SIZE
from app.work.spending import Axis
from lrp.engine.layers import Layer
from lrp.engine.names import number_of
from quant.allocation.cost import CostModel
from quant.allocation.objectives import Losses
from quant.allocation.path import BudgetPlan
from quant.evaluation.prediction import Prediction
from quant.primitives.formats import price, prices
from quant.primitives.targets import ANY, Pair, Target
from quant.report.drawing.widths import written
from quant.report.purchases import Purchase, bought


def table_of(
    costs: CostModel,
    axis: Axis,
    plan: BudgetPlan,
    expected: Losses | None,
    prediction: Prediction | None,
    float_top1: float | None,
    target: Target = ANY,
) -> BudgetTable:
    """Put a plan into the form the slider draws.

    Args:
        expected: what allocations are expected to lose, in nats; None predicts nothing.
        target: what the model is to run on.
    """
    plain = costs.cost({})
    even = _even(costs.layers, plan.average_bits, target)
    mixed = _figures(costs, plan.weight, plan.activation)
    uniform = _figures(costs, *even)
    if prediction is not None and expected is not None and float_top1 is not None:
        losses, even_losses = expected.at(plan.weight, plan.activation), expected.at(*even)
        mixed = replace(mixed, predicted=_bands(prediction, losses, float_top1))
        uniform = replace(uniform, predicted=_bands(prediction, even_losses, float_top1))
    return BudgetTable(
        label={AVERAGE: "Average bits", SIZE: "Weights", BITOPS: "BitOps"}[axis.unit],
        unit={AVERAGE: " bit", SIZE: " MB", BITOPS: " G"}[axis.unit],
        digits=_digits(axis.values),
        values=axis.values,
        layers=[(la.name, number_of(la.block), la.kind) for la in costs.layers],
        weight=plan.weight,
        activation=plan.activation,
        mixed=mixed,
        uniform=uniform,
        plain=Plain(plain.size_bytes, plain.bitops, float_top1),
        gap=plan.gap.tolist(),
        steps=latest_bought(bought(costs.layers, plan), len(axis.values)),
        widths=target.widths,
    )


def _even(
    layers: Sequence[Layer], averages: np.ndarray, target: Target
) -> tuple[np.ndarray, np.ndarray]:
    """Return the dearest widths (T, L) that are alike for all layers and within each average.

    The cheapest, where none is within: those of weights, then those of activations.
    """
    every = {
        layer.kind: [p for p in target.of(layer) if p[0] == p[1] or not target.tieable]
        for layer in layers
    }
    chosen = [
        {kind: _dearest(pairs, average) for kind, pairs in every.items()}
        for average in averages.tolist()
    ]
    table = np.array([[of[layer.kind] for layer in layers] for of in chosen])
    return table[..., 0], table[..., 1]


def _dearest(pairs: Sequence[Pair], average: float) -> Pair:
    """Return the dearest pair whose weights, and whose product, an average allows."""
    spent = [(price(weight), price(weight) * price(activation)) for weight, activation in pairs]
    within = [
        (work, pair)
        for (size, work), pair in zip(spent, pairs, strict=True)
        if size <= average + 1e-9 and work <= average**2 + 1e-9
    ]
    return max(within)[1] if within else pairs[0]


def _digits(values: Sequence[float]) -> int:
    """Return how many decimals tell ascending values apart: two at least, one from 100 on."""
    digits = 2 if values[-1] < 100 else 1
    while len({f"{value:.{digits}f}" for value in values}) < len(values):
        digits += 1
    return digits


def _figures(costs: CostModel, weight: np.ndarray, activation: np.ndarray) -> Figures:
    """Price rows of bits (T, L)."""
    parameters = np.array([layer.parameters for layer in costs.layers], dtype=float)
    macs = np.array([layer.macs for layer in costs.layers], dtype=float)
    weight, activation = prices(weight), prices(activation)
    bits = weight @ parameters
    return Figures(
        size=(bits / 8 + 4 * costs.others).tolist(),
        bitops=((weight * activation) @ macs).tolist(),
        weight_bits=(bits / parameters.sum()).tolist(),
        activation_bits=(activation @ macs / macs.sum()).tolist(),
    )


def _bands(prediction: Prediction, losses: np.ndarray, float_top1: float) -> list[Band]:
    """Predict accuracies from layers' expected losses (T, L)."""
    sums = np.array([sum(row) for row in losses.tolist()])
    bands = prediction.bands(sums, float_top1).tolist()
    return [(low, middle, min(1.0, high)) for low, middle, high in bands]


def latest_bought(purchases: Sequence[Purchase], rows: int) -> list[str]:
    """Return in words what the latest step to each row bought."""
    steps = {row: list(made) for row, made in groupby(purchases, key=lambda p: p.row)}
    sentences, latest = [], "nothing yet: the lowest widths"
    for row in range(rows):
        if row in steps:
            latest = "; ".join(map(str, steps[row][:3]))
            more = len(steps[row]) - 3
            latest += f" and {more} more" if more > 0 else ""
        sentences.append(latest)
    return sentences


def purchases_table(axis: Axis, purchases: Sequence[Purchase]) -> pd.DataFrame:
    """Return one row a purchase, in the order of the path."""
    return pd.DataFrame(
        [
            {
                "budget": axis.values[p.row],
                "layer": p.layer,
                "what": p.what,
                "from": written(p.before),
                "to": written(p.after),
                "size (kB)": p.size / 1e3,
                "BitOps (M)": p.bitops / 1e6,
                "expected loss less": p.gain,
            }
            for p in purchases
        ]
    )
