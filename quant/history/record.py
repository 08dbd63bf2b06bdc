"""Keep an evaluation in the history while it streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from quant.evaluation.answers import Answers, Evaluation
from quant.evaluation.stream import Step
from quant.history.recipe import Recipe
from quant.history.runs import Runs


@dataclass(frozen=True, eq=False)
class Recorded:
    """Where a recorded evaluation stands.

    Attributes:
        run: its number in the history, None where none is kept.
        answers: all so far;  new: how many of them this step brought.
        seconds: spent running the configuration, earlier sessions' included.
    """

    run: int | None
    answers: Answers
    new: int
    seconds: float

    @property
    def evaluation(self) -> Evaluation:
        """What the answers say so far."""
        return self.answers.evaluation(self.seconds)


def record(
    runs: Runs | None, recipe: Recipe, steps: Callable[[Answers], Iterator[Step]]
) -> Iterator[Recorded]:
    """Go on with the run of a recipe, and keep each step's answers as they come.

    The run is done when the steps end by themselves. It is stopped, to be resumed, when they raise
    or when no more of them are asked for.

    Args:
        runs: the history; None keeps nothing.
        steps: from the answers known already to the evaluation's steps (`stream`).

    Raises:
        ValueError: the history cannot be used, or the run was deleted meanwhile.
    """
    if runs is None:
        yield from _added(steps(Answers.none()), None, 0.0)
        return
    run, leave = runs.begin(recipe), runs.stop
    try:
        yield from _added(_kept(runs, run.id, steps(run.answers)), run.id, run.seconds)
        leave = runs.finish
    finally:
        leave(run.id)


def _kept(runs: Runs, run: int, steps: Iterator[Step]) -> Iterator[Step]:
    for step in steps:
        if len(step.new):
            runs.append(run, step.new, step.seconds, step.start)
        yield step


def _added(steps: Iterator[Step], run: int | None, seconds: float) -> Iterator[Recorded]:
    for step in steps:
        seconds += step.seconds
        yield Recorded(run, step.answers, len(step.new), seconds)
