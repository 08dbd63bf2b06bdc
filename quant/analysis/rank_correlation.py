"""How alike two lists of numbers rank the same things."""

from __future__ import annotations

import numpy as np
from scipy.stats import spearmanr

from quant.analysis.sensitivity import Sensitivity

FEWEST = 3  # two things are ranked alike or the other way round: that says nothing


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """Return Spearman's rank correlation, -1 to 1; None for fewer than three, or all alike."""
    one, other = np.ravel(one), np.ravel(other)
    if len(one) < FEWEST or not (np.ptp(one) and np.ptp(other)):
        return None
    return float(spearmanr(one, other).statistic)


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
