"""Compare presets and widths over several draws of calibration images."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from quant.evaluation.answers import Counts

FLOAT = "float"
COLUMNS = (
    *("configuration", "top-1", "spread", "drop", "±", "agree with float"),
    *("divergence", "spread"),
)


@dataclass(frozen=True)
class Comparison:
    """One configuration over the draws.

    Attributes:
        top1: mean of its accuracy;  spread: the draws' standard deviation (0 for one draw).
        drop: mean of float's accuracy on the same images, less its own.
        drop_error: standard error of `drop`, from how it differs between draws.
        agreement, divergence: means, as in `Evaluation`.
    """

    top1: float
    spread: float
    drop: float
    drop_error: float
    agreement: float
    divergence: float
    divergence_spread: float
    draws: int


def summarise(draws: Sequence[Mapping[str, Counts]]) -> dict[str, Comparison]:
    """Summarise float and each configuration, by name, over draws that all hold it."""
    plain = [_of_float(next(iter(draw.values()))) for draw in draws]
    named = {name: _summary([draw[name] for draw in draws]) for name in draws[0]}
    return {FLOAT: _summary(plain), **named}


def _of_float(counts: Counts) -> Counts:
    """Return what counts beside float's say of float itself."""
    plain = counts.plain
    return replace(counts, correct=plain, both=plain, agree=counts.images, divergence=0.0)


def _summary(draws: Sequence[Counts]) -> Comparison:
    tops = [draw.correct / draw.images for draw in draws]
    drops = [draw.plain / draw.images - top for draw, top in zip(draws, tops, strict=True)]
    divergences = [draw.divergence / draw.images for draw in draws]
    return Comparison(
        top1=statistics.mean(tops),
        spread=_deviation(tops),
        drop=statistics.mean(drops),
        drop_error=_deviation(drops) / len(drops) ** 0.5,
        agreement=statistics.mean(draw.agree / draw.images for draw in draws),
        divergence=statistics.mean(divergences),
        divergence_spread=_deviation(divergences),
        draws=len(draws),
    )


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def cells(comparisons: Mapping[str, Comparison]) -> list[list[str]]:
    """Write comparisons out, `COLUMNS` first; accuracies and drops in points."""
    return [list(COLUMNS), *([name, *_cells(one)] for name, one in comparisons.items())]


def _cells(c: Comparison) -> list[str]:
    points = (c.top1, c.spread, c.drop, c.drop_error, c.agreement)
    nats = (c.divergence, c.divergence_spread)
    return [*(f"{100 * share:.1f}" for share in points), *(f"{value:.3f}" for value in nats)]
