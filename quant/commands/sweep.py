"""`python -m quant sweep`: objectives and controls at several budgets, on the same images."""

import argparse
from typing import Any

import numpy as np

from assets.sets.telling import told
from assets.terminal import print_stages
from lrp.engine.progress import Progress
from quant.allocation.budget import Choices, from_average
from quant.allocation.infeasible import require_feasible
from quant.allocation.objectives import (
    CONTROLS,
    OBJECTIVES,
    RANDOM,
    REVERSED,
    UNIFORM,
    by_sensitivity,
    foretelling,
    random_losses,
    reversed_losses,
)
from quant.calibration.presets import preset
from quant.commands.shared.evaluations import measuring, order_suggestion, precision, print_steps
from quant.commands.shared.losses import Basis
from quant.commands.shared.options import (
    MEASURING,
    SCORING,
    WIDTHS,
    Subject,
    add_shared,
    add_subject,
    choices,
    draw,
    subject,
)
from quant.commands.sweep_report import Swept, described, in_words
from quant.evaluation.clustered import Answered
from quant.experiments.measuring import FLOAT, Variant
from quant.experiments.objective_sweep import Configuration, Trial, by_chance, configurations
from quant.primitives.bits import LayerBits
from quant.primitives.formats import label
from quant.primitives.targets import ANY

SAYS = "accuracy of objectives and controls at several budgets"


def add(parser: argparse.ArgumentParser) -> None:
    """Add what to try, at which budgets, on which images."""
    add_subject(parser, "all results")
    add_shared(parser, "limit")
    parser.add_argument(
        "--skip", type=int, default=0, metavar="N", help="leave out the first N images to measure"
    )
    add_shared(parser, "preset")
    _add_trials(parser)
    add_shared(parser, *SCORING, *WIDTHS, *MEASURING)


def _add_trials(parser: argparse.ArgumentParser) -> None:
    every, controls = list(OBJECTIVES), list(CONTROLS)
    parser.add_argument(
        "--objectives", nargs="+", default=every, choices=OBJECTIVES, help="default: all"
    )
    parser.add_argument(
        "--budgets", type=float, nargs="+", default=[3, 4, 5, 6], help="average bits: 3 4 5 6"
    )
    parser.add_argument(
        "--controls", nargs="*", default=controls, choices=CONTROLS, help="default: all"
    )
    parser.add_argument("--seeds", type=int, default=3, help="of the random control (default: 3)")
    parser.add_argument("--draws", type=int, default=1, help="of calibration images (default: 1)")
    parser.add_argument(
        "--random-allocations",
        type=int,
        default=0,
        metavar="N",
        help="also measure N random allocations, to check predicted accuracies on (default: 0)",
    )


def run(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Try objectives and controls at several budgets, over draws of calibration images."""
    for name, least in (("draws", 1), ("seeds", 1), ("random_allocations", 0)):
        if getattr(options, name) < least:
            option = f"--{name.replace('_', '-')} {getattr(options, name)}"
            raise ValueError(f"{option}: use {least} or more")
    precision(options)  # before any work
    model = subject(options)
    offered = choices(options, model.layers, False), choices(options, model.layers, True)
    for budget in options.budgets:
        require_feasible(offered[0], from_average(model.layers, budget, offered[0].target))
    images = draw(options, model.loaded, measured_seed=0)
    folders = told(images)
    swept = Swept(model, preset(options.preset).name, options.draws)
    for number in range(options.draws):
        _try(options, offered, number, swept)
    suggested = order_suggestion(images.measured, swept.plain[0].answers)
    told_of = {"folders": folders, "order_suggestion": suggested}
    return described(swept) | told_of, in_words(swept)


def _try(
    options: argparse.Namespace, offered: tuple[Choices, Choices], number: int, swept: Swept
) -> None:
    """Try all on one draw of calibration images; `offered` are untied and tied widths."""
    images = draw(options, swept.model.loaded, number, measured_seed=0)
    measured = measuring(options, swept.model, images)
    places = np.array(measured.images.indices)  # what tells images apart, whatever was left out
    basis = Basis(options, swept.model, measured.calibrating, images.calibrating)
    planned, random = _configurations(options, offered, number, swept.model, basis)
    tried = []
    for place, one in enumerate([*planned, *random], 1):
        wanted = Variant(one.allocation, one.objective, _budget(offered[0], one))
        steps = measured.measure(wanted, precision(options), progress=Progress(print_stages()))
        title = f"draw {number + 1}, {place} of {len(planned) + len(random)}, {one}"
        last = print_steps(title, steps)
        tried.append(Trial(one, number, Answered(last.answers, places), last.run))
    swept.trials.extend(tried[: len(planned)])
    swept.chance.extend(tried[len(planned) :])
    most = max(len(one.answered.answers) for one in tried)
    plain = print_steps("float", measured.measure(FLOAT, limit=most)).answers.part(0, most)
    swept.plain.append(Answered(plain, places))


def _configurations(
    options: argparse.Namespace,
    offered: tuple[Choices, Choices],
    number: int,
    model: Subject,
    basis: Basis,
) -> tuple[list[Configuration], list[Configuration]]:
    """Spend the budgets by objectives and controls, and on the first draw by random scores."""
    budgets = list(dict.fromkeys(options.budgets))
    expected, even = foretelling(basis.sensitivity), UNIFORM in options.controls
    losses = [basis.losses(name) for name in dict.fromkeys(options.objectives)]
    names = losses[0].names
    if REVERSED in options.controls:
        losses.append(reversed_losses(by_sensitivity(basis.sensitivity)))
    if RANDOM in options.controls:
        widths = basis.target.widths
        losses += [random_losses(names, seed, widths) for seed in range(options.seeds)]
    planned = configurations(model.layers, offered[options.tied], budgets, losses, expected, even)
    if number:
        return planned, []
    span, count = (min(budgets), max(budgets)), options.random_allocations
    return planned, by_chance(model.layers, offered, span, count, expected)


def _budget(offered: Choices, one: Configuration) -> str:
    """Return a budget with what else decided the bits."""
    if one.objective == UNIFORM:
        return str(LayerBits(int(one.budget), int(one.budget)))
    free = [bits for name, bits in one.allocation.items() if name not in offered.locks]
    tied = all(bits.weight == bits.activation for bits in free)
    whole = offered.menu == offered.target.widths
    menu = "" if whole else f" of {' '.join(map(label, offered.menu))}"
    locked = f", {len(offered.locks)} locked" if offered.locks else ""
    on = "" if offered.target is ANY else f" on {offered.target.label}"
    return f"{one.budget:g} bit{on}{menu}{' W=A' * tied}{locked}"
