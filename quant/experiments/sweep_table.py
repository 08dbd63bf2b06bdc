"""Rows of a sweep in words, as a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence

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


def float_cells(top1: Estimate, size_bytes: float, bitops: float) -> list[str]:
    """Write the float model's row."""
    spent = ("32", "32", f"{size_bytes / 1e6:.3f}", f"{bitops / 1e9:.3f}")
    return ["", "float", "", *spent, _share(top1), "", "", "", ""]


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
        _share(row.top1),
        _points(row.to_float),
        "" if row.to_uniform is None else _points(row.to_uniform),
        f"{row.divergence:.3f}{error}",
        f"{row.expected:.3f}",
    ]


def _share(found: Estimate) -> str:
    """Write an accuracy: "91.2 ± 0.4 (88.0 to 94.0)"."""
    bounds = f"({100 * found.low:.1f} to {100 * found.high:.1f})"
    return f"{100 * found.value:.1f}{_error(found)} {bounds}"


def _points(found: Estimate) -> str:
    """Write a difference: "-2.1 ± 0.4 (-4.0 to +0.2)"."""
    bounds = f"({100 * found.low:+.1f} to {100 * found.high:+.1f})"
    return f"{100 * found.value:+.1f}{_error(found)} {bounds}"


def _error(found: Estimate) -> str:
    return "" if found.error is None else f" ± {100 * found.error:.1f}"


def explained(rows: Sequence[Row], draws: int) -> str:
    """Say what stands in brackets and behind ±."""
    single = any(row.runs == 1 for row in rows)
    several = any(row.runs > 1 for row in rows)
    said = ["In brackets: 95 % intervals, those of differences paired by image"]
    if single:
        said.append("of single runs Wilson's and Tango's")
    if several:
        over = "draws of calibration images and random seeds" if draws > 1 else "random seeds"
        said.append(
            "of several runs pooled, with all answers to one image taken as one cluster; "
            f"±: standard error over {over}"
        )
    return f"{'; '.join(said)}."
