"""Predicted accuracy: a known curve found again, bands that hold what they say, slips ignored."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import t

from quant.evaluation.answers import Counts
from quant.evaluation.prediction import (
    FEWEST,
    LATEST,
    NOISE,
    Point,
    Prediction,
    cross_validate,
    point,
    predict,
)
from tests.quant.histories import answers

Z = NormalDist().inv_cdf(0.975)
LOSSES = np.geomspace(0.01, 3, 14)
CURVES = [(0.5, 1.0), (0.2, 0.6), (2.0, 1.5)]  # scale, power


def kept(loss: float, scale: float, power: float) -> float:
    return math.exp(-((loss / scale) ** power))


def runs(
    losses: Iterable[float],
    scale: float,
    power: float,
    error: float = 0.0,
    spread: float = 0.0,
    seed: int = 0,
) -> list[Point]:
    """Made-up runs: off the curve by a share of what is lost, and measured with an error."""
    rng = np.random.default_rng(seed)
    found = []
    for loss in losses:
        middle = kept(loss, scale, power)
        measured = middle + spread * (1 - middle) * rng.normal() + error * rng.normal()
        found.append(Point(float(loss), measured, error))
    return found


@pytest.mark.parametrize(("scale", "power"), CURVES)
def test_a_known_curve_is_found_from_points_on_it(scale, power):
    prediction = predict(runs(LOSSES, scale, power))
    assert prediction.runs == len(LOSSES)
    assert (prediction.scale, prediction.power) == pytest.approx((scale, power), rel=0.01)
    assert prediction.spread < 0.01
    new = np.array([0.0, 0.03, 0.4, 1.7])
    expected = [1.0, *(kept(loss, scale, power) for loss in new[1:])]
    assert prediction.kept(new) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(("scale", "power"), CURVES)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_known_curve_is_nearly_found_from_noisy_points(scale, power, seed):
    points = runs(np.geomspace(0.01, 3, 30), scale, power, error=0.02, spread=0.1, seed=seed)
    prediction = predict(points)
    expected = [kept(loss, scale, power) for loss in LOSSES]
    assert prediction.kept(LOSSES) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("unit", [1e-5, 1e4])
def test_losses_may_be_of_any_size(unit):
    """Scores weigh other sums than divergences do."""
    prediction = predict(runs(LOSSES * unit, 0.5 * unit, 0.8))
    assert prediction.scale == pytest.approx(0.5 * unit, rel=0.01)
    assert prediction.power == pytest.approx(0.8, rel=0.01)


def test_nothing_is_predicted_from_too_few_different_runs():
    assert predict([]) is None
    points = runs(LOSSES[:FEWEST], 0.5, 1.0, error=0.01)
    assert predict(points[:-1]) is None
    assert predict(points[:-1] * 4) is None  # the same again adds none
    assert predict([*points[:-1], replace(points[0], kept=0.9)]) is None
    assert predict(points).runs == FEWEST


def test_only_the_latest_runs_are_looked_at():
    old, new = runs(LOSSES, 0.05, 2.0), runs(np.geomspace(0.01, 3, LATEST), 0.5, 1.0)
    prediction = predict([*old, *new])
    assert prediction.runs == LATEST
    assert (prediction.scale, prediction.power) == pytest.approx((0.5, 1.0), rel=0.01)


@pytest.mark.parametrize(
    ("count", "error", "spread", "least"),
    [
        *((25, 0.01, 0.0, 0.9), (25, 0.03, 0.0, 0.9), (6, 0.03, 0.0, 0.9)),
        *((25, 0.03, 0.15, 0.9), (8, 0.03, 0.15, 0.88)),
        (25, 0.01, 0.3, 0.85),  # the curve itself is known badly, which bands leave out
    ],
)
def test_bands_hold_about_95_of_100_new_runs(count, error, spread, least):
    inside = []
    for seed in range(12):
        rng = np.random.default_rng(100 + seed)
        prediction = predict(runs(rng.uniform(0.02, 0.8, count), 0.5, 1.0, error, spread, seed))
        fresh = runs(rng.uniform(0.02, 0.8, 25), 0.5, 1.0, error, spread, 1000 + seed)
        bands = prediction.bands(np.array([one.loss for one in fresh]), 0.8)
        for (low, _, high), one in zip(bands.tolist(), fresh, strict=True):
            inside.append(low <= 0.8 * one.kept <= high)
    assert least < np.mean(inside) <= 1


@pytest.mark.parametrize("count", [5, 12, 60])
def test_a_band_is_what_measuring_and_few_runs_leave_uncertain(count):
    prediction = Prediction(scale=0.5, power=1.0, spread=0.1, floor=0.02, runs=count)
    ((low, middle, high),) = prediction.bands(np.array([0.4]), 0.9).tolist()
    lost = 1 - kept(0.4, 0.5, 1.0)
    off = t.ppf(0.975, count - 2) * 0.1 * lost  # Student's: two parameters were fitted
    half = 0.9 * math.sqrt((Z * 0.02) ** 2 + off**2)
    assert (low, middle, high) == pytest.approx((middle - half, 0.9 * (1 - lost), middle + half))


def test_bands_do_not_hold_everything_where_runs_lie_far_off():
    """A share of about 95, not a band so wide that it says nothing."""
    losses = np.linspace(0.05, 1.0, 40)
    prediction = predict(runs(losses, 0.5, 1.0, error=0.01, spread=0.2, seed=3))
    assert 0.1 < prediction.spread < 0.3
    assert predict(runs(losses, 0.5, 1.0, error=0.01, seed=3)).spread < 0.05


def band(prediction: Prediction, top1: float = 0.9) -> np.ndarray:
    return prediction.bands(np.linspace(0, 5, 200), top1)


@pytest.mark.parametrize("error", [0.0, 0.02, 0.08])
@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_bands_are_in_order_fall_and_are_no_narrower_than_the_measurements_error(error, spread):
    prediction = predict(runs(LOSSES, 0.5, 1.0, error, spread, seed=2))
    low, middle, high = band(prediction).T
    assert np.all((low >= 0) & (low <= middle) & (middle <= high))
    assert np.all(np.diff(middle) <= 0) and middle[0] == pytest.approx(0.9)
    measured = 0.9 * Z * math.hypot(error, NOISE)
    assert prediction.floor == pytest.approx(math.hypot(error, NOISE))
    assert np.all(high - middle > 0.999 * measured)
    assert np.all((middle - low > 0.999 * measured) | (low == 0))
    # at no loss, measuring is all that is uncertain
    assert high[0] - middle[0] == pytest.approx(measured, rel=0.01)


def test_bands_are_in_parts_of_the_floats_accuracy():
    prediction = predict(runs(LOSSES, 0.5, 1.0, 0.02, 0.1))
    assert band(prediction, 0.4) == pytest.approx(band(prediction, 0.8) / 2)


@pytest.mark.parametrize("place", [0, 4, 8, 13])
@pytest.mark.parametrize("slip", [-0.5, 0.5])
def test_an_outlier_hardly_moves_the_curve(place, slip):
    points = runs(np.geomspace(0.02, 2, 14), 0.5, 1.0, error=0.01, seed=5)
    spoiled = list(points)
    spoiled[place] = replace(points[place], kept=points[place].kept + slip)
    at = np.linspace(0.05, 2, 30)
    moved = np.abs(predict(spoiled).kept(at) - predict(points).kept(at)).max()
    assert moved < 0.03
    squares = np.abs(least_squares(spoiled)(at) - predict(points).kept(at)).max()
    assert moved < squares


def least_squares(points: list[Point]) -> Callable[[np.ndarray], np.ndarray]:
    """The best of many curves by the sum of squares, which an outlier does move."""
    losses = np.array([one.loss for one in points])[:, None, None]
    wanted = np.array([one.kept for one in points])[:, None, None]
    scales = np.geomspace(0.05, 5, 120)[:, None]
    powers = np.linspace(0.2, 3, 120)[None]
    sums = ((np.exp(-((losses / scales) ** powers)) - wanted) ** 2).sum(0)
    row, column = np.unravel_index(sums.argmin(), sums.shape)
    scale, power = scales[row, 0], powers[0, column]
    return lambda at: np.exp(-((at / scale) ** power))


def test_a_surer_run_counts_for_more():
    points = runs(LOSSES, 0.5, 1.0, error=0.05)
    high = [replace(one, kept=one.kept + 0.1, error=0.2) for one in points]
    sure = [replace(one, kept=kept(one.loss, 0.5, 1.0), error=0.01) for one in points]
    prediction = predict([*high, *sure])
    assert prediction.kept(LOSSES) == pytest.approx([one.kept for one in sure], abs=0.02)


def test_runs_that_lose_nothing_predict_that_nothing_is_lost_there():
    points = [Point(loss, 1.0, 0.01) for loss in np.linspace(0.001, 0.01, 8)]
    prediction = predict(points)
    assert prediction.kept(np.array([0.0, 0.005, 0.01])) == pytest.approx([1, 1, 1], abs=0.01)
    assert np.isfinite(prediction.bands(np.array([0.0, 0.01, 10.0]), 0.9)).all()


def test_a_point_is_the_share_of_floats_accuracy_on_the_same_images():
    """Of 200 images float answers 160 rightly, the run 150, both 140: 20 lost, 10 won."""
    found = point(Counts(200, 150, 190, 160, 140, 150, 3.0), 0.25)
    assert found.loss == 0.25
    assert found.kept == pytest.approx(150 / 160)
    difference = (10 - 20) / 200
    error = math.sqrt((10 + 20) / 200 - difference**2) / math.sqrt(200)  # of paired differences
    assert found.error == pytest.approx(error / (160 / 200), rel=0.1)


def test_a_float_model_that_is_never_right_makes_no_point():
    assert point(Counts(20, 3, 10, 0, 0, 5, 1.0), 0.1) is None


def test_float_itself_is_a_point_without_error():
    assert point(Counts(20, 15, 18, 15, 15, 20, 0.0), 0.0) == Point(0.0, 1.0, 0.0)


def on_curve(loss):
    return kept(loss, 2.0, 0.8)


def made_up(noise, count=12):
    random = np.random.default_rng(0)
    losses = np.geomspace(0.01, 3, count)
    return [Point(float(x), on_curve(x) + noise * random.normal(), 0.01) for x in losses]


def test_runs_on_a_curve_are_predicted_from_the_others():
    found = cross_validate(made_up(0.0), 0.9)
    assert found.runs == 12
    assert found.error < 0.01
    assert found.inside == 1
    for one in found.foretold:
        assert one.measured == pytest.approx(0.9 * on_curve(one.loss))


def test_a_run_does_not_predict_itself():
    points = made_up(0.0)
    plain = cross_validate(points, 1.0).foretold[5]
    points[5] = Point(points[5].loss, 0.2, 0.01)
    found = cross_validate(points, 1.0)
    assert found.foretold[5].predicted == pytest.approx(plain.predicted)
    assert found.foretold[5].measured == pytest.approx(0.2)
    assert not found.foretold[5].low <= 0.2 <= found.foretold[5].high
    assert found.inside < 1
    errors = [abs(one.predicted - one.measured) for one in found.foretold]
    assert found.error == pytest.approx(sum(errors) / 12)


def test_too_few_runs_say_nothing():
    assert cross_validate(made_up(0.0)[:5], 0.9) is None
    assert cross_validate([], 0.9) is None


def test_a_run_is_its_share_of_what_float_gets_right():
    found = point(answers(0, 100).counts(), 0.5)  # three of four are right, float always
    assert (found.loss, found.kept) == pytest.approx((0.5, 0.75))
    assert found.error == pytest.approx(math.sqrt(0.75 * 0.25 / 100), rel=0.1)
