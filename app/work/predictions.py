"""What the Budget page predicts, and the runs that it measures to predict from."""

from collections.abc import Sequence

from app import public
from app.work import models, spending
from app.work.job import FAILED, Job
from app.work.wanted import Recent
from lrp.engine.layers import Layer
from quant.allocation.objectives import UNIFORM, Losses
from quant.evaluation.prediction import FIRST, Point, Prediction, point, predict
from quant.experiments.measuring import Measuring, Variant
from quant.history.runs import Run
from quant.primitives.bits import uniform
from quant.primitives.targets import Target


def measure_first(
    measuring: Measuring, layers: Sequence[Layer], target: Target, precision: float | None
) -> Job | None:
    """Measure uniform bits in the background, once, as accuracies are predicted from them.

    Returns:
        The job; None where that was done or failed, needs a calibration first, or is not for
        strangers.
    """
    if public.on():
        return None  # before the history is read
    have = {*target.pairs} & {*target.products}
    wanted = [Variant(uniform(layers, b, b), UNIFORM, f"{b} bit") for b in FIRST if (b, b) in have]
    done = [run.recipe.allocation for run in measuring.done()]
    left = [one for one in wanted if one.allocation not in done]
    if not left or not all(map(measuring.ready, wanted)):
        return None
    before = models.jobs().find(spending.sweep_key(measuring, wanted, precision))
    if before is not None and before.state == FAILED:
        return None
    return spending.start_sweep(measuring, wanted, precision)


def float_top1(runs: Sequence[Run]) -> float | None:
    """Return the float model's accuracy, as the run on the most images knows it."""
    best = max(runs, key=lambda run: run.counts.images, default=None)
    return None if best is None else best.counts.plain / best.counts.images


def prediction_of(runs: Sequence[Run], expected: Losses) -> Prediction:
    """Predict accuracies from other models, and from what was measured of this one."""
    points = [_point(run, expected) for run in runs[::-1]]
    known = tuple(one for one in points if one is not None)
    predictions: Recent[Prediction] = models.memory("predictions", 8)
    return predictions.get(known, lambda: predict(known))


def _point(run: Run, expected: Losses) -> Point | None:
    """Return what a run says of losses; None for float, and for widths of another target."""
    if run.recipe.allocation is None:
        return None
    try:
        return point(run.counts, expected.of(run.recipe.allocation))
    except ValueError:  # no losses at its widths
        return None
