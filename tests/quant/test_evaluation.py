import threading

import pytest
import torch
from scipy.stats import binomtest, entropy

from lrp.progress import Cancelled
from quant.evaluation import evaluate, wilson


def run_of(table):
    """A made-up model: images hold their own row number in this table of logits."""
    return lambda images: table[images[:, 0, 0, 0].long()]


@pytest.fixture
def data():
    torch.manual_seed(0)
    images = torch.arange(20.0).reshape(20, 1, 1, 1).expand(-1, 3, 1, 1)
    return images, torch.randint(8, (20,)), torch.randn(20, 8), torch.randn(20, 8)


def batches(images, labels, size=6):
    return list(zip(images.split(size), labels.split(size), strict=True))


def test_counts_are_those_of_a_loop(data):
    images, labels, plain, other = data
    found = evaluate({"float": run_of(plain), "other": run_of(other)}, batches(images, labels), 20)
    for name, table in (("float", plain), ("other", other)):
        ranks = [sorted(range(8), key=lambda k, r=row: -r[k]) for row in table.tolist()]
        best = [float(r[0]) for r in plain.argsort(1, descending=True)]
        pairs = list(zip(ranks, labels.tolist(), strict=True))
        assert found[name].images == 20
        assert found[name].top1 == sum(r[0] == y for r, y in pairs) / 20
        assert found[name].top5 == sum(y in r[:5] for r, y in pairs) / 20
        assert (
            found[name].agreement == sum(r[0] == b for r, b in zip(ranks, best, strict=True)) / 20
        )
    assert found["float"].agreement == 1


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (3, 7), (400, 500), (1, 1)])
def test_wilson_is_scipys(k, n):
    expected = binomtest(k, n).proportion_ci(0.95, "wilson")
    assert wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-6)


@pytest.mark.parametrize("n", range(1, 60))
def test_the_interval_holds_the_proportion_at_its_ends(n):
    assert wilson(0, n)[0] == 0
    assert wilson(n, n)[1] == 1


def test_divergence_is_the_mean_kl_from_the_reference(data):
    images, labels, plain, other = data
    found = evaluate({"float": run_of(plain), "other": run_of(other)}, batches(images, labels), 20)
    rows = [
        entropy(torch.softmax(p.double(), 0).numpy(), torch.softmax(q.double(), 0).numpy())
        for p, q in zip(plain, other, strict=True)
    ]
    assert found["other"].divergence == pytest.approx(sum(rows) / 20)
    assert found["float"].divergence == pytest.approx(0, abs=1e-12)


def test_few_classes_have_a_top_five_of_all(data):
    images, labels, plain, _ = data
    found = evaluate({"float": run_of(plain[:, :3])}, batches(images, labels % 3), 20)
    assert found["float"].top5 == 1


def test_logits_that_are_not_finite_give_no_accuracy(data):
    images, labels, plain, other = data
    other[11, 2] = float("nan")
    with pytest.raises(ValueError, match="other gives logits that are not finite"):
        evaluate({"float": run_of(plain), "other": run_of(other)}, batches(images, labels), 20)


def test_progress_counts_images_and_cancel_stops(data):
    images, labels, plain, _ = data
    seen, stop = [], threading.Event()

    def progress(done, total):
        seen.append((done, total))
        if done >= 12:
            stop.set()

    with pytest.raises(Cancelled):
        evaluate(
            {"float": run_of(plain)}, batches(images, labels), 20, progress=progress, cancel=stop
        )
    assert seen == [(6, 20), (12, 20)]


def test_no_images_are_refused(data):
    with pytest.raises(ValueError, match="no images"):
        evaluate({"float": run_of(data[2])}, [], 0)
    with pytest.raises(ValueError, match="at least one"):
        wilson(0, 0)
