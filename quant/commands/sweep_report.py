"""What a sweep found: as JSON, and as a Markdown table with what it says of expected losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from assets.terminal import markdown
from lrp.engine.ranks import rank_correlation
from quant.commands.options import Subject
from quant.evaluation.clustered import Answered, accuracy
from quant.evaluation.prediction import CrossValidation, cross_validate, point
from quant.experiments.objective_sweep import Row, Trial, summarise
from quant.experiments.sweep_table import cells, explained, float_cells


@dataclass(frozen=True, eq=False)
class Swept:
    """All that was measured.

    Attributes:
        trials: of objectives and controls, over draws;  chance: of random allocations.
        plain: the float model's answers, by draw.
    """

    model: Subject
    preset: str
    draws: int
    trials: list[Trial] = field(default_factory=list)
    chance: list[Trial] = field(default_factory=list)
    plain: list[Answered] = field(default_factory=list)

    def rows(self) -> list[Row]:
        """Return one row for each budget and objective."""
        return summarise(self.model.costs, self.trials)

    def ranks(self) -> dict[str, float | int | None]:
        """Say how well expected losses rank what was measured, over all allocations tried."""
        tried = [*self.trials, *self.chance]
        expected = np.array([one.configuration.expected for one in tried])
        found = [one.answered.answers.evaluation(0) for one in tried]
        return {
            "runs": len(tried),
            "divergence": rank_correlation(expected, np.array([e.divergence for e in found])),
            "drop": rank_correlation(expected, np.array([-e.difference for e in found])),
        }

    def prediction(self) -> CrossValidation | None:
        """Check predictions of each allocation tried from all others; None where they are few."""
        tried = [*self.trials, *self.chance]
        points = [point(one.answered.answers.counts(), one.configuration.expected) for one in tried]
        plain = float(np.mean([one.answers.evaluation(0).top1 for one in self.plain]))
        return cross_validate([one for one in points if one is not None], plain)


def described(found: Swept) -> dict[str, Any]:
    """Describe a sweep for JSON."""
    check = found.prediction()
    return {
        "model": found.model.loaded.name,
        "weights": found.model.loaded.key,
        "preset": found.preset,
        "draws": found.draws,
        "float": asdict(accuracy(found.plain)),
        "rows": [asdict(row) for row in found.rows()],
        "rank_correlation": found.ranks(),
        "prediction": None if check is None else asdict(check),
        "trials": _trials(found, found.trials),
        "random_allocations": _trials(found, found.chance),
    }


def _trials(found: Swept, trials: Sequence[Trial]) -> list[dict[str, Any]]:
    return [_trial(found, one) for one in trials]


def _trial(found: Swept, trial: Trial) -> dict[str, Any]:
    one = trial.configuration
    spent = found.model.costs.cost(one.allocation)
    return {
        "draw": trial.draw,
        "run": trial.run,
        "budget": one.budget,
        "objective": one.objective,
        "expected": one.expected,
        "gap": one.gap,
        "size_bytes": spent.size_bytes,
        "bitops": spent.bitops,
        "evaluation": asdict(trial.answered.answers.evaluation(0)),
        "layers": {name: asdict(bits) for name, bits in one.allocation.items()},
    }


def said(found: Swept) -> str:
    """Lay a sweep out for reading."""
    rows = found.rows()
    plain = found.model.costs.cost({})
    head, *lines = cells(rows)
    first = float_cells(accuracy(found.plain), plain.size_bytes, plain.bitops)
    images = {row.images for row in rows}
    count = f"{min(images)} to {max(images)}" if len(images) > 1 else f"{max(images)}"
    return "\n".join(
        [
            markdown([head, first, *lines]),
            "",
            f"{found.model.loaded.name}, {found.preset}, {count} images, "
            f"{found.draws} draw{'s' * (found.draws > 1)} of calibration images. "
            f"{explained(rows, found.draws)}",
            *_on_losses(found),
        ]
    )


def _on_losses(found: Swept) -> list[str]:
    """Say how well expected losses foretell what is measured."""
    ranks, check = found.ranks(), found.prediction()
    lines = [
        f"Rank correlation of expected loss over {ranks['runs']} measured allocations: "
        f"{_rank(ranks['divergence'])} with divergence, {_rank(ranks['drop'])} with lost accuracy."
    ]
    if check is not None:
        lines.append(
            f"Predicted from all others, each of {check.runs} accuracies is {100 * check.error:.1f}"
            f" points off on average; {check.inside:.0%} are inside their 95 % band."
        )
    return lines


def _rank(value: float | int | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"
