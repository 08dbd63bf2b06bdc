"""Objectives and controls at several budgets: what is tried, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lrp.engine.layers import Layer
from quant.allocation.budget import Choices, from_average
from quant.allocation.cost import CostModel
from quant.allocation.exact import exact
from quant.allocation.objectives import RANDOM, UNIFORM, Losses, random_losses
from quant.evaluation.clustered import (
    Answered,
    Estimate,
    accuracy,
    between,
    standard_error,
    to_float,
)
from quant.primitives.bits import Allocation, uniform

CHANCE = 1000  # the seed of the first random allocation, far from those of the random controls


@dataclass(frozen=True, eq=False)
class Configuration:
    """An allocation to try.

    Attributes:
        budget: average bits.
        objective: what bits are spent by, or a control: "uniform", "reversed" or "random-2".
        expected: the sum of its layers' sensitivities, in nats.
        gap: how far its own losses may be above the least; None where nothing was minimised.
    """

    budget: float
    objective: str
    allocation: Allocation
    expected: float
    gap: float | None

    @property
    def kind(self) -> str:
        """The objective, of whatever seed."""
        return RANDOM if self.objective.startswith(f"{RANDOM}-") else self.objective

    def __str__(self) -> str:
        return f"{self.objective} {self.budget:g} bits"


def configurations(
    layers: Sequence[Layer],
    choices: Choices,
    budgets: Sequence[float],
    losses: Sequence[Losses],
    expected: Losses,
    even: bool,
) -> list[Configuration]:
    """Spend each budget by each of the losses, exactly: none spends more than uniform bits would.

    Args:
        expected: losses in nats, that say what each allocation is expected to cost.
        even: also try uniform bits, where the budget is whole and the target has it; they know no
            menu and no locks.
    """
    planned = []
    for budget in budgets:
        planned += [spend(layers, choices, budget, one, expected) for one in losses]
        if even and (budget, budget) in choices.target.pairs:
            plain = uniform(layers, int(budget), int(budget))
            planned.append(Configuration(budget, UNIFORM, plain, expected.of(plain), None))
    return planned


def spend(
    layers: Sequence[Layer], choices: Choices, budget: float, losses: Losses, expected: Losses
) -> Configuration:
    """Spend one budget by losses; Infeasible where that cannot be."""
    solution = exact(choices, losses, from_average(layers, budget, choices.target))
    allocation = solution.allocation
    return Configuration(
        budget, losses.objective, allocation, expected.of(allocation), solution.gap
    )


def by_chance(
    layers: Sequence[Layer],
    both: tuple[Choices, Choices],
    span: tuple[float, float],
    count: int,
    expected: Losses,
) -> list[Configuration]:
    """Return allocations by random scores at budgets spread over a span.

    Args:
        both: choices that untie and that tie a layer's widths; taken by turns.
    """
    return [
        spend(
            layers,
            both[number % 2],
            round(float(budget), 3),
            random_losses(expected.names, CHANCE + number, expected.widths),
            expected,
        )
        for number, budget in enumerate(np.linspace(*span, count))
    ]


@dataclass(frozen=True, eq=False)
class Trial:
    """A configuration measured.

    Attributes:
        draw: of calibration images, from 0.
        run: its number in the history, if one is kept.
    """

    configuration: Configuration
    draw: int
    answered: Answered
    run: int | None


@dataclass(frozen=True)
class Row:
    """One objective at one budget, over draws and seeds.

    Attributes:
        runs: how many were measured;  images: the most that one of them answered.
        weight_bits: a weight takes;  activation_bits: an input takes, each multiply-accumulate
            counted once. Means, as all figures are.
        bitops: of one image.
        to_uniform: None where uniform bits were not measured at this budget.
        divergence: from float, in nats;  divergence_error: None for one run.
    """

    budget: float
    objective: str
    runs: int
    images: int
    weight_bits: float
    activation_bits: float
    size_bytes: float
    bitops: float
    top1: Estimate
    to_float: Estimate
    to_uniform: Estimate | None
    divergence: float
    divergence_error: float | None
    expected: float


def summarise(costs: CostModel, trials: Sequence[Trial]) -> list[Row]:
    """Return one row for each budget and objective, in the order they were tried."""
    order: dict[tuple[float, str], list[Trial]] = {}
    for trial in trials:
        key = trial.configuration.budget, trial.configuration.kind
        order.setdefault(key, []).append(trial)
    even = {
        (t.draw, t.configuration.budget): t.answered
        for t in trials
        if t.configuration.objective == UNIFORM
    }
    budgets = list(dict.fromkeys(budget for budget, _ in order))
    ranked = sorted(order, key=lambda key: budgets.index(key[0]))
    return [_row(costs, order[key], even) for key in ranked]


def _row(
    costs: CostModel, trials: Sequence[Trial], even: Mapping[tuple[int, float], Answered]
) -> Row:
    first = trials[0].configuration
    runs = [trial.answered for trial in trials]
    spent = [costs.cost(trial.configuration.allocation) for trial in trials]
    beside = [(t.answered, even.get((t.draw, first.budget))) for t in trials]
    pairs = [(one, other) for one, other in beside if other is not None]
    divergences = [float(run.answers.divergence.mean(dtype=float)) for run in runs]
    return Row(
        budget=first.budget,
        objective=first.kind,
        runs=len(runs),
        images=max(len(run.answers) for run in runs),
        weight_bits=float(np.mean([one.average_bits for one in spent])),
        activation_bits=float(np.mean([_activation_bits(costs.layers, t) for t in trials])),
        size_bytes=float(np.mean([one.size_bytes for one in spent])),
        bitops=float(np.mean([one.bitops for one in spent])),
        top1=accuracy(runs),
        to_float=to_float(runs),
        to_uniform=between(pairs) if pairs and first.kind != UNIFORM else None,
        divergence=float(np.mean(divergences)),
        divergence_error=standard_error(divergences),
        expected=float(np.mean([t.configuration.expected for t in trials])),
    )


def _activation_bits(layers: Sequence[Layer], trial: Trial) -> float:
    macs = [layer.macs for layer in layers]
    bits = [trial.configuration.allocation[layer.name].activation for layer in layers]
    return float(np.average(bits, weights=macs))
