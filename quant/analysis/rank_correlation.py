"""How alike two lists of numbers rank the same things."""

from __future__ import annotations

from lrp.engine.ranks import rank_correlation
from quant.analysis.sensitivity import Sensitivity


def by_width(one: Sensitivity, other: Sensitivity) -> dict[str, dict[str, float | None]]:
    """Compare how two sensitivities rank layers: at each width, and layers and widths together.

    Returns:
        Rank correlations by "weight" and "activation", then by width ("2" to "8") or "pooled".
    """
    return {
        side: {
            **{
                str(width): rank_correlation(first[:, column], second[:, column])
                for column, width in enumerate(one.widths)
            },
            "pooled": rank_correlation(first, second),
        }
        for side, first, second in (
            ("weight", one.weight, other.weight),
            ("activation", one.activation, other.activation),
        )
    }
