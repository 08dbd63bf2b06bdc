"""`python -m quant allocate`: spend a bit budget over the layers."""

import argparse
from dataclasses import replace
from typing import Any

import numpy as np

from assets.outputs import Output
from assets.sets.image_set import ImageSet
from assets.sets.telling import told
from quant.allocation.allocation_file import to_csv, to_json
from quant.allocation.budget import Choices, Limits, combine, from_average, from_size
from quant.allocation.exact import exact
from quant.allocation.infeasible import require_feasible
from quant.allocation.objectives import LRP, OBJECTIVES, Losses
from quant.allocation.path import BudgetPlan, Solution, budget_plan
from quant.calibration.presets import preset
from quant.commands.shared.evaluations import calibrating
from quant.commands.shared.losses import Basis
from quant.commands.shared.options import (
    SCORING,
    WIDTHS,
    Subject,
    add_shared,
    add_subject,
    choices,
    draw,
    subject,
)
from quant.commands.shared.text import beside, by_layer, certificate
from quant.commands.shared.within import Within, within
from quant.experiments.within_loss import NATS, POINTS, Accepted
from quant.primitives.targets import target

SAYS = "spend a bit budget over the layers"
ROWS = 121  # of a plan: 0.05 bits apart from 2 to 8


def add(parser: argparse.ArgumentParser) -> None:
    """Add a budget, what it is spent by, and on which widths."""
    add_subject(parser, "the allocation")
    add_shared(parser, "preset")
    parser.add_argument("--average-bits", type=float, help="at most uniform B bits' size, BitOps")
    parser.add_argument("--size-mb", type=float, metavar="MB", help="of the layers' weights")
    parser.add_argument("--gbitops", type=float, metavar="G", help="10^9 bit operations an image")
    accepted = parser.add_mutually_exclusive_group()
    accepted.add_argument(
        "--at-most-points",
        type=float,
        metavar="P",
        help="the smallest budget that is measured to lose no more of top-1 than this",
    )
    accepted.add_argument("--at-most-nats", type=float, metavar="D", help="the same in divergence")
    add_shared(parser, "limit", "no-history")
    parser.add_argument(
        "--objective", default=OBJECTIVES[0], choices=OBJECTIVES, help=f"default: {OBJECTIVES[0]}"
    )
    add_shared(parser, *SCORING, *WIDTHS)
    parser.add_argument(
        "--plan",
        metavar="FILE.csv",
        type=Output,
        help=f"write {ROWS} budgets from the lowest to the widest; other limits hold in all",
    )


def run(options: argparse.Namespace) -> tuple[dict[str, Any] | None, str]:
    """Score the layers, spend the budget, and write the plan."""
    model = subject(options)
    offered = choices(options, model.layers, options.tied)
    limits = other = _other(options)
    if options.average_bits is not None:
        limits = combine(other, from_average(model.layers, options.average_bits, offered.target))
    accepted = _accepted(options)
    _check(options, limits, accepted)
    for one in (limits, other):
        require_feasible(offered, one)  # before any work
    images = draw(options, model.loaded)
    folders = told(images, measures=False)
    calibrated = calibrating(options, model, images.calibrating)
    losses = Basis(options, model, calibrated, images.calibrating).losses(options.objective)
    if options.plan is not None:
        _plan(options.plan, model, offered, losses, other)
    if accepted is not None:
        found = within(options, model, images, _path(model, offered, losses, other), accepted)
    elif limits == Limits():
        return None, ""
    else:
        found = Within(exact(offered, losses, limits))
    payload, text = _described(options, model, found.solution, images.calibrating)
    return payload | found.facts | {"folders": folders}, "\n".join([text, *found.lines])


def _check(options: argparse.Namespace, limits: Limits, accepted: Accepted | None) -> None:
    """Check that there is something to spend, and that it is said once."""
    if accepted is not None:
        if options.average_bits is not None:
            raise ValueError("--average-bits is what --at-most-points and --at-most-nats find")
        return
    if limits == Limits() and options.plan is None:
        raise ValueError(
            "no budget: give --average-bits, --size-mb or --gbitops, or --plan, or the loss that "
            "you accept: --at-most-points or --at-most-nats"
        )
    if limits == Limits() and options.json is not None:
        raise ValueError("--json is of one budget: give --average-bits, --size-mb or --gbitops")


def _accepted(options: argparse.Namespace) -> Accepted | None:
    """Return the loss that is accepted, if one was named."""
    for unit in (POINTS, NATS):
        most = getattr(options, f"at_most_{unit}")
        if most is not None:
            return Accepted(most, unit)
    return None


def _other(options: argparse.Namespace) -> Limits:
    """Return the limits that hold besides average bits."""
    for name in ("size_mb", "gbitops"):
        amount = getattr(options, name)
        if amount is not None and not amount > 0:
            raise ValueError(f"--{name.replace('_', '-')} {amount:g}: use more than 0")
    limits = Limits() if options.size_mb is None else from_size(1e6 * options.size_mb)
    return limits if options.gbitops is None else replace(limits, bitops=1e9 * options.gbitops)


def _plan(target: Output, model: Subject, offered: Choices, losses: Losses, other: Limits) -> None:
    """Write the path of budgets."""
    target.write(to_csv(_path(model, offered, losses, other), model.costs))


def _path(model: Subject, offered: Choices, losses: Losses, other: Limits) -> BudgetPlan:
    """Spend all budgets from the lowest to the widest."""
    widest = offered.target.widest
    averages = np.linspace(min(offered.least_average, widest), widest, ROWS)
    limits = [
        combine(from_average(model.layers, float(one), offered.target), other) for one in averages
    ]
    return budget_plan(offered, losses, limits)


def _described(
    options: argparse.Namespace, model: Subject, solution: Solution, images: ImageSet
) -> tuple[dict[str, Any], str]:
    """Return what a budget buys, chosen on these images, as JSON and in words."""
    spent = model.costs.cost(solution.allocation)
    even = model.costs.uniform(solution.average_bits)
    quantizer = None if options.objective == LRP else preset(options.preset).name
    chosen_on = {images.source.key: images.indices}
    to = target(options.target)
    payload = to_json(model.loaded.name, solution, spent, even, quantizer, chosen_on, to)
    payload["notes"] = list(model.loaded.notes)
    lines = [*by_layer(solution.allocation), certificate(solution), beside(spent, even)]
    return payload, "\n".join(lines)
