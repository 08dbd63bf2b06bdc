"""How alike two heatmaps of one image are: do they rank its places alike, name the same ones?"""

from dataclasses import dataclass

import torch
from scipy.stats import hypergeom
from torch import Tensor

from lrp.engine.ranks import rank_correlation

STRONGEST = 0.1  # the share of places that `overlap` looks at


@dataclass(frozen=True)
class Likeness:
    """Two maps of one image compared.

    Attributes:
        rank: Spearman's rank correlation over all places, -1 to 1; 0 where a map is constant.
        overlap: of the places among the strongest tenth of either map, the share among those of
            both (intersection over union), 0 to 1.
    """

    rank: float
    overlap: float


def likeness(first: Tensor, second: Tensor) -> Likeness:
    """Compare two maps (h, w), signed.

    Raises:
        ValueError: their shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(
            f"maps of {tuple(first.shape)} and {tuple(second.shape)} places cannot be compared: "
            "read both at one depth"
        )
    a, b = (t.detach().cpu().double().flatten() for t in (first, second))
    one, other = _strongest(a), _strongest(b)
    rank = rank_correlation(a.numpy(), b.numpy()) or 0.0
    return Likeness(rank, float((one & other).sum() / (one | other).sum()))


def chance_overlap(places: int) -> float:
    """Return the overlap to expect of two maps of `places` that have nothing in common.

    The mean of i / (2 k - i), i hypergeometric: k places drawn twice.
    """
    k = _count(places)
    return sum(float(hypergeom.pmf(i, places, k, k)) * i / (2 * k - i) for i in range(k + 1))


def _count(places: int) -> int:
    return max(1, round(STRONGEST * places))


def _strongest(values: Tensor) -> Tensor:
    """Mark the strongest tenth of values (n,), at least one; of equal ones the first."""
    marks = torch.zeros(len(values), dtype=torch.bool)
    marks[values.argsort(descending=True, stable=True)[: _count(len(values))]] = True
    return marks
