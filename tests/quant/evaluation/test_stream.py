import threading

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from lrp.engine.progress import Cancelled, Progress
from quant.evaluation import image_set
from quant.evaluation.answers import Answers
from quant.evaluation.image_set import Pictures
from quant.evaluation.logits import Logits, float_logits
from quant.evaluation.stream import settled, stream


def run_of(table):
    """A made-up model: images hold their own row number in this table of logits."""
    return lambda images: table[images[:, 0, 0, 0].long()]


@pytest.fixture
def data():
    torch.manual_seed(0)
    images = torch.arange(20.0).reshape(20, 1, 1, 1).expand(-1, 3, 1, 1)
    return images, torch.randint(8, (20,)), torch.randn(20, 8), torch.randn(20, 8)


class Images:
    """The made-up pictures and labels, by position."""

    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.images[index], int(self.labels[index])


def evaluate(images, labels, plain, other=None, **options):
    """Stream the float model, and another one beside it; return what each says in the end."""
    pictures, shared = Pictures(Images(images, labels)), float_logits(run_of(plain))
    runs = {"float": shared}
    if other is not None:
        runs["other"] = Logits("other", run_of(other))
    return {
        name: list(stream(run, pictures, shared, **options))[-1].evaluation
        for name, run in runs.items()
    }


def test_counts_are_those_of_a_loop(data):
    images, labels, plain, other = data
    found = evaluate(images, labels, plain, other)
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


def test_divergence_is_the_mean_kl_from_the_reference(data):
    images, labels, plain, other = data
    found = evaluate(images, labels, plain, other)
    rows = [
        entropy(torch.softmax(p.double(), 0).numpy(), torch.softmax(q.double(), 0).numpy())
        for p, q in zip(plain, other, strict=True)
    ]
    assert found["other"].divergence == pytest.approx(sum(rows) / 20)
    assert found["float"].divergence == pytest.approx(0, abs=1e-12)


def test_few_classes_have_a_top_five_of_all(data):
    images, labels, plain, _ = data
    found = evaluate(images, labels % 3, plain[:, :3])
    assert found["float"].top5 == 1


def test_logits_that_are_not_finite_give_no_accuracy(data):
    images, labels, plain, other = data
    other[11, 2] = float("nan")
    with pytest.raises(ValueError, match="other gives logits that are not finite"):
        evaluate(images, labels, plain, other)


def test_steps_count_images_and_cancel_stops(data, monkeypatch):
    images, labels, plain, _ = data
    seen, stop = [], threading.Event()
    monkeypatch.setattr(image_set, "FIRST", 6)
    pictures, shared = Pictures(Images(images, labels)), float_logits(run_of(plain))
    progress = Progress(stopped=stop.is_set)
    with pytest.raises(Cancelled):
        for step in stream(shared, pictures, shared, largest=6, progress=progress):
            seen.append((len(step.answers), step.wanted))
            if len(step.answers) >= 12:
                stop.set()
    assert seen == [(6, 20), (12, 20)]


@pytest.fixture
def streamed(data):
    """Stream the made-up other model, or the run given, against the float one."""
    images, labels, plain, other = data

    def steps(*run, name="other", **options):
        (run,) = run or (run_of(other),)
        shared = float_logits(run_of(plain))
        configuration = shared if run is None else Logits(name, run)
        return stream(configuration, Pictures(Images(images, labels)), shared, **options)

    return steps


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one.columns(), other.columns(), strict=True))


def test_a_stream_ends_where_counting_at_once_ends(data, streamed):
    images, labels, plain, other = data
    steps = list(streamed(largest=8))
    assert [len(step.new) for step in steps] == [4, 8, 8]
    assert [step.start for step in steps] == [0, 4, 12]
    assert [len(step.answers) for step in steps] == [4, 12, 20]
    assert same(Answers.joined([step.new for step in steps]), steps[-1].answers)
    spent = [step.seconds for step in steps]
    assert all(later > earlier for earlier, later in zip([0.0, *spent], spent, strict=False))
    expected = evaluate(images, labels, plain, other, largest=20)["other"]
    assert steps[-1].answers.evaluation(expected.seconds) == expected


def test_the_difference_is_that_of_the_accuracies(data):
    images, labels, plain, other = data
    found = evaluate(images, labels, plain, other)
    one = found["other"]
    assert one.difference == pytest.approx(one.top1 - found["float"].top1)
    assert one.difference_low <= one.difference <= one.difference_high
    assert found["float"].half_width == 0


@pytest.mark.parametrize("cut", [0, 1, 4, 13, 20])
def test_a_stream_goes_on_from_what_is_known(data, streamed, cut):
    _, _, _, other = data
    whole = list(streamed())[-1].answers
    asked = []

    def run(images):
        asked.extend(images[:, 0, 0, 0].int().tolist())
        return run_of(other)(images)

    steps = list(streamed(run, known=whole.part(0, cut)))
    assert asked == list(range(cut, 20))
    assert same(steps[-1].answers, whole)
    if cut:
        assert (len(steps[0].answers), len(steps[0].new), steps[0].seconds) == (cut, 0, 0)


def test_more_known_answers_than_images_are_refused(streamed):
    whole = list(streamed())[-1].answers
    with pytest.raises(ValueError, match="answers to 40 images are known, of a set of 20"):
        list(streamed(known=Answers.joined([whole, whole])))


def test_a_stream_stops_once_the_difference_is_known_well_enough(streamed):
    every = [step.answers.evaluation(0).half_width for step in streamed(largest=2)]
    precision = every[5] + 1e-9
    enough = next(i for i, width in enumerate(every) if width <= precision)
    steps = list(streamed(largest=2, precision=precision))
    assert len(steps) == enough + 1 < len(every)
    assert settled(steps[-1].answers, precision)
    known = steps[-1].answers
    assert len(list(streamed(known=known, precision=precision))) == 1  # nothing is run
    assert len(list(streamed(known=known))[-1].answers) == 20


@pytest.mark.parametrize("limit", [1, 6, 19])
def test_a_stream_stops_at_a_limit(data, streamed, limit):
    whole = list(streamed())[-1].answers
    assert same(list(streamed(limit=limit))[-1].answers, whole.part(0, limit))
    assert len(list(streamed(limit=limit, known=whole))) == 1


@pytest.mark.parametrize("precision", [0, -0.1, 1, 50])
def test_a_precision_that_is_no_share_is_refused(streamed, precision):
    with pytest.raises(ValueError, match="use a share between 0 and 1"):
        list(streamed(precision=precision))


def test_the_float_model_is_streamed_as_any_other(data, streamed):
    _, _, plain, _ = data
    last = list(streamed(None))[-1].answers
    assert np.array_equal(last.predicted, plain.argmax(1).numpy())
    assert last.evaluation(0).agreement == 1
    assert last.evaluation(0).half_width == 0


def test_float_runs_once_for_all_streams(data):
    images, labels, plain, other = data
    asked = []

    def run(batch):
        asked.extend(batch[:, 0, 0, 0].int().tolist())
        return run_of(plain)(batch)

    pictures, shared = Pictures(Images(images, labels)), float_logits(run)
    for configuration in (Logits("one", run_of(other)), Logits("two", run_of(-other)), shared):
        list(stream(configuration, pictures, shared))
    assert asked == list(range(20))


def test_a_stream_without_memory_goes_on_in_smaller_batches(data, streamed):
    _, _, _, other = data

    def run(images):
        if len(images) > 3:
            raise MemoryError
        return run_of(other)(images)

    assert same(list(streamed(run))[-1].answers, list(streamed())[-1].answers)


def test_a_stream_names_what_overflows(data, streamed):
    _, _, _, other = data
    other[11, 2] = float("inf")
    steps = streamed(name="W2A2")
    assert len(next(steps).answers) == 4  # what came before stands
    with pytest.raises(ValueError, match="W2A2 gives logits that are not finite"):
        list(steps)


def test_a_stream_is_cancelled_between_batches(streamed):
    stop = threading.Event()
    steps = streamed(progress=Progress(stopped=stop.is_set))
    next(steps)
    stop.set()
    with pytest.raises(Cancelled):
        next(steps)


def test_a_stream_of_no_images_is_refused(data):
    with pytest.raises(ValueError, match="no images"):
        next(stream(float_logits(run_of(data[2])), Pictures([]), float_logits(run_of(data[2]))))
