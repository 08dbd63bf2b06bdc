import numpy as np
import pytest

from lrp.engine.ranks import rank_correlation


def test_rank_correlation_is_one_minus_the_squared_differences_of_ranks():
    one, other = [10.0, 30.0, 20.0, 40.0], [1.0, 2.0, 3.0, 4.0]
    differences = [(1 - 1), (3 - 2), (2 - 3), (4 - 4)]
    expected = 1 - 6 * sum(d * d for d in differences) / (4 * 15)
    assert rank_correlation(np.array(one), np.array(other)) == pytest.approx(expected)


@pytest.mark.parametrize("values", [[1.0, 2.0], [1.0, 1.0, 1.0], []])
def test_nothing_is_said_of_too_few_or_of_what_does_not_vary(values):
    assert rank_correlation(np.array(values), np.arange(float(len(values)))) is None
