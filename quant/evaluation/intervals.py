"""Confidence intervals of accuracies and of their difference on the same images."""

import math
from collections.abc import Callable
from functools import lru_cache

Z95 = 1.959964
STEPS = 40  # of bisection: 2^-39 at the end


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a proportion (Wilson 1927)."""
    _check(trials)
    p, zz = successes / trials, Z95 * Z95 / trials
    centre = (p + zz / 2) / (1 + zz)
    half = Z95 * math.sqrt(p * (1 - p) / trials + zz / (4 * trials)) / (1 + zz)
    # at 0 and 1 the bounds are those numbers, which rounding would miss
    return min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half))


@lru_cache(maxsize=2**14)
def paired_interval(only_one: int, only_other: int, trials: int) -> tuple[float, float]:
    """Return Tango's 95 % score interval of the difference of two proportions on the same trials.

    The difference is (only_one - only_other) / trials. All d are in the interval that the score
    test does not reject: |only_one - only_other - n d| <= z sqrt(n (2 q + d (1 - d))), q being the
    likeliest share of `only_other` where the difference is d (Tango 1998, Statistics in Medicine
    17:891, equation 19). It keeps its coverage where the two hardly ever differ, which is where
    Wald's interval and its adjustments fail: with no difference seen it is +- z^2 / (n + z^2).

    Args:
        only_one: trials in which the first succeeded and the second did not; `only_other` the
            reverse.

    Raises:
        ValueError: no trials.
    """
    _check(trials)
    difference = (only_one - only_other) / trials

    def rejected(d: float) -> bool:
        b = (2 * trials - only_one + only_other) * d - only_one - only_other
        root = math.sqrt(max(0.0, b * b + 8 * trials * only_other * d * (1 - d)))
        q = (root - b) / (4 * trials)
        variance = trials * (2 * q + d * (1 - d))
        return (only_one - only_other - trials * d) ** 2 > Z95 * Z95 * variance

    return _edge(rejected, difference, -1.0), _edge(rejected, difference, 1.0)


def _edge(rejected: Callable[[float], bool], inside: float, outside: float) -> float:
    """Bisect for where `rejected` begins on the way from `inside` to `outside`."""
    if not rejected(outside):
        return outside
    for _ in range(STEPS):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if rejected(middle) else (middle, outside)
    return inside


def _check(trials: int) -> None:
    if trials <= 0:
        raise ValueError("no trials: an interval needs at least one image")
