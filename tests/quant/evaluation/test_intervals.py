import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest, multinomial

from quant.evaluation.intervals import paired_interval, wilson

Z = 1.959964


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (3, 7), (400, 500), (1, 1)])
def test_wilson_is_scipys(k, n):
    expected = binomtest(k, n).proportion_ci(0.95, "wilson")
    assert wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-6)


@pytest.mark.parametrize("n", range(1, 60))
def test_the_interval_holds_the_proportion_at_its_ends(n):
    assert wilson(0, n)[0] == 0
    assert wilson(n, n)[1] == 1


def test_no_trials_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        wilson(0, 0)
    with pytest.raises(ValueError, match="at least one"):
        paired_interval(0, 0, 0)


@pytest.mark.parametrize(
    ("only_one", "only_other", "trials", "low", "high"),
    [
        # Fagerland, Lydersen & Laake (2014), Statistics in Medicine 33:2850, tables 1, 2, 8 and 9
        (1, 7, 21, -0.517, -0.026),
        (6, 16, 161, -0.124, -0.005),
    ],
)
def test_published_examples(only_one, only_other, trials, low, high):
    assert paired_interval(only_one, only_other, trials) == pytest.approx((low, high), abs=5e-4)


def score(difference, only_one, only_other, trials):
    """The score statistic, with the likeliest shares found by a search instead of a formula."""
    low, high = max(0.0, -difference), (1 - difference) / 2

    def unlikely(share):
        cells = (share + difference, share, 1 - 2 * share - difference)
        counts = (only_one, only_other, trials - only_one - only_other)
        return -sum(n * math.log(max(p, 1e-300)) for n, p in zip(counts, cells, strict=True) if n)

    share = minimize_scalar(unlikely, (low, high), (low, high), options={"xatol": 1e-12}).x
    variance = trials * (2 * share + difference - difference**2)
    return (only_one - only_other - trials * difference) / math.sqrt(variance)


@pytest.mark.parametrize(
    "counts", [(3, 5, 40), (0, 4, 30), (12, 1, 50), (40, 20, 160), (2, 2, 9), (0, 30, 900)]
)
def test_the_score_test_just_accepts_the_bounds(counts):
    low, high = paired_interval(*counts)
    assert score(low, *counts) == pytest.approx(Z, abs=2e-3)
    assert score(high, *counts) == pytest.approx(-Z, abs=2e-3)


@pytest.mark.parametrize("n", [1, 4, 500])
def test_with_no_difference_seen_it_is_the_closed_form(n):
    half = Z**2 / (n + Z**2)
    assert paired_interval(0, 0, n) == pytest.approx((-half, half), abs=1e-9)


@pytest.mark.parametrize("n", range(1, 9))
def test_it_holds_what_was_seen_and_turns_over_with_its_arguments(n):
    for b in range(n + 1):
        for c in range(n + 1 - b):
            low, high = paired_interval(b, c, n)
            assert -1 <= low <= (b - c) / n <= high <= 1
            assert paired_interval(c, b, n) == pytest.approx((-high, -low), abs=1e-9)


def coverage(one, other, trials):
    """How often the interval holds the truth, over every outcome there is."""
    total = 0.0
    for b in range(trials + 1):
        for c in range(trials + 1 - b):
            low, high = paired_interval(b, c, trials)
            if low <= one - other <= high:
                cells = [one, other, 1 - one - other]
                total += multinomial.pmf([b, c, trials - b - c], trials, cells)
    return total


@pytest.mark.parametrize(
    ("one", "other"), [(0.01, 0.01), (0.1, 0.1), (0.02, 0.1), (0, 0.05), (0, 0.02), (0.2, 0.3)]
)
def test_it_covers_the_truth_as_often_as_it_says(one, other):
    assert coverage(one, other, 25) >= 0.945


@pytest.mark.parametrize(("one", "other", "precision"), [(0.02, 0.05, 0.03), (0, 0.02, 0.02)])
def test_it_still_does_where_its_width_decides_when_to_stop(one, other, precision):
    draw, runs, held = np.random.default_rng(1), 600, 0
    for _ in range(runs):
        chance = draw.random(1000)
        only_one, only_other = np.cumsum(chance < one), np.cumsum(chance > 1 - other)
        for n in range(32, 1001, 32):
            low, high = paired_interval(int(only_one[n - 1]), int(only_other[n - 1]), n)
            if (high - low) / 2 <= precision:
                break
        held += low <= one - other <= high
    assert held / runs >= 0.93  # 0.95 less two standard errors of 600 runs
