"""From a budget to what the slider shows: the path of budgets, priced and put into words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import pandas as pd

from app.components.budget_table import Band, BudgetTable, Figures, Plain
from app.look import units
from app.look.charts import short_block
from app.state.budget import AVERAGE, BITOPS, SIZE
from app.work.budget_axis import Axis
from lrp.engine.layers import Layer
from quant.allocation.cost import CostModel
from quant.allocation.objectives import Losses
from quant.allocation.path import BudgetPlan
from quant.evaluation.prediction import Prediction
from quant.primitives.bits import MENU, uniform


def table_of(
    costs: CostModel,
    axis: Axis,
    plan: BudgetPlan,
    expected: Losses | None,
    prediction: Prediction | None,
    float_top1: float | None,
) -> BudgetTable:
    """Put a plan into the form the slider draws.

    Args:
        expected: what allocations are expected to lose, in nats; None predicts nothing.
    """
    plain = costs.cost({})
    mixed = _figures(costs, plan.weight, plan.activation)
    widths = np.clip(np.floor(np.array(plan.average_bits) + 1e-9), MENU[0], MENU[-1]).astype(int)
    even = _uniform(costs, widths)
    if prediction is not None and expected is not None and float_top1 is not None:
        losses = [sum(row) for row in expected.at(plan.weight, plan.activation).tolist()]
        by_width = {w: expected.of(uniform(costs.layers, w, w)) for w in set(widths.tolist())}
        even_losses = [by_width[w] for w in widths.tolist()]
        mixed = replace(mixed, predicted=_bands(prediction, losses, float_top1))
        even = replace(even, predicted=_bands(prediction, even_losses, float_top1))
    return BudgetTable(
        label={AVERAGE: "Average bits", SIZE: "Weights", BITOPS: "BitOps"}[axis.unit],
        unit={AVERAGE: " bit", SIZE: " MB", BITOPS: " G"}[axis.unit],
        digits=_digits(axis.values),
        values=axis.values,
        layers=[(la.name, short_block(la.block), la.kind) for la in costs.layers],
        weight=plan.weight,
        activation=plan.activation,
        mixed=mixed,
        uniform=even,
        plain=Plain(plain.size_bytes, plain.bitops, float_top1),
        gap=plan.gap.tolist(),
        steps=said(bought(costs.layers, plan), len(axis.values)),
    )


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
    weight, activation = weight.astype(float), activation.astype(float)
    bits = weight @ parameters
    return Figures(
        size=(bits / 8 + 4 * costs.others).tolist(),
        bitops=((weight * activation) @ macs).tolist(),
        weight_bits=(bits / parameters.sum()).tolist(),
        activation_bits=(activation @ macs / macs.sum()).tolist(),
    )


def _uniform(costs: CostModel, widths: np.ndarray) -> Figures:
    spent = [costs.uniform(float(width)) for width in widths]
    return Figures(
        size=[one.size_bytes for one in spent],
        bitops=[one.bitops for one in spent],
        weight_bits=widths.tolist(),
        activation_bits=widths.tolist(),
    )


def _bands(prediction: Prediction, losses: Sequence[float], float_top1: float) -> list[Band]:
    found = prediction.bands(np.array(losses), float_top1)
    return [(low, middle, min(1.0, high)) for low, middle, high in found.tolist()]


@dataclass(frozen=True)
class Purchase:
    """Bits that one layer gained at a row of the plan, what they cost and what they gave.

    Attributes:
        what: "weights" or "activations".
        size: bytes;  bitops: of one image, with the layer's other width as it then is.
        gain: expected loss less than before.
    """

    row: int
    layer: str
    what: str
    before: int
    after: int
    size: float
    bitops: float
    gain: float


def bought(
    layers: Sequence[Layer], plan: BudgetPlan, losses: Losses | None = None
) -> list[Purchase]:
    """List what was bought along the path, row by row, in the order of the layers.

    Args:
        losses: those the plan was made with, for the gains; 0 without.
    """
    found = []
    for row in range(1, len(plan.limits)):
        changed = (plan.weight[row] != plan.weight[row - 1]) | (
            plan.activation[row] != plan.activation[row - 1]
        )
        for index in np.flatnonzero(changed).tolist():
            found += _purchases(layers[index], index, row, plan, losses)
    return found


def _purchases(
    layer: Layer, index: int, row: int, plan: BudgetPlan, losses: Losses | None
) -> list[Purchase]:
    """List one layer's gains at one row: of its weights first, then of its activations."""
    (w0, w1), (a0, a1) = (
        bits[row - 1 : row + 1, index].tolist() for bits in (plan.weight, plan.activation)
    )
    what = "second operand" if layer.kind == "matmul" else "weights"
    # Of each side: the bytes and the BitOps that one bit more of it costs.
    sides = (
        (what, "weight", w0, w1, layer.parameters / 8, layer.macs * a0),
        ("activations", "activation", a0, a1, 0.0, layer.macs * w1),
    )
    return [
        Purchase(row, layer.name, what, old, new, (new - old) * size, (new - old) * work,
                 _gain(losses, side, index, old, new))
        for what, side, old, new, size, work in sides
        if old != new
    ]  # fmt: skip


def _gain(losses: Losses | None, side: str, index: int, before: int, after: int) -> float:
    if losses is None:
        return 0.0
    row, column = getattr(losses, side)[index], losses.widths.index
    return float(row[column(before)] - row[column(after)])


def said(purchases: Sequence[Purchase], rows: int) -> list[str]:
    """Say what the latest step to each row bought."""
    latest = {row: list(made) for row, made in groupby(purchases, key=lambda p: p.row)}
    found, last = [], "nothing yet: the lowest widths"
    for row in range(rows):
        if row in latest:
            last = "; ".join(_said(p) for p in latest[row][:3])
            more = len(latest[row]) - 3
            last += f" and {more} more" if more > 0 else ""
        found.append(last)
    return found


def _said(p: Purchase) -> str:
    cost = [f"+{units.size(p.size)}"] if p.size else []
    cost.append(f"+{units.operations(p.bitops)} BitOps")
    return f"{p.layer} {p.what} {p.before} → {p.after} bits ({', '.join(cost)})"


def purchases_table(axis: Axis, purchases: Sequence[Purchase]) -> pd.DataFrame:
    """Return one row a purchase, in the order of the path."""
    return pd.DataFrame(
        [
            {
                "budget": axis.values[p.row],
                "layer": p.layer,
                "what": p.what,
                "from": p.before,
                "to": p.after,
                "size (kB)": p.size / 1e3,
                "BitOps (M)": p.bitops / 1e6,
                "expected loss less": p.gain,
            }
            for p in purchases
        ]
    )
