"""Measure budgets on a path until the smallest that loses no more than is accepted is known."""

import argparse
from dataclasses import asdict, dataclass, field
from typing import Any

from assets.sets.selection import Draw
from assets.terminal import print_stages
from lrp.engine.progress import Progress
from quant.allocation.path import BudgetPlan, Solution
from quant.commands.shared.evaluations import measuring, print_steps
from quant.commands.shared.options import Subject
from quant.commands.shared.text import to_float
from quant.experiments.measuring import Variant
from quant.experiments.within_loss import Accepted, Search


@dataclass(frozen=True)
class Within:
    """An allocation, and what was measured to find it: as JSON, and in words."""

    solution: Solution
    facts: dict[str, Any] = field(default_factory=dict)
    lines: tuple[str, ...] = ()


def within(
    options: argparse.Namespace, model: Subject, images: Draw, plan: BudgetPlan, accepted: Accepted
) -> Within:
    """Search a path of budgets.

    Raises:
        ValueError: none of those measured loses so little.
    """
    measured, search, tried = measuring(options, model, images), Search(plan.loss, accepted), []
    for row in search.rows():
        solution = plan.solution(row)
        words = f"{solution.average_bits:.2f} bit"
        wanted = Variant(solution.allocation, plan.objective, words)
        last = print_steps(words, measured.measure(wanted, progress=Progress(print_stages())))
        search.tell(row, last.evaluation)
        tried.append(
            {
                "average_bits": solution.average_bits,
                "size_bytes": model.costs.cost(solution.allocation).size_bytes,
                "evaluation": asdict(last.evaluation),
                "accepted": accepted.keeps(last.evaluation),
                "run": last.run,
            }
        )
    best = search.found()
    facts = {**asdict(accepted), "surely": search.sure, "tried": tried}
    return Within(plan.solution(best), {"accepted": facts}, (_found(search),))


def _found(search: Search) -> str:
    """Say what was measured, and how sure it is."""
    best = search.measured[search.found()]
    doubt = "" if search.sure else "; that interval reaches further: measure on more images"
    return (
        f"the smallest of {len(search.measured)} budgets measured that loses at most "
        f"{search.accepted}: {to_float(best)}, divergence {best.divergence:.4f} nats, on "
        f"{best.images} images{doubt}"
    )
