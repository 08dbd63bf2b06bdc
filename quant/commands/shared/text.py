"""Accuracies, differences and allocations in words, the same in all commands."""

from quant.allocation.cost import Cost
from quant.allocation.objectives import LRP
from quant.allocation.path import Solution
from quant.evaluation.answers import Evaluation
from quant.primitives.bits import Allocation
from quant.primitives.formats import label

PROVEN = 1e-6  # a gap not above this is rounding: HiGHS stops there


def accuracy(evaluation: Evaluation) -> str:
    """Return "top-1 91.2% (88.0% to 94.0%)"."""
    return f"top-1 {evaluation.top1:.1%} ({evaluation.top1_low:.1%} to {evaluation.top1_high:.1%})"


def points(difference: float, low: float, high: float) -> str:
    """Return "-2.1 points (-4.0 to +0.2)" for -0.021, -0.04, 0.002."""
    return f"{100 * difference:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"


def to_float(evaluation: Evaluation) -> str:
    """Return how much better than float it is on the same images."""
    bounds = (evaluation.difference_low, evaluation.difference_high)
    return f"{points(evaluation.difference, *bounds)} to float"


def certificate(solution: Solution) -> str:
    """Return what an allocation is expected to lose, and how far that may be above the least."""
    unit = "" if solution.objective == LRP else " nats"
    proof = (
        "proven best" if solution.gap <= PROVEN else f"at most {solution.gap:.2%} above the best"
    )
    return (
        f"expected loss {solution.loss:.4g}{unit}, bound {solution.bound:.4g}{unit}, "
        f"gap {solution.gap:.2%}: {proof}"
    )


def beside(spent: Cost, uniform: Cost) -> str:
    """Return what an allocation costs, beside the same budget spent uniformly."""
    return (
        f"{_cost(spent)}, {spent.average_bits:.2f} bits a weight; "
        f"uniform {uniform.average_bits:.4g} bits: {_cost(uniform)}"
    )


def _cost(cost: Cost) -> str:
    whole, file = cost.size_bytes / 1e6, cost.file_bytes / 1e6
    return f"{whole:.3f} MB ({file:.3f} with scales) and {cost.bitops / 1e9:.3f} GBitOps"


def by_layer(allocation: Allocation) -> list[str]:
    """Return a line a layer, with its bits."""
    return [
        f"{name:<40} W{label(b.weight)} A{label(b.activation)}" for name, b in allocation.items()
    ]
