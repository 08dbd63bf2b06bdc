"""A sweep as JSON, and as a Markdown table with what it says of expected losses."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from assets.terminal import markdown
from lrp.engine.ranks import rank_correlation
from quant.allocation.cost import Cost, CostModel
from quant.commands.shared.options import Subject
from quant.evaluation.clustered import Answered, Estimate, accuracy
from quant.evaluation.cross_validation import NEAR, CrossValidation, cross_validate
from quant.evaluation.prediction import point
from quant.experiments.objective_sweep import Row, Trial, summarise

COLUMNS = (
    "budget, bits",
    "bits by",
    "runs",
    "weights, bits",
    "activations, bits",
    "MB",
    "GBitOps",
    "top-1, %",
    "to float, points",
    "to uniform, points",
    "divergence, nats",
    "expected loss, nats",
)


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

    @property
    def tried(self) -> list[Trial]:
        """All trials, of whatever kind."""
        return [*self.trials, *self.chance]

    def ranks(self) -> dict[str, float | int | None]:
        """Return how well expected losses rank what was measured, over all allocations tried."""
        expected = np.array([one.configuration.expected for one in self.tried])
        measured = [one.answered.answers.evaluation(0) for one in self.tried]
        return {
            "runs": len(measured),
            "divergence": rank_correlation(expected, np.array([e.divergence for e in measured])),
            "drop": rank_correlation(expected, np.array([-e.difference for e in measured])),
        }

    def prediction(self) -> CrossValidation | None:
        """Check predictions of each allocation tried from all others; None where none can be."""
        points = [point(t.answered.answers.counts(), t.configuration.expected) for t in self.tried]
        plain = float(np.mean([one.answers.evaluation(0).top1 for one in self.plain]))
        return cross_validate([one for one in points if one is not None], plain)


def described(swept: Swept) -> dict[str, Any]:
    """Describe a sweep for JSON."""
    check = swept.prediction()
    return {
        **swept.model.loaded.facts,
        "preset": swept.preset,
        "draws": swept.draws,
        "float": asdict(accuracy(swept.plain)),
        "rows": [asdict(row) for row in swept.rows()],
        "rank_correlation": swept.ranks(),
        "prediction": None if check is None else asdict(check),
        "trials": [_described(one, swept.model.costs) for one in swept.trials],
        "random_allocations": [_described(one, swept.model.costs) for one in swept.chance],
    }


def _described(trial: Trial, costs: CostModel) -> dict[str, Any]:
    one = trial.configuration
    spent = costs.cost(one.allocation)
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
        "layers": {name: bits.plain() for name, bits in one.allocation.items()},
    }


def in_words(swept: Swept) -> str:
    """Lay a sweep out for reading."""
    rows = swept.rows()
    head, *lines = cells(rows)
    first = float_cells(accuracy(swept.plain), swept.model.costs.cost({}))
    images = {row.images for row in rows}
    count = f"{min(images)} to {max(images)}" if len(images) > 1 else f"{max(images)}"
    return "\n".join(
        [
            markdown([head, first, *lines]),
            "",
            f"{swept.model.loaded.name}, {swept.preset}, {count} images, "
            f"{swept.draws} draw{'s' * (swept.draws > 1)} of calibration images. "
            f"{explained(rows, swept.draws)}",
            *_on_losses(swept.ranks(), swept.prediction()),
        ]
    )


def _on_losses(ranks: dict[str, float | int | None], check: CrossValidation | None) -> list[str]:
    """Return how well expected losses foretell what is measured."""
    with_divergence, with_drop = (
        "unknown" if ranks[name] is None else f"{ranks[name]:.2f}"
        for name in ("divergence", "drop")
    )
    lines = [
        f"Rank correlation of expected loss over {ranks['runs']} measured allocations: "
        f"{with_divergence} with divergence, {with_drop} with lost accuracy."
    ]
    if check is not None:
        lines.append(
            f"Predicted from all others, each of {check.runs} accuracies is {100 * check.error:.1f}"
            f" points off on average; {check.inside:.0%} are inside their 95 % band. "
            f"Of divergences {check.near:.0%} are predicted to within {100 * NEAR:g} %; "
            f"{check.divergence_inside:.0%} are inside their band."
        )
    return lines


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """Write rows out, `COLUMNS` first."""
    return [list(COLUMNS), *map(_row, rows)]


def float_cells(top1: Estimate, cost: Cost) -> list[str]:
    """Write the float model's row."""
    spent = ("32", "32", f"{cost.size_bytes / 1e6:.3f}", f"{cost.bitops / 1e9:.3f}")
    return ["", "float", "", *spent, _points(top1), "", "", "", ""]


def _row(row: Row) -> list[str]:
    error = "" if row.divergence_error is None else f" ± {row.divergence_error:.3f}"
    return [
        f"{row.budget:g}",
        row.objective,
        str(row.runs),
        f"{row.weight_bits:.2f}",
        f"{row.activation_bits:.2f}",
        f"{row.size_bytes / 1e6:.3f}",
        f"{row.bitops / 1e9:.3f}",
        _points(row.top1),
        _points(row.to_float, "+"),
        "" if row.to_uniform is None else _points(row.to_uniform, "+"),
        f"{row.divergence:.3f}{error}",
        f"{row.expected:.3f}",
    ]


def _points(estimate: Estimate, sign: str = "") -> str:
    """Return "91.2 ± 0.4 (88.0 to 94.0)", with a "+" of `sign` also before what is positive."""
    error = "" if estimate.error is None else f" ± {100 * estimate.error:.1f}"
    value, low, high = (
        f"{100 * share:{sign}.1f}" for share in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value}{error} ({low} to {high})"


def explained(rows: Sequence[Row], draws: int) -> str:
    """Return what stands in brackets and behind ±, in words."""
    single = any(row.runs == 1 for row in rows)
    several = any(row.runs > 1 for row in rows)
    parts = ["In brackets: 95 % intervals, those of differences paired by image"]
    if single:
        parts.append("of single runs Wilson's and Tango's")
    if several:
        over = "draws of calibration images and random seeds" if draws > 1 else "random seeds"
        parts.append(
            "of several runs pooled, with all answers to one image taken as one cluster; "
            f"±: standard error over {over}"
        )
    return f"{'; '.join(parts)}."
