"""Another order of the classes is suggested where float's answers suit it far better."""

import numpy as np
import pytest

from quant.evaluation.answers import Answers
from quant.evaluation.label_order import better_order

PLAIN = (0, 2, 3, 4, 5, 6, 7, 8, 9, 1)  # of the folders 1 to 10, sorted as words


def answers(labels: np.ndarray, reference: np.ndarray) -> Answers:
    count = len(labels)
    columns = (labels.astype(np.int32), reference.astype(np.int32))
    wrong = np.full(count, 10, np.int32)  # what the quantized model answers plays no part
    return Answers(
        columns[0], wrong, columns[1], np.zeros(count, bool), np.zeros(count, np.float32)
    )


@pytest.mark.parametrize("count", [30, 1000])
def test_the_order_that_float_was_trained_with_is_found(count: int) -> None:
    labels = np.arange(count) % 10
    right = np.array(PLAIN)[labels]
    right[::20] = 0  # some wrong answers
    found = better_order(answers(labels, right), {"plain": PLAIN, "other": range(10)})
    assert found is not None
    assert (found.order, found.images) == ("plain", count)
    assert found.top1 == np.mean(right == labels)
    assert found.other_top1 == np.mean(right == np.array(PLAIN)[labels])
    assert f"float answers {found.top1:.1%} of {count:,} images rightly" in str(found)


def test_nothing_is_suggested_where_the_order_in_use_is_as_good() -> None:
    generator = np.random.default_rng(0)
    labels = np.arange(500) % 10
    others = {"plain": PLAIN}
    assert better_order(answers(labels, labels), others) is None
    assert better_order(answers(labels, generator.integers(0, 10, 500)), others) is None
    assert better_order(answers(labels, np.array(PLAIN)[labels]), {}) is None
    assert better_order(Answers.none(), others) is None
    few = labels[:3]  # too few to know
    assert better_order(answers(few, np.array(PLAIN)[few]), others) is None


def test_two_classes_that_changed_places_are_enough_where_that_is_clear() -> None:
    labels = np.arange(1000) % 10
    swapped = (1, 0, *range(2, 10))
    found = better_order(answers(labels, np.array(swapped)[labels]), {"capitals first": swapped})
    assert found is not None
    assert (found.top1, found.other_top1) == (0.8, 1.0)
    one_in_fifty = (*range(48), 49, 48)
    labels = np.arange(1000) % 50
    assert (
        better_order(answers(labels, np.array(one_in_fifty)[labels]), {"x": one_in_fifty}) is None
    )
