import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from quant.evaluation.answers import Answers, Counts
from quant.evaluation.comparison import Change, by_class, changed, paired
from quant.evaluation.intervals import paired_interval, wilson


def answers(labels, predicted, reference=None, divergence=0.1):
    count = len(labels)
    reference = labels if reference is None else reference
    columns = (np.array(c, np.int32) for c in (labels, predicted, reference))
    return Answers(*columns, np.ones(count, bool), np.full(count, divergence, np.float32))


@pytest.fixture
def logits():
    generator = torch.Generator().manual_seed(4)
    labels = torch.randint(9, (30,), generator=generator)
    return (
        torch.randn(30, 9, generator=generator),
        labels,
        torch.randn(30, 9, generator=generator),
    )


def test_they_are_read_off_logits_image_by_image(logits):
    found, labels, plain = logits
    read = Answers.of(found, labels, plain)
    for i in range(30):
        order = sorted(range(9), key=lambda k, row=found[i]: -float(row[k]))
        assert read.predicted[i] == order[0]
        assert read.top5[i] == (int(labels[i]) in order[:5])
        assert read.reference[i] == max(range(9), key=lambda k, row=plain[i]: float(row[k]))
        p, q = (torch.softmax(t[i].double(), 0).numpy() for t in (plain, found))
        assert read.divergence[i] == pytest.approx(entropy(p, q), rel=1e-5)
    assert [column.dtype.name for column in read.columns()] == [
        *["int32"] * 3,
        "bool",
        "float32",
    ]


def test_equal_logits_answer_with_the_first_class():
    read = Answers.of(torch.zeros(1, 9), torch.tensor([7]), torch.zeros(1, 9))
    assert (read.predicted[0], read.reference[0], read.top5[0]) == (0, 0, False)


def test_an_evaluation_counts_them():
    # right: both, run only, float only, float only, neither (agreeing), neither
    found = answers([0, 1, 2, 3, 4, 5], [0, 1, 0, 0, 9, 8], [0, 7, 2, 3, 9, 7]).evaluation(1.5)
    assert found.images == 6
    assert found.top1 == 2 / 6
    assert (found.top1_low, found.top1_high) == wilson(2, 6)
    assert found.agreement == 2 / 6
    assert found.divergence == pytest.approx(0.1)
    assert found.difference == pytest.approx(2 / 6 - 3 / 6)
    assert (found.difference_low, found.difference_high) == paired_interval(1, 2, 6)
    low, high = found.difference_low, found.difference_high
    assert found.half_width == pytest.approx((high - low) / 2)
    assert found.seconds == 1.5


def test_float_differs_from_itself_by_nothing_and_certainly(logits):
    plain, labels, _ = logits
    found = Answers.of(plain, labels, plain).evaluation(0)
    assert (found.difference, found.difference_low, found.difference_high) == (0, 0, 0)
    same = answers([0, 1], [0, 1], divergence=1e-6).evaluation(0)  # answers alike, not itself
    assert same.difference_low < 0 < same.difference_high


def test_parts_join_into_what_they_were_and_counts_add_up(logits):
    whole = Answers.of(*logits)
    parts = [whole.part(0, 7), whole.part(7, 7), whole.part(7, 20), whole.part(20)]
    joined = Answers.joined(parts)
    for one, other in zip(whole.columns(), joined.columns(), strict=True):
        assert np.array_equal(one, other)
        assert one.dtype == other.dtype
    total = sum((part.counts() for part in parts), Counts())
    assert dataclasses.replace(total, divergence=0) == dataclasses.replace(
        whole.counts(), divergence=0
    )
    assert total.divergence == pytest.approx(whole.counts().divergence)
    assert len(Answers.joined([])) == 0


def test_no_answers_state_no_accuracy():
    with pytest.raises(ValueError, match="at least one image"):
        Answers.none().evaluation(0)


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"answers of \[1, 2\] images"):
        dataclasses.replace(answers([0, 1], [0, 1]), top5=np.ones(1, bool))


def test_two_runs_are_paired_image_by_image():
    labels = [0, 1, 2, 3, 4]
    one, other = answers(labels, [0, 1, 2, 9, 9]), answers(labels, [0, 9, 9, 3, 8])
    difference, *interval = paired(one, other)
    assert difference == pytest.approx(3 / 5 - 2 / 5)
    assert tuple(interval) == paired_interval(2, 1, 5)


def test_the_images_that_both_answered_are_compared():
    one, other = answers([0, 1, 2], [0, 9, 2]), answers([0, 1], [0, 1])
    assert paired(one, other)[0] == -1 / 2
    assert changed(one, other) == [Change(1, 1, 9, 1)]
    assert [c.label for c in by_class(one, other)] == [0, 1]


@pytest.mark.parametrize("compare", [paired, changed, by_class])
def test_answers_to_other_images_are_not_compared(compare):
    with pytest.raises(ValueError, match="to other images"):
        compare(answers([0, 1], [0, 1]), answers([0, 2], [0, 1]))
    with pytest.raises(ValueError, match="no image yet"):
        compare(answers([0, 1], [0, 1]), Answers.none())


def test_changed_answers_are_named_with_their_image():
    one, other = answers([5, 6, 7, 8], [5, 6, 0, 1]), answers([5, 6, 7, 8], [5, 0, 7, 1])
    assert changed(one, other) == [Change(1, 6, 6, 0), Change(2, 7, 0, 7)]


def test_classes_have_their_own_accuracy():
    labels = [3, 0, 3, 3, 5]
    one, other = answers(labels, [3, 0, 9, 3, 0]), answers(labels, [3, 1, 3, 3, 0])
    found = [(c.label, c.images, c.top1, c.other) for c in by_class(one, other)]
    assert found == [(0, 1, 1.0, 0.0), (3, 3, 2 / 3, 1.0), (5, 1, 0.0, 0.0)]
    assert [c.other for c in by_class(one)] == [None] * 3
    assert by_class(Answers.none()) == []
