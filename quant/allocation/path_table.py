"""The path of budgets as a table: one row a budget, with what it buys, costs and loses."""

from __future__ import annotations

import csv
import io

from quant.allocation.cost import CostModel
from quant.allocation.path import BudgetPlan

COLUMNS = ("budget", "size_bytes", "bitops", "average_bits", "loss", "bound", "gap")


def to_csv(plan: BudgetPlan, costs: CostModel) -> str:
    """Write a plan as CSV: `COLUMNS`, then each layer's weight and activation bits.

    The budget is the greatest uniform width within its limits; `average_bits` is what a weight of
    the layers takes on average.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    bits = [f"{name} {side}" for name in plan.names for side in ("weight", "activation")]
    writer.writerow([*COLUMNS, *bits])
    for row in range(len(plan.limits)):
        solution = plan.solution(row)
        spent = costs.cost(solution.allocation)
        figures = (
            *(round(solution.average_bits, 6), spent.size_bytes, spent.bitops),
            *(round(spent.average_bits, 6), solution.loss, solution.bound, solution.gap),
        )
        pairs = [(bits.weight, bits.activation) for bits in solution.allocation.values()]
        writer.writerow([*figures, *(width for pair in pairs for width in pair)])
    return text.getvalue()
