"""Predicted divergence and accuracy: known laws found again, bands that hold what they say."""

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from quant.evaluation.answers import Counts
from quant.evaluation.prediction import (
    CENTRE,
    FEW,
    LATEST,
    NOISE,
    PRIOR,
    SHARE,
    Point,
    Prediction,
    Prior,
    point,
    predict,
)
from tests.quant.histories import answers

Z = 1.959963984540054
LOSSES = np.geomspace(0.01, 3, 30)
FAR = Prior((0.0, 5.0), (1.0, 3.0), 0.3, 3.0, (0.0, 3.0), (0.0, 1.0), 0.2)  # says hardly anything


def diverges(loss: float, height: float = -2.2, slope: float = 1.1) -> float:
    return math.exp(height) * (loss / CENTRE) ** slope


def keeps(divergence: float, scale: float = 2.2, power: float = 1.1) -> float:
    return math.exp(-((divergence / scale) ** power))


def runs(
    losses: Iterable[float],
    spread: float = 0.0,
    error: float = 0.0,
    seed: int = 0,
    line: tuple[float, float] = (-2.2, 1.1),
    curve: tuple[float, float] = (2.2, 1.1),
) -> list[Point]:
    """Made-up runs, off the line by a deviation of log K, and measured with an error."""
    rng, found = np.random.default_rng(seed), []
    for loss in losses:
        divergence = diverges(loss, *line) * math.exp(spread * rng.normal())
        kept = keeps(divergence, *curve) + error * rng.normal()
        found.append(Point(float(loss), divergence, kept, error, 500))
    return found


def bands(prediction: Prediction, top1: float = 0.9) -> np.ndarray:
    return prediction.bands(np.geomspace(0.001, 20, 200), top1)


@pytest.mark.parametrize("line", [(-2.2, 1.1), (-1.0, 0.8), (-4.0, 1.5)])
@pytest.mark.parametrize("curve", [(2.2, 1.1), (0.5, 0.8)])
def test_known_laws_are_found_from_runs_that_follow_them(line, curve):
    prediction = predict(runs(LOSSES, line=line, curve=curve), FAR)
    new = np.array([0.03, 0.4, 1.7])
    expected = np.array([diverges(loss, *line) for loss in new])
    assert prediction.divergences(new)[:, 1] == pytest.approx(expected, rel=0.01)
    kept = [keeps(divergence, *curve) for divergence in expected]
    assert prediction.bands(new, 1.0)[:, 1] == pytest.approx(kept, abs=0.01)
    assert prediction.spread < FAR.spread / 1.5
    assert prediction.runs == len(LOSSES)


@pytest.mark.parametrize("line", [(-2.2, 1.1), (-1.5, 1.0)])
def test_the_first_runs_set_the_level_which_others_leave_open(line):
    """Two runs, at 4 and 6 bits say, bring predictions nearer at all other losses."""
    far = [predict(runs(some, line=line)).divergences(LOSSES) for some in ([], [0.3, 0.03])]
    wanted = np.array([diverges(loss, *line) for loss in LOSSES])
    before, after = (np.abs(np.log(one[:, 1] / wanted)).max() for one in far)
    assert after < before or after < 0.1
    widths = [np.log(one[:, 2] / one[:, 0]).mean() for one in far]
    assert widths[1] < widths[0]


def test_the_line_is_that_of_runs_and_of_made_up_runs_that_stand_for_the_prior():
    points = runs(LOSSES[:7], spread=0.3, seed=4)
    weight = 500 / (500 + FEW)
    rows = [[math.sqrt(weight), math.sqrt(weight) * math.log(p.loss / CENTRE)] for p in points]
    wanted = [math.sqrt(weight) * math.log(p.divergence) for p in points]
    for side, (mean, deviation) in enumerate((PRIOR.height, PRIOR.slope)):
        counts = PRIOR.spread / deviation
        rows.append([counts * (side == 0), counts * (side == 1)])
        wanted.append(counts * mean)
    expected = np.linalg.lstsq(np.array(rows), np.array(wanted), rcond=None)[0]
    found = predict(points)
    assert found.line == pytest.approx(expected)
    assert found.freedom == pytest.approx(PRIOR.weight + SHARE * 7 * weight)


def test_before_anything_is_measured_there_is_a_wide_band():
    prediction = predict([])
    low, middle, high = prediction.divergences(np.array([CENTRE]))[0]
    assert middle == pytest.approx(math.exp(PRIOR.height[0]))
    assert low * 1.5 < middle < high / 1.5
    assert prediction.runs == 0
    assert np.isfinite(bands(prediction)).all()


def test_only_the_latest_runs_are_looked_at():
    old, new = runs(LOSSES, line=(0.0, 1.5)), runs(np.geomspace(0.01, 3, LATEST))
    assert predict([*old, *new]).runs == LATEST
    assert predict([*old, *new]).line == pytest.approx(predict(new).line)


@pytest.mark.parametrize("count", [0, 1, 2, 8, 40])
def test_bands_hold_about_95_of_100_new_runs_of_models_that_the_prior_tells_of(count):
    rng = np.random.default_rng(count)
    divergent, accurate = [], []
    for seed in range(25):
        line = rng.normal(*PRIOR.height), rng.normal(*PRIOR.slope)
        curve = math.exp(rng.normal(*PRIOR.scale)), math.exp(rng.normal(*PRIOR.power))
        chosen, fresh = np.exp(rng.uniform(-4.5, 0.5, count)), np.exp(rng.uniform(-4.5, 0.5, 25))
        prediction = predict(runs(chosen, PRIOR.spread, 0.01, seed, line, curve))
        others = runs(fresh, PRIOR.spread, 0.01, 100 + seed, line, curve)
        for one, k, t in zip(
            others, prediction.divergences(fresh), prediction.bands(fresh, 0.8), strict=True
        ):
            divergent.append(k[0] <= one.divergence <= k[2])
            accurate.append(t[0] <= 0.8 * one.kept <= t[2])
    assert 0.9 < np.mean(divergent) <= 1
    assert 0.9 < np.mean(accurate) <= 1


@pytest.mark.parametrize("error", [0.0, 0.02, 0.08])
@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_bands_are_in_order_fall_and_are_no_narrower_than_the_measurements_error(error, spread):
    prediction = predict(runs(LOSSES, spread, error, seed=2))
    low, middle, high = bands(prediction).T
    assert np.all((low >= 0) & (low <= middle) & (middle <= high))
    assert np.all(np.diff(middle) <= 0) and middle[0] == pytest.approx(0.9, abs=0.01)
    measured = 0.9 * Z * math.hypot(error, NOISE)
    assert np.all(high - middle > 0.999 * measured)
    assert np.all((middle - low > 0.999 * measured) | (low == 0))
    divergences = prediction.divergences(LOSSES)
    assert np.all(np.diff(divergences, axis=0) > 0) and np.all(np.diff(divergences, axis=1) > 0)


def test_bands_are_in_parts_of_the_floats_accuracy():
    prediction = predict(runs(LOSSES, 0.1, 0.02))
    assert bands(prediction, 0.4) == pytest.approx(bands(prediction, 0.8) / 2)


@pytest.mark.parametrize("place", [0, 9, 18, 29])
@pytest.mark.parametrize("slip", [-0.5, 0.5])
def test_an_accuracy_far_off_hardly_moves_the_curve(place, slip):
    points = runs(LOSSES, error=0.01, seed=5)
    spoiled = list(points)
    spoiled[place] = replace(points[place], kept=points[place].kept + slip)
    moved = np.abs(bands(predict(spoiled)) - bands(predict(points)))[:, 1].max()
    assert moved < 0.03


def test_a_surer_run_counts_for_more():
    points = runs(LOSSES, error=0.05)
    high = [replace(one, kept=one.kept + 0.1, error=0.2) for one in points]
    sure = [replace(one, kept=keeps(one.divergence), error=0.01) for one in points]
    wanted = [one.kept for one in sure]
    assert predict([*high, *sure]).bands(LOSSES, 1.0)[:, 1] == pytest.approx(wanted, abs=0.03)


def test_a_run_on_few_images_counts_for_less():
    few, many = (
        predict([*runs([0.1]), replace(runs([0.1], line=(-1.0, 1.1))[0], images=images)])
        for images in (4, 5000)
    )
    assert few.line[0] < many.line[0]


@pytest.mark.parametrize("count", [0, 3])
def test_no_loss_and_an_endless_one_have_answers(count):
    prediction = predict(runs([0.02, 0.1, 0.5][:count]))
    none, endless = prediction.bands(np.array([0.0, np.inf]), 0.9)
    assert none[1] == pytest.approx(0.9, abs=0.001)
    assert endless[1] == pytest.approx(0, abs=0.001)
    assert np.isfinite(prediction.divergences(np.array([0.0, np.inf]))).all()


def test_a_point_is_the_share_of_floats_accuracy_on_the_same_images():
    """Of 200 images float answers 160 rightly, the run 150, both 140: 20 lost, 10 won."""
    found = point(Counts(200, 150, 190, 160, 140, 150, 3.0), 0.25)
    assert (found.loss, found.images) == (0.25, 200)
    assert found.kept == pytest.approx(150 / 160)
    assert found.divergence == pytest.approx(3.0 / 200)
    difference = (10 - 20) / 200
    error = math.sqrt((10 + 20) / 200 - difference**2) / math.sqrt(200)  # of paired differences
    assert found.error == pytest.approx(error / (160 / 200), rel=0.1)


@pytest.mark.parametrize(
    ("counts", "loss"),
    [
        (Counts(20, 3, 10, 0, 0, 5, 1.0), 0.1),  # float is never right
        (Counts(), 0.1),  # no images
        (Counts(20, 15, 18, 15, 15, 20, 0.0), 0.0),  # float itself
        (Counts(20, 3, 10, 15, 2, 5, math.inf), 0.1),
        (Counts(20, 3, 10, 15, 2, 5, math.nan), 0.1),
        (Counts(20, 3, 10, 15, 2, 5, 1.0), math.inf),
    ],
)
def test_what_lies_on_no_line_makes_no_point(counts, loss):
    assert point(counts, loss) is None


def test_a_run_is_its_share_of_what_float_gets_right():
    found = point(answers(0, 100).counts(), 0.5)  # three of four are right, float always
    assert (found.loss, found.kept) == pytest.approx((0.5, 0.75))
    assert found.error == pytest.approx(math.sqrt(0.75 * 0.25 / 100), rel=0.1)
