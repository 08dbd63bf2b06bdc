"""Rows of a sweep in words, as a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence

from quant.allocation.cost import Cost
from quant.evaluation.clustered import Estimate
from quant.experiments.objective_sweep import Row

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
