"""How bits are spent and what that gives: scores, sensitivities, plans, evaluations.

Cached for all sessions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from app.state.selection import Selected
from app.work import evaluations, history, models, tasks
from app.work.budget_axis import Axis, axis_of
from app.work.evaluations import Measuring, Wish
from app.work.jobs import Job
from app.work.recent import Recent
from app.work.tasks import Calibrating, Scoring
from app.work.wanted import Wanted
from assets.models.load import LoadedModel
from assets.sets.image_set import ImageSet
from lrp.propagation.scores import ContributionScores
from quant.allocation.budget import Choices, Limits, offer
from quant.allocation.objectives import (
    LRP,
    SENSITIVITY,
    Losses,
    by_product,
    by_scores,
    by_sensitivity,
)
from quant.allocation.path import BudgetPlan, budget_plan
from quant.analysis.sensitivity import Sensitivity
from quant.evaluation.float_logits import FloatLogits
from quant.evaluation.image_set import Pictures
from quant.evaluation.prediction import Prediction, point, predict
from quant.history.runs import Run
from quant.primitives.bits import LayerBits

RANDOM_SEEDS = 3


@dataclass(frozen=True, eq=False)
class Spending:
    """How bits are spent: by which losses, on which widths, within what besides the budget.

    Attributes:
        losses: of the objective.
        sensitivity: what allocations are expected to lose, in nats; None before it is known.
        key: names the losses.
        other: limits that hold besides the slider's.
    """

    losses: Losses
    sensitivity: Sensitivity | None
    key: Hashable
    unit: str
    menu: tuple[int, ...]
    tied: bool
    other: Limits

    @property
    def expected(self) -> Losses | None:
        """Losses in nats, whatever bits are spent by."""
        return None if self.sensitivity is None else by_sensitivity(self.sensitivity)


def losses_of(
    objective: str, scores: ContributionScores | None, sensitivity: Sensitivity | None
) -> Losses | None:
    """Return the losses of an objective, or None where what they are made of is not there yet."""
    if objective == LRP:
        return None if scores is None else by_scores(scores.mean)
    if sensitivity is None:
        return None
    if objective == SENSITIVITY:
        return by_sensitivity(sensitivity)
    return None if scores is None else by_product(sensitivity, scores.mean)


def scores_of(loaded: LoadedModel, scoring: Scoring) -> Wanted[ContributionScores]:
    """Return how the layers' contribution scores are had."""
    device = str(tasks.device_of(loaded))
    key = "scores", loaded.key, device, scoring.images.key, scoring.rules, scoring.statistic
    title = f"Scoring the layers of {loaded.name} on {len(scoring.images)} images"
    kept = models.memory("scores", 32)
    return Wanted(key, title, tasks.score(loaded, scoring), kept, models.jobs())


def sensitivity_of(calibrating: Calibrating, how: str) -> Wanted[Sensitivity]:
    """Return how the layers' sensitivities are had: also from a file that is there already."""
    key, path = ("sensitivity", how, *calibrating.key), calibrating.sensitivities(how)
    kept: Recent[Sensitivity] = models.memory("sensitivities", 8)
    if kept.peek(key) is None and path.exists():
        with suppress(ValueError):  # damaged or of another version: to be found anew
            kept.get(key, lambda: Sensitivity.read(path))
    title = f"Finding how sensitive the layers of {calibrating.loaded.name} are"
    work = tasks.sense(calibrating, how, models.calibrations())
    return Wanted(key, title, work, kept, models.jobs())


def choices_of(loaded: LoadedModel, spending: Spending, locks: dict[str, LayerBits]) -> Choices:
    """Return the widths each layer may take; ValueError for a lock that this model has not."""
    return offer(models.layers_of(loaded), spending.menu, locks, spending.tied)


def plan_of(
    loaded: LoadedModel, spending: Spending, locks: dict[str, LayerBits]
) -> tuple[Axis, BudgetPlan]:
    """Spend every budget of the slider; Infeasible where the other limits leave no way."""
    key = (
        spending.key,
        spending.unit,
        spending.menu,
        spending.tied,
        spending.other,
        tuple(sorted((name, bits.weight, bits.activation) for name, bits in locks.items())),
    )

    def make() -> tuple[Axis, BudgetPlan]:
        layers = models.layers_of(loaded)
        choices = choices_of(loaded, spending, locks)
        axis = axis_of(layers, choices, spending.unit, spending.other)
        return axis, budget_plan(choices, spending.losses, axis.limits)

    plans: Recent[tuple[Axis, BudgetPlan]] = models.memory("plans", 32)
    return plans.get(key, make)


def measuring(selected: Selected, chosen: Calibrating, images: ImageSet) -> Measuring:
    """Say what configurations are measured with; the history's ValueError where it is damaged."""
    loaded, device = selected.loaded, tasks.device_of(selected.loaded)
    pictures, plain = models.memory("pictures and float logits", 2).get(
        (loaded.key, str(device), images.key),
        lambda: (Pictures(images), FloatLogits(loaded.model, device)),
    )
    return Measuring(
        calibrating=chosen,
        images=images,
        checkpoint=selected.checkpoint,
        folder=selected.folder,
        pictures=pictures,
        plain=plain,
        calibrations=models.calibrations(),
        history=history.history(),
    )


def start_evaluation(measuring: Measuring, wish: Wish, precision: float | None) -> Job:
    """Evaluate a configuration in the background."""
    key = ("evaluation", measuring.recipe(wish).key, precision)
    title = f"Measuring {wish.objective} {wish.budget}"
    work = evaluations.evaluate(measuring, wish, precision)
    return models.jobs().submit(key, title, work, models.owner().name, again=True)


def warm(measuring: Measuring, wish: Wish) -> None:
    """Get ready, in the background, what the first evaluation needs; once for all sessions."""
    key = ("warm", *measuring.key)
    if models.quick_jobs().find(key) is None:
        work = evaluations.warm(measuring, wish)
        models.quick_jobs().submit(key, "Getting ready to measure", work, models.owner().name)


def start_sweep(measuring: Measuring, wishes: Sequence[Wish], precision: float | None) -> Job:
    """Evaluate configurations one after another in the background."""
    named = repr([measuring.recipe(wish).key for wish in wishes])
    key = ("sweep", hashlib.sha256(named.encode()).hexdigest(), precision)
    title = f"Sweep over {len(wishes)} configurations"
    work = evaluations.sweep(measuring, wishes, precision)
    return models.jobs().submit(key, title, work, models.owner().name, again=True)


def float_top1(runs: Sequence[Run]) -> float | None:
    """Return the float model's accuracy, as the run on the most images knows it."""
    best = max(runs, key=lambda run: run.counts.images, default=None)
    return None if best is None else best.counts.plain / best.counts.images


def prediction_of(runs: Sequence[Run], expected: Losses | None) -> Prediction | None:
    """Predict accuracies from what was measured of this model; None while that is too little."""
    if expected is None:
        return None
    found = [(run, run.recipe.allocation) for run in runs[::-1]]
    points = [point(run.counts, expected.of(bits)) for run, bits in found if bits is not None]
    known = tuple(one for one in points if one is not None)
    predictions: Recent[Prediction | None] = models.memory("predictions", 8)
    return predictions.get(known, lambda: predict(known))
