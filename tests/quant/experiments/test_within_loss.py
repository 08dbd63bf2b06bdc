"""The smallest budget that loses no more than is accepted, against trying every budget."""

from dataclasses import replace

import numpy as np
import pytest

from quant.evaluation.answers import Evaluation
from quant.experiments.within_loss import NATS, POINTS, TRIES, Accepted, Search

PLAIN = Evaluation(100, 0.9, 0.8, 0.95, 1.0, 0.9, 0.0, 1.0)


def measured(points: float, nats: float, half: float = 2.0) -> Evaluation:
    low, high = -(points + half) / 100, -(points - half) / 100
    return replace(
        PLAIN, difference=-points / 100, difference_low=low, difference_high=high, divergence=nats
    )


def searched(expected: np.ndarray, truth: np.ndarray, accepted: Accepted) -> Search:
    search = Search(expected, accepted)
    for row in search.rows():
        search.tell(row, measured(100 * truth[row], truth[row]))
    return search


@pytest.mark.parametrize("unit", [POINTS, NATS])
@pytest.mark.parametrize("seed", range(30))
def test_it_finds_the_lowest_row_that_is_accepted(seed: int, unit: str) -> None:
    """Where measured losses fall along the path, however far expectations are off."""
    chance = np.random.default_rng(seed)
    count = int(chance.integers(1, 122))
    truth = np.sort(chance.exponential(0.3, count))[::-1]
    expected = truth ** chance.uniform(0.5, 2) * chance.uniform(0.1, 10)
    most = float(chance.exponential(0.3)) * (100 if unit == POINTS else 1) + 1e-9
    search = searched(expected, truth, Accepted(most, unit))
    lost = truth * (100 if unit == POINTS else 1)
    enough = np.flatnonzero(lost <= most)
    assert len(search.measured) <= TRIES
    if not len(enough):
        assert search.best is None
        return
    assert search.best is not None and lost[search.best] <= most
    # seven measurements halve 121 rows to one, but two may have followed expectations
    assert search.best - int(enough[0]) <= 4


def test_good_expectations_are_followed_at_once() -> None:
    truth = np.geomspace(3, 0.001, 121)
    search = searched(truth, truth, Accepted(0.05, NATS))
    rows = list(search.measured)
    assert rows[0] == search.best == int((truth <= 0.05).argmax())
    assert len(rows) <= TRIES


def test_the_interval_says_whether_it_is_sure() -> None:
    for half, sure in ((0.3, True), (2.0, False)):
        search = Search([0.001], Accepted(1.0, POINTS))
        for row in search.rows():
            search.tell(row, measured(0.5, 0.001, half))
        assert search.best == 0 and search.sure is sure


@pytest.mark.parametrize("most", [0, -1, float("nan"), float("inf")])
def test_a_loss_that_is_none_is_refused(most: float) -> None:
    with pytest.raises(ValueError, match="use more than 0"):
        Accepted(most, POINTS)
