"""How well runs are foretold: from all others, and from what other models showed."""

import math
from dataclasses import replace

import numpy as np
import pytest

from quant.evaluation.cross_validation import (
    NEAR,
    cross_validate,
    foretell,
    prior_of,
    summarised,
)
from quant.evaluation.prediction import predict
from tests.quant.evaluation.test_prediction import runs

LOSSES = np.geomspace(0.01, 1.5, 12)


def test_runs_that_follow_a_law_are_predicted_from_the_others():
    found = cross_validate(runs(LOSSES), 0.9)
    assert found.runs == 12
    assert found.error < 0.01
    assert (found.inside, found.divergence_inside) == (1, 1)
    for one, run in zip(found.foretold, runs(LOSSES), strict=True):
        assert one.top1.measured == pytest.approx(0.9 * run.kept)
        assert one.divergence.measured == run.divergence


def test_a_run_does_not_predict_itself():
    points = runs(LOSSES)
    plain = cross_validate(points, 1.0).foretold[5]
    points[5] = replace(points[5], kept=0.2, divergence=40.0)
    found = cross_validate(points, 1.0)
    one = found.foretold[5]
    assert one.top1.predicted == pytest.approx(plain.top1.predicted)
    assert one.divergence.predicted == pytest.approx(plain.divergence.predicted)
    assert (one.top1.measured, one.divergence.measured) == (0.2, 40.0)
    assert not one.top1.inside and not one.divergence.inside
    assert max(found.inside, found.divergence_inside) < 1
    errors = [abs(each.top1.predicted - each.top1.measured) for each in found.foretold]
    assert found.error == pytest.approx(sum(errors) / 12)


def test_near_is_within_a_tenth_of_what_was_measured():
    prediction, points = predict(runs(LOSSES)), runs(LOSSES, spread=0.2, seed=1)
    left = [foretell(prediction, one, 0.9) for one in points]
    middles = prediction.divergences(LOSSES)[:, 1]
    off = [abs(m - p.divergence) / p.divergence for m, p in zip(middles, points, strict=True)]
    assert summarised(left).near == sum(one <= NEAR for one in off) / 12
    assert 0 < summarised(left).near < 1


def test_no_runs_say_nothing_and_one_is_predicted_from_other_models():
    assert cross_validate([], 0.9) is None
    assert cross_validate(runs([0.1]), 0.9).runs == 1


LINES = [(-2.0, 1.0), (-2.6, 1.2), (-1.6, 0.9), (-2.2, 1.1), (-3.0, 1.2), (-2.4, 1.0)]
CURVES = [(1.8, 1.0), (2.4, 1.2), (2.0, 0.9), (2.2, 1.1), (3.0, 1.2), (1.6, 1.0)]


def test_a_prior_is_the_mean_of_what_each_model_shows_and_how_they_differ():
    models = [
        runs(np.geomspace(0.01, 3, 40), 0.2, 0.005, seed, LINES[seed], CURVES[seed])
        for seed in range(6)
    ]
    found = prior_of(models)
    lines, curves = np.array(LINES), np.log(CURVES)
    assert (found.height[0], found.slope[0]) == pytest.approx(lines.mean(0), abs=0.08)
    assert (found.scale[0], found.power[0]) == pytest.approx(curves.mean(0), abs=0.05)
    assert lines.std(0, ddof=1)[0] < found.height[1] < 2 * lines.std(0, ddof=1)[0]
    assert found.spread == pytest.approx(0.2, rel=0.25)


@pytest.mark.parametrize("first", [[], [0.25], [0.25, 0.03]])
def test_a_model_left_out_is_foretold_from_the_others_within_the_bands(first):
    inside = []
    for out in range(6):
        models = [
            runs(np.geomspace(0.01, 3, 40), 0.2, 0.005, seed, LINES[seed], CURVES[seed])
            for seed in range(6)
        ]
        prior = prior_of([models[seed] for seed in range(6) if seed != out])
        begun = runs(first, 0.2, 0.005, 50 + out, LINES[out], CURVES[out])
        left = [foretell(predict(begun, prior), one, 0.9) for one in models[out]]
        inside += [(one.divergence.inside, one.top1.inside) for one in left]
    divergent, accurate = np.mean(inside, 0)
    assert divergent > 0.93 and accurate > 0.93
    assert math.isfinite(prior.weight)
