"""`python -m quant sweep`: objectives and controls at several budgets, on the same images."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from assets.terminal import add_json, print_stages, write_json
from lrp.engine.progress import Progress
from quant.allocation.budget import Choices, from_average
from quant.allocation.infeasible import require_feasible
from quant.allocation.objectives import (
    CONTROLS,
    OBJECTIVES,
    RANDOM,
    REVERSED,
    UNIFORM,
    Losses,
    by_sensitivity,
    random_losses,
    reversed_losses,
)
from quant.calibration.presets import preset
from quant.commands.evaluations import (
    add_history,
    add_precision,
    calibrating,
    given,
    history,
    precision,
    print_steps,
)
from quant.commands.losses import Basis, add_scoring, basis
from quant.commands.options import (
    Subject,
    add_calibration,
    add_limit,
    add_preset,
    add_widths,
    choices,
    draw,
    subject,
)
from quant.commands.sweep_report import Swept, described, said
from quant.evaluation.clustered import Answered
from quant.experiments.measuring import FLOAT, Measuring, Variant
from quant.experiments.objective_sweep import Configuration, Trial, by_chance, configurations
from quant.history.runs import Runs
from quant.primitives.bits import MENU, LayerBits

SAYS = "accuracy of objectives and controls at several budgets"


def add(parser: argparse.ArgumentParser) -> None:
    """Ask what to try, at which budgets, on which images."""
    add_json(parser, "all results")
    add_calibration(parser)
    add_limit(parser)
    parser.add_argument(
        "--skip", type=int, default=0, metavar="N", help="leave out the first N images to measure"
    )
    add_preset(parser)
    _add_trials(parser)
    add_scoring(parser)
    add_widths(parser)
    add_precision(parser)
    add_history(parser)


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


@dataclass(frozen=True, eq=False)
class Wanted:
    """What to try, whatever the draw.

    Attributes:
        offered: the widths of each layer, untied and tied.
    """

    options: argparse.Namespace
    model: Subject
    offered: tuple[Choices, Choices]
    history: Runs | None

    @classmethod
    def of(cls, options: argparse.Namespace) -> Wanted:
        """Read the options.

        Raises:
            ValueError: there are no such budgets, draws or seeds; Infeasible: a budget too low.
        """
        for name, least in (("draws", 1), ("seeds", 1), ("random_allocations", 0)):
            if getattr(options, name) < least:
                given = f"--{name.replace('_', '-')} {getattr(options, name)}"
                raise ValueError(f"{given}: use {least} or more")
        precision(options)
        model = subject(options)
        offered = choices(options, model.layers, False), choices(options, model.layers, True)
        for budget in options.budgets:
            require_feasible(offered[0], from_average(model.layers, budget))
        return cls(options, model, offered, history(options))

    def losses(self, basis: Basis) -> list[Losses]:
        """Return what bits are spent by: the objectives, then the controls."""
        found = [basis.losses(name) for name in dict.fromkeys(self.options.objectives)]
        names, controls = found[0].names, self.options.controls
        if REVERSED in controls:
            found.append(reversed_losses(by_sensitivity(basis.sensitivity)))
        if RANDOM in controls:
            found += [random_losses(names, seed) for seed in range(self.options.seeds)]
        return found

    def configurations(self, basis: Basis) -> list[Configuration]:
        """Spend the budgets."""
        budgets = list(dict.fromkeys(self.options.budgets))
        expected, even = by_sensitivity(basis.sensitivity), UNIFORM in self.options.controls
        offered = self.offered[self.options.tied]
        losses = self.losses(basis)
        return configurations(self.model.layers, offered, budgets, losses, expected, even)

    def by_chance(self, basis: Basis) -> list[Configuration]:
        """Spend budgets by random scores."""
        span = min(self.options.budgets), max(self.options.budgets)
        count, expected = self.options.random_allocations, by_sensitivity(basis.sensitivity)
        return by_chance(self.model.layers, self.offered, span, count, expected)


def run(options: argparse.Namespace) -> int:
    """Try objectives and controls at several budgets, over draws of calibration images."""
    wanted = Wanted.of(options)
    found = Swept(wanted.model, preset(options.preset).name, options.draws)
    for number in range(options.draws):
        _try(wanted, number, found)
    write_json(described(found), options.json)
    if options.json != "-":
        print(said(found))
    return 0


def _try(wanted: Wanted, number: int, found: Swept) -> None:
    """Try all on one draw of calibration images."""
    options, model = wanted.options, wanted.model
    images = draw(options, model.loaded, number, measured_seed=0)
    calibrated = calibrating(model, images.calibrating, preset(options.preset))
    measuring = Measuring(calibrated, images.measured, wanted.history, given(options))
    spent_by = basis(options, model, calibrated, images.calibrating)
    planned = wanted.configurations(spent_by)
    chance = wanted.by_chance(spent_by) if number == 0 else []
    tried = [
        _trial(wanted, measuring, one, number, f"{place} of {len(planned) + len(chance)}")
        for place, one in enumerate([*planned, *chance], 1)
    ]
    found.trials.extend(tried[: len(planned)])
    found.chance.extend(tried[len(planned) :])
    most = max(len(one.answered.answers) for one in tried)
    plain = print_steps("float", measuring.measure(FLOAT, limit=most)).answers.part(0, most)
    found.plain.append(Answered(plain, _places(measuring)))


def _trial(
    wanted: Wanted, measuring: Measuring, one: Configuration, draw: int, place: str
) -> Trial:
    variant = Variant(one.allocation, one.objective, _budget(wanted, one))
    progress = Progress(print_stages())
    steps = measuring.measure(variant, precision(wanted.options), progress=progress)
    last = print_steps(f"draw {draw + 1}, {place}, {one}", steps)
    return Trial(one, draw, Answered(last.answers, _places(measuring)), last.run)


def _budget(wanted: Wanted, one: Configuration) -> str:
    """Say a budget with what else decided the bits."""
    if one.objective == UNIFORM:
        return str(LayerBits(int(one.budget), int(one.budget)))
    offered = wanted.offered[0]
    free = [bits for name, bits in one.allocation.items() if name not in offered.locks]
    tied = all(bits.weight == bits.activation for bits in free)
    menu = "" if offered.menu == MENU else f" of {' '.join(map(str, offered.menu))}"
    locked = f", {len(offered.locks)} locked" if offered.locks else ""
    return f"{one.budget:g} bit{menu}{' W=A' * tied}{locked}"


def _places(measuring: Measuring) -> np.ndarray:
    """Return what tells the measured images apart, whatever was left out of them."""
    return np.array(measuring.images.indices)
