"""How bits are spent and what that gives: scores, sensitivities, plans, evaluations.

Cached for all sessions.
"""

import hashlib
import time
from collections.abc import Generator, Hashable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from app.state.budget import AVERAGE, SIZE
from app.state.selection import Selected
from app.work import history, models
from app.work.job import Job
from app.work.wanted import Recent, Wanted
from assets.models.load import LoadedModel
from assets.sets.image_set import ImageSet
from lrp.engine.layers import Layer
from lrp.engine.progress import Progress
from lrp.propagation.scores import ContributionScores, Scoring
from quant.allocation.budget import Choices, Limits, combine, from_average, from_size, offer
from quant.allocation.infeasible import require_feasible
from quant.allocation.objectives import Losses, foretelling
from quant.allocation.path import BudgetPlan, budget_plan
from quant.analysis.sensitivity import Sensitivity
from quant.evaluation.stream import Step
from quant.experiments.calibrating import Calibrating
from quant.experiments.measuring import Given, Measuring, Shared, Variant
from quant.experiments.within_loss import TRIES, Accepted, Search
from quant.primitives.bits import LayerBits
from quant.primitives.targets import ANY, Target

RANDOM_SEEDS = 3
ROWS = 121  # budgets of a slider, at most


@dataclass(frozen=True)
class Axis:
    """The budgets a slider goes through, in one unit.

    Attributes:
        unit: "average", "size" (MB of the layers' weights) or "bitops" (10^9 of one image).
        values: (T,), in that unit, ascending.
        limits: (T,), with what else is limited.
    """

    unit: str
    values: tuple[float, ...]
    limits: tuple[Limits, ...]

    def row(self, value: float) -> int:
        """Return the row nearest to a value."""
        return int(np.abs(np.array(self.values) - value).argmin())


@dataclass(frozen=True, eq=False)
class Spending:
    """How bits are spent: by which losses, on which widths, within what besides the budget.

    Attributes:
        losses: of the objective.
        sensitivity: what allocations are expected to lose, in nats; None before it is known.
        key: names the losses.
        target: what the model is to run on;  menu: the widths offered, of the target's.
        other: limits that hold besides the slider's.
    """

    losses: Losses
    sensitivity: Sensitivity | None
    key: Hashable
    unit: str
    target: Target
    menu: tuple[int, ...]
    tied: bool
    other: Limits

    @property
    def expected(self) -> Losses | None:
        """Losses in nats that foretell an allocation's divergence, whatever bits are spent by."""
        return None if self.sensitivity is None else foretelling(self.sensitivity)


def scores_of(scoring: Scoring) -> Wanted[ContributionScores]:
    """Return how the layers' contribution scores are had."""

    def make(progress: Progress) -> ContributionScores:
        progress(0, len(scoring.images))
        return scoring.scores(progress)

    title = f"Scoring the layers of {scoring.loaded.name} on {len(scoring.images)} images"
    return Wanted(scoring.key, title, make, models.memory("scores", 32), models.jobs())


def sensitivity_of(calibrating: Calibrating, how: str, target: Target = ANY) -> Wanted[Sensitivity]:
    """Return how the layers' sensitivities are had: also from a file that is there already."""
    file = calibrating.sensitivity_file(how, target=target).name  # targets share those at 2 to 8
    key = ("sensitivity", file, *calibrating.key)
    kept: Recent[Sensitivity] = models.memory("sensitivities", 16)
    if kept.peek(key) is None:
        found = calibrating.kept_sensitivity(how, target=target)
        if found is not None:
            kept.get(key, lambda: found)

    title = f"Finding how sensitive the layers of {calibrating.loaded.name} are"
    make = partial(calibrating.find_sensitivity, how, None, target=target)
    return Wanted(key, title, make, kept, models.jobs())


def choices_of(loaded: LoadedModel, spending: Spending, locks: dict[str, LayerBits]) -> Choices:
    """Return the widths each layer may take; ValueError for a lock that this model has not."""
    layers = models.layers_of(loaded)
    return offer(layers, spending.menu, locks, spending.tied, spending.target)


def axis_of(layers: Sequence[Layer], choices: Choices, unit: str, other: Limits) -> Axis:
    """Lay out the budgets that can be met, from the lowest to what the widest widths take.

    Raises:
        Infeasible: `other` is below what the lowest widths need.
    """
    require_feasible(choices, other)
    least, most = choices.least, _most(choices)
    if unit == AVERAGE:
        to = choices.target
        values = np.linspace(to.narrowest, to.widest, ROWS)
        values = values[values >= choices.least_average - 1e-9]
        limits = [from_average(layers, value, to) for value in values]
    elif unit == SIZE:
        rows = ROWS if most.weight_bits > least.weight_bits else 1
        values = np.linspace(least.weight_bits, most.weight_bits, rows) / 8e6
        limits = [from_size(value * 1e6) for value in values]
    else:
        rows = ROWS if most.bitops > least.bitops else 1
        values = np.geomspace(least.bitops, most.bitops, rows) / 1e9
        limits = [Limits(bitops=value * 1e9) for value in values]
    return Axis(unit, tuple(values.tolist()), tuple(combine(one, other) for one in limits))


def _most(choices: Choices) -> Limits:
    return Limits(float(choices.size.max(1).sum()), float(choices.work.max(1).sum()))


def plan_of(
    loaded: LoadedModel, spending: Spending, locks: dict[str, LayerBits]
) -> tuple[Axis, BudgetPlan]:
    """Spend every budget of the slider; Infeasible where the other limits leave no way."""
    within = spending.unit, spending.target, spending.menu, spending.tied, spending.other
    key = (spending.key, *within, frozenset(locks.items()))

    def make() -> tuple[Axis, BudgetPlan]:
        layers = models.layers_of(loaded)
        choices = choices_of(loaded, spending, locks)
        axis = axis_of(layers, choices, spending.unit, spending.other)
        return axis, budget_plan(choices, spending.losses, axis.limits)

    plans: Recent[tuple[Axis, BudgetPlan]] = models.memory("plans", 32)
    return plans.get(key, make)


def measuring(selected: Selected, calibrating: Calibrating, images: ImageSet) -> Measuring:
    """Return what variants are measured with; the history's ValueError where it is damaged."""
    given = Given(selected.checkpoint, selected.folder)
    kept: Recent[Shared] = models.memory("pictures and float logits", 2)
    return Measuring(calibrating, images, history.history(), given, kept=kept)


def evaluate(
    measuring: Measuring, variant: Variant, precision: float | None, progress: Progress
) -> Generator[None, None, Step]:
    """Evaluate a variant batch by batch, report each `Step` and give way after it.

    Args:
        precision: stop once the difference to float is known to +- this share; None: all images.
    """
    progress(0, len(measuring.images), "image")
    for step in measuring.measure(variant, precision, progress=progress):
        progress(len(step.answers), step.wanted, "image", step)
        yield
    return step  # there is at least one image


def sweep(
    measuring: Measuring, variants: Sequence[Variant], precision: float | None, progress: Progress
) -> Generator[None, None, int]:
    """Evaluate variants one after another and return how many; what is done is kept."""
    count, total = len(measuring.images), len(measuring.images) * len(variants)
    for index, variant in enumerate(variants):
        for step in measuring.measure(variant, precision, progress=progress):
            progress(index * count + len(step.answers), total, "image", step)
            yield
    return len(variants)


def search(
    measuring: Measuring, variants: Sequence[Variant], looking: Search, progress: Progress
) -> Generator[None, None, Search]:
    """Evaluate budgets until the smallest that loses no more than is accepted is known.

    Args:
        variants: by row of what is searched.

    Raises:
        ValueError: none of those evaluated loses so little.
    """
    for row in looking.rows():
        part = progress.part(len(looking.measured), TRIES)
        step = yield from evaluate(measuring, variants[row], None, part)
        looking.tell(row, step.evaluation)
    looking.found()
    return looking


def start_evaluation(measuring: Measuring, variant: Variant, precision: float | None) -> Job:
    """Evaluate a variant in the background; before other jobs, if it needs no calibration."""
    key = ("evaluation", history.place(), measuring.recipe(variant).key, precision)
    work, brief = partial(evaluate, measuring, variant, precision), measuring.ready(variant)
    title, owner = f"Measuring {variant}", models.owner().name
    return models.jobs().submit(key, title, work, owner, again=True, brief=brief)


def warm(measuring: Measuring, variant: Variant) -> None:
    """Get ready, in the background, what the first evaluation needs; once for all sessions."""
    key = ("warm", *measuring.key)
    if models.quick_jobs().find(key) is None:
        work = partial(measuring.warm, variant)
        models.quick_jobs().submit(key, "Getting ready to measure", work, models.owner().name)


def start_sweep(measuring: Measuring, variants: Sequence[Variant], precision: float | None) -> Job:
    """Evaluate variants one after another in the background."""
    key = sweep_key(measuring, variants, precision)
    title = f"Sweep over {len(variants)} configurations"
    work = partial(sweep, measuring, variants, precision)
    return models.jobs().submit(key, title, work, models.owner().name, again=True)


def sweep_key(
    measuring: Measuring, variants: Sequence[Variant], precision: float | None
) -> tuple[Hashable, ...]:
    """Return what names the job of a sweep."""
    named = repr([measuring.recipe(variant).key for variant in variants])
    return "sweep", history.place(), hashlib.sha256(named.encode()).hexdigest(), precision


def start_search(
    measuring: Measuring, variants: Sequence[Variant], expected: np.ndarray, accepted: Accepted
) -> Job:
    """Look for the smallest budget within a loss, in the background."""
    key = ("search", history.place(), time.monotonic_ns())
    work = partial(search, measuring, variants, Search(expected, accepted))
    title = f"Looking for a budget that loses at most {accepted}"
    return models.jobs().submit(key, title, work, models.owner().name)
