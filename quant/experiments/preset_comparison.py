"""Compare presets and widths over several draws of calibration images."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quant.evaluation.stream import Evaluation

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


def summarise(draws: Sequence[Mapping[str, Evaluation]]) -> dict[str, Comparison]:
    """Summarise each configuration, by name, over draws that all hold it and `FLOAT`."""
    return {name: _summary(name, draws) for name in draws[0]}


def _summary(name: str, draws: Sequence[Mapping[str, Evaluation]]) -> Comparison:
    found = [draw[name] for draw in draws]
    drops = [draw[FLOAT].top1 - draw[name].top1 for draw in draws]
    divergences = [e.divergence for e in found]
    return Comparison(
        top1=statistics.mean(e.top1 for e in found),
        spread=_deviation([e.top1 for e in found]),
        drop=statistics.mean(drops),
        drop_error=_deviation(drops) / len(drops) ** 0.5,
        agreement=statistics.mean(e.agreement for e in found),
        divergence=statistics.mean(divergences),
        divergence_spread=_deviation(divergences),
        draws=len(draws),
    )


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def cells(found: Mapping[str, Comparison]) -> list[list[str]]:
    """Write comparisons out, `COLUMNS` first; accuracies and drops in points."""
    return [list(COLUMNS), *([name, *_cells(one)] for name, one in found.items())]


def _cells(c: Comparison) -> list[str]:
    points = (c.top1, c.spread, c.drop, c.drop_error, c.agreement)
    nats = (c.divergence, c.divergence_spread)
    return [*(f"{100 * share:.1f}" for share in points), *(f"{value:.3f}" for value in nats)]
