"""How alike two lists of numbers rank the same things."""

import numpy as np
from scipy.stats import spearmanr

FEWEST = 3  # two things are ranked alike or the other way round: that says nothing


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """Return Spearman's rank correlation, -1 to 1; None for fewer than three, or all alike."""
    one, other = np.ravel(one), np.ravel(other)
    if len(one) < FEWEST or not (np.ptp(one) and np.ptp(other)):
        return None
    return float(spearmanr(one, other).statistic)
