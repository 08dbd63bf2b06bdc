"""`python -m quant allocate`: spend a bit budget over the layers."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from assets.terminal import add_json, write_json
from lrp.engine.layers import Layer
from quant.allocation.allocation_file import to_csv, to_json
from quant.allocation.budget import Choices, Limits, combine, from_average, from_size
from quant.allocation.exact import exact
from quant.allocation.infeasible import require_feasible
from quant.allocation.objectives import LRP, OBJECTIVES, Losses
from quant.allocation.path import budget_plan
from quant.calibration.presets import preset
from quant.commands.evaluations import calibrating
from quant.commands.losses import add_scoring, basis
from quant.commands.options import (
    Subject,
    add_calibration,
    add_preset,
    add_widths,
    choices,
    draw,
    subject,
)
from quant.commands.text import beside, by_layer, certificate
from quant.primitives.qparams import MAX_BITS

SAYS = "spend a bit budget over the layers"
ROWS = 121  # of a plan: 0.05 bits apart from 2 to 8


def add(parser: argparse.ArgumentParser) -> None:
    """Ask for a budget, what it is spent by, and on which widths."""
    add_json(parser, "the allocation")
    add_calibration(parser)
    add_preset(parser)
    parser.add_argument("--average-bits", type=float, help="at most uniform B bits' size, BitOps")
    parser.add_argument("--size-mb", type=float, metavar="MB", help="of the layers' weights")
    parser.add_argument("--gbitops", type=float, metavar="G", help="10^9 bit operations an image")
    parser.add_argument(
        "--objective", default=OBJECTIVES[0], choices=OBJECTIVES, help=f"default: {OBJECTIVES[0]}"
    )
    add_scoring(parser)
    add_widths(parser)
    parser.add_argument(
        "--plan",
        metavar="FILE.csv",
        help=f"write {ROWS} budgets from the lowest to {MAX_BITS} bits; other limits hold in all",
    )


def run(options: argparse.Namespace) -> int:
    """Score the layers, spend the budget, and write the allocation and the plan."""
    model = subject(options)
    offered = choices(options, model.layers, options.tied)
    limits, other = _limits(options, model.layers), _other(options)
    for one in (limits, other):
        require_feasible(offered, one)  # before any work
    images = draw(options, model.loaded).calibrating
    calibrated = calibrating(model, images, preset(options.preset))
    losses = basis(options, model, calibrated, images).losses(options.objective)
    if options.plan is not None:
        _plan(options.plan, model, offered, losses, other)
    if limits != Limits():
        used = {images.source.key: images.indices}
        _solve(options, model, offered, losses, limits, used)
    return 0


def _other(options: argparse.Namespace) -> Limits:
    """Return the limits that hold besides average bits."""
    found = Limits()
    for name in ("size_mb", "gbitops"):
        amount = getattr(options, name)
        if amount is not None and not amount > 0:
            raise ValueError(f"--{name.replace('_', '-')} {amount:g}: use more than 0")
    if options.size_mb is not None:
        found = combine(found, from_size(1e6 * options.size_mb))
    if options.gbitops is not None:
        found = combine(found, Limits(bitops=1e9 * options.gbitops))
    return found


def _limits(options: argparse.Namespace, layers: Sequence[Layer]) -> Limits:
    """Return the budget: all limits that were asked for together."""
    found = _other(options)
    if options.average_bits is not None:
        found = combine(found, from_average(layers, options.average_bits))
    if found == Limits() and options.plan is None:
        raise ValueError("no budget: give --average-bits, --size-mb or --gbitops, or --plan")
    return found


def _plan(path: str, model: Subject, offered: Choices, losses: Losses, other: Limits) -> None:
    """Write the path of budgets."""
    averages = np.linspace(min(offered.least_average, MAX_BITS), MAX_BITS, ROWS)
    limits = [combine(from_average(model.layers, float(one)), other) for one in averages]
    found = budget_plan(offered, losses, limits)
    text = to_csv(found, model.costs)
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError:
        raise ValueError(f"{path} cannot be written: give a file in an existing folder") from None


def _solve(
    options: argparse.Namespace,
    model: Subject,
    offered: Choices,
    losses: Losses,
    limits: Limits,
    chosen_on: Mapping[str, Iterable[int]],
) -> None:
    """Spend one budget, and say what it buys."""
    solution = exact(offered, losses, limits)
    spent = model.costs.cost(solution.allocation)
    even = model.costs.uniform(solution.average_bits)
    quantizer = None if options.objective == LRP else preset(options.preset).name
    payload = to_json(model.loaded.name, solution, spent, even, quantizer, chosen_on)
    write_json(payload, options.json)
    if options.json != "-":
        print(*by_layer(solution.allocation), certificate(solution), sep="\n")
        print(beside(spent, even))
