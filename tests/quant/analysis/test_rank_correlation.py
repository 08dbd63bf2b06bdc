import numpy as np
import pytest

from quant.analysis.rank_correlation import by_width
from quant.analysis.sensitivity import Sensitivity


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
