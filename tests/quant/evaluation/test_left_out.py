import math

import numpy as np
import pytest

from quant.evaluation.left_out import left_out
from quant.evaluation.prediction import Point, point
from tests.quant.histories import answers


def curve(loss):
    return math.exp(-((loss / 2.0) ** 0.8))


def made_up(noise, count=12):
    random = np.random.default_rng(0)
    losses = np.geomspace(0.01, 3, count)
    return [Point(float(x), curve(x) + noise * random.normal(), 0.01) for x in losses]


def test_runs_on_a_curve_are_predicted_from_the_others():
    found = left_out(made_up(0.0), 0.9)
    assert found.runs == 12
    assert found.error < 0.01
    assert found.inside == 1
    for one in found.foretold:
        assert one.measured == pytest.approx(0.9 * curve(one.loss))


def test_a_run_does_not_predict_itself():
    points = made_up(0.0)
    plain = left_out(points, 1.0).foretold[5]
    points[5] = Point(points[5].loss, 0.2, 0.01)
    found = left_out(points, 1.0)
    assert found.foretold[5].predicted == pytest.approx(plain.predicted)
    assert found.foretold[5].measured == pytest.approx(0.2)
    assert not found.foretold[5].low <= 0.2 <= found.foretold[5].high
    assert found.inside < 1
    errors = [abs(one.predicted - one.measured) for one in found.foretold]
    assert found.error == pytest.approx(sum(errors) / 12)


def test_too_few_runs_say_nothing():
    assert left_out(made_up(0.0)[:5], 0.9) is None
    assert left_out([], 0.9) is None


def test_a_run_is_its_share_of_what_float_gets_right():
    found = point(answers(0, 100).counts(), 0.5)  # three of four are right, float always
    assert (found.loss, found.kept) == pytest.approx((0.5, 0.75))
    assert found.error == pytest.approx(math.sqrt(0.75 * 0.25 / 100), rel=0.1)
