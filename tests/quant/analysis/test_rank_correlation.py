import numpy as np
import pytest

from quant.analysis.rank_correlation import by_width, rank_correlation
from quant.analysis.sensitivity import Sensitivity


def test_rank_correlation_is_one_minus_the_squared_differences_of_ranks():
    one, other = [10.0, 30.0, 20.0, 40.0], [1.0, 2.0, 3.0, 4.0]
    differences = [(1 - 1), (3 - 2), (2 - 3), (4 - 4)]
    expected = 1 - 6 * sum(d * d for d in differences) / (4 * 15)
    assert rank_correlation(np.array(one), np.array(other)) == pytest.approx(expected)


@pytest.mark.parametrize("values", [[1.0, 2.0], [1.0, 1.0, 1.0], []])
def test_nothing_is_said_of_too_few_or_of_what_does_not_vary(values):
    assert rank_correlation(np.array(values), np.arange(float(len(values)))) is None


def test_sensitivities_are_compared_width_by_width_and_all_together():
    rising = np.array([[4.0, 1.0], [5.0, 2.0], [6.0, 3.0]])
    turned = np.array([[4.0, 3.0], [5.0, 2.0], [6.0, 1.0]])
    names = ("a", "b", "c")
    one = Sensitivity(names, (2, 3), rising, rising, "estimated", 4)
    other = Sensitivity(names, (2, 3), turned, rising, "measured", 4)
    found = by_width(one, other)
    assert found["activation"] == pytest.approx({"2": 1, "3": 1, "pooled": 1})
    assert (found["weight"]["2"], found["weight"]["3"]) == pytest.approx((1, -1))
    # ranks 1 2 3 4 5 6 against 3 2 1 4 5 6
    assert found["weight"]["pooled"] == pytest.approx(1 - 6 * 8 / (6 * 35))
