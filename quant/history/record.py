"""Keep an evaluation in the history while it streams."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from quant.evaluation.answers import Answers
from quant.evaluation.stream import Step
from quant.history.recipe import Recipe
from quant.history.runs import Runs


def record(
    runs: Runs | None, recipe: Recipe, steps: Callable[[Answers, float], Iterator[Step]]
) -> Iterator[Step]:
    """Go on with the run of a recipe, and keep each step's answers as they come.

    The run is done when the steps end by themselves. It is stopped, to be resumed, when they raise
    or when no more of them are asked for.

    Args:
        runs: the history; None keeps nothing.
        steps: from the answers known already, and the seconds they took, to the evaluation's steps
            (`stream`).

    Raises:
        ValueError: the history cannot be used, or the run was deleted meanwhile.
    """
    if runs is None:
        yield from steps(Answers.none(), 0.0)
        return
    run = runs.begin(recipe)
    seconds = run.seconds
    try:
        for step in steps(run.answers, seconds):
            if len(step.new):
                runs.append(run.id, step.new, step.seconds - seconds, step.start)
            seconds = step.seconds
            yield replace(step, run=run.id)
    except BaseException:  # an error, an interrupt, or no more is asked for
        runs.stop(run.id)
        raise
    runs.finish(run.id)
