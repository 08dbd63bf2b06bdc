import math
import statistics

import numpy as np
import pytest

from quant.evaluation.answers import Answers
from quant.evaluation.clustered import (
    Answered,
    accuracy,
    between,
    clustered,
    standard_error,
    to_float,
)
from quant.evaluation.intervals import paired_interval, wilson


def answered(right, plain=None, images=None):
    """Answers to two classes, right where `right` says so; float is right where `plain` does."""
    right = np.array(right, dtype=bool)
    plain = np.ones_like(right) if plain is None else np.array(plain, dtype=bool)
    labels = np.arange(len(right), dtype=np.int32) % 2
    answers = Answers(
        labels,
        np.where(right, labels, 1 - labels).astype(np.int32),
        np.where(plain, labels, 1 - labels).astype(np.int32),
        np.ones_like(right),
        np.full(len(right), 0.25, np.float32),
    )
    return Answered(answers, np.arange(len(right)) if images is None else np.array(images))


def chance(seed, share, count=200):
    return np.random.default_rng(seed).random(count) < share


def test_a_single_run_has_the_intervals_of_single_runs():
    one, other = answered(chance(0, 0.8)), answered(chance(1, 0.7))
    wins = int((one.answers.correct & ~other.answers.correct).sum())
    losses = int((other.answers.correct & ~one.answers.correct).sum())
    found = between([(one, other)])
    assert (found.low, found.high) == paired_interval(wins, losses, 200)
    assert found.value == pytest.approx((wins - losses) / 200)
    found = accuracy([one])
    assert (found.low, found.high) == wilson(int(chance(0, 0.8).sum()), 200)
    wrong = 200 - int(chance(0, 0.8).sum())
    found = to_float([one])
    assert (found.low, found.high) == paired_interval(0, wrong, 200)
    assert found.error is None


def test_the_same_answers_twice_are_worth_no_more_than_once():
    right = chance(0, 0.8)
    once = 1.959964 * math.sqrt(statistics.variance(map(float, right)) / 200)
    for copies in (2, 5):
        found = accuracy([answered(right)] * copies)
        assert found.value == pytest.approx(right.mean())
        assert (found.high - found.low) / 2 == pytest.approx(once)
        assert found.error == 0


def test_runs_that_go_wrong_on_other_images_are_worth_more():
    runs = [answered(chance(seed, 0.8)) for seed in range(4)]
    per_image = np.mean([run.answers.correct for run in runs], axis=0)
    half = 1.959964 * statistics.stdev(per_image) / math.sqrt(200)
    found = accuracy(runs)
    assert (found.high - found.low) / 2 == pytest.approx(half)
    means = [run.answers.correct.mean() for run in runs]
    assert found.error == pytest.approx(statistics.stdev(means) / 2)


def test_images_are_told_apart_by_name_not_by_place():
    right = chance(3, 0.8)
    order = np.random.default_rng(4).permutation(200)
    mixed = answered(right[order], images=order)
    found, plain = accuracy([answered(right), mixed]), accuracy([answered(right)] * 2)
    assert found.low == pytest.approx(plain.low)


def test_runs_may_have_answered_fewer_images_than_others():
    short, long = chance(0, 0.8)[:50], chance(0, 0.8)
    found = accuracy([answered(short, images=np.arange(200)), answered(long)])
    assert found.value == pytest.approx((short.sum() + long.sum()) / 250)
    one, other = answered(short), answered(~long)
    pair = between([(one, other), (one, other)])
    assert pair.value == pytest.approx(2 * short.mean() - 1)


def test_differences_are_taken_image_by_image():
    one, other = chance(0, 0.8), chance(1, 0.7)
    pairs = [(answered(one), answered(other)), (answered(other), answered(one))]
    found = between(pairs)
    assert found.value == pytest.approx(0)
    assert found.error == pytest.approx(abs(float(one.mean() - other.mean())))
    gains = [answered(one, plain=other), answered(one, plain=other)]
    half = 1.959964 * statistics.stdev(one.astype(float) - other) / math.sqrt(200)
    found = to_float(gains)
    assert (found.value, found.high - found.value) == pytest.approx(
        (one.mean() - other.mean(), half)
    )


@pytest.mark.parametrize("images", [1, 30, 500])
def test_where_nothing_varies_something_is_still_uncertain(images):
    same = [answered([True] * images)] * 3
    found = to_float(same)
    assert found.value == 0
    assert found.high == pytest.approx(-found.low)
    assert found.high == pytest.approx(wilson(0, images)[1])
    whole = accuracy(same)
    assert whole.high == 1
    assert whole.low == pytest.approx(1 - found.high)


def test_coverage_of_pooled_runs_is_what_it_says():
    random = np.random.default_rng(0)
    inside = 0
    for _ in range(400):  # images have their own difficulty, shared by three runs
        hard = random.beta(2, 1, 150)
        samples = [((random.random(150) < hard).astype(float), np.arange(150)) for _ in range(3)]
        found = clustered(samples)
        inside += found.low <= 2 / 3 <= found.high
    assert 0.92 <= inside / 400 <= 0.98


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="3 answers to 2 images"):
        answered([True] * 3, images=[0, 1])
    swapped = Answered(answered([True] * 3).answers.part(1), np.arange(2))
    with pytest.raises(ValueError, match="other images"):
        between([(answered([True] * 3), swapped)])


def test_a_standard_error_needs_two():
    assert standard_error([0.3]) is None
    assert standard_error([0.1, 0.5]) == pytest.approx(0.2)
