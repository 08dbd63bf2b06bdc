import itertools
import threading

import pytest
import torch

from quant.evaluation import logits
from quant.evaluation.image_set import Pictures
from quant.evaluation.logits import Logits, float_logits


class Images:
    """Pictures that hold their own number, and a list of those that were read."""

    def __init__(self, count):
        self.count, self.read = count, []

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.read.append(index)
        return torch.full((3, 2, 2), float(index)), index % 7


def numbers(batch):
    return batch[:, 0, 0, 0].tolist()


@pytest.mark.parametrize(
    ("start", "stop", "largest", "sizes"),
    [
        (0, None, 16, [4, 8, 16, 16, 6]),
        (0, 50, 2, [2] * 25),
        (45, None, 16, [5]),
        (50, None, 16, []),
        (12, None, 16, [16, 16, 6]),  # as above, the first two done
        (10, 17, 16, [2, 5]),
        (17, 10, 16, []),
    ],
)
def test_batches_are_small_at_first_and_in_order(start, stop, largest, sizes):
    found = list(Pictures(Images(50)).batches(start, stop, largest))
    expected = list(range(50))[start:stop]
    assert [len(labels) for _, labels in found] == sizes
    assert [n for images, _ in found for n in numbers(images)] == expected
    assert [y for _, labels in found for y in labels.tolist()] == [i % 7 for i in expected]


@pytest.mark.parametrize(("room", "again"), [(10**6, 0), (48 * 12, 8), (0, 20)])
def test_pictures_are_read_once_as_far_as_there_is_room(room, again):
    images = Images(20)  # of 48 bytes each
    pictures = Pictures(images, room)
    first = [numbers(batch) for batch, _ in pictures.batches()]
    assert sorted(images.read) == list(range(20))
    images.read.clear()
    assert [numbers(batch) for batch, _ in pictures.batches()] == first
    assert len(images.read) == again


def test_a_picture_that_cannot_be_read_is_heard_of():
    class Damaged(Images):
        def __getitem__(self, index):
            if index == 5:
                raise ValueError("5.png is damaged")
            return super().__getitem__(index)

    with pytest.raises(ValueError, match=r"5\.png is damaged"):
        list(Pictures(Damaged(9)).batches())


def test_leaving_off_leaves_no_thread_behind():
    before = threading.active_count()
    batches = Pictures(Images(5000)).batches()
    next(batches)
    batches.close()
    assert threading.active_count() == before


def plain_model():
    """A float model of three classes, and the images it was run on."""
    seen = []

    def run(images):
        seen.extend(numbers(images))
        return images[:, :, 0, 0] * torch.tensor([1.0, 2.0, 3.0])

    return run, seen


def batch(start, stop):
    return torch.arange(float(start), stop)[:, None, None, None].expand(-1, 3, 2, 2)


def test_float_runs_once_on_each_image():
    run, seen = plain_model()
    plain = float_logits(run)
    expected = torch.arange(10.0)[:, None] * torch.tensor([1.0, 2.0, 3.0])
    assert torch.equal(plain.of(2, batch(2, 6)), expected[2:6])
    assert torch.equal(plain.of(0, batch(0, 10)), expected)
    assert torch.equal(plain.of(5, batch(5, 9)), expected[5:9])
    assert sorted(seen) == list(range(10))


def test_it_is_known_what_running_float_took(monkeypatch):
    clock = itertools.count()  # each call takes a second, from its look at the clock to the next
    monkeypatch.setattr(logits.time, "perf_counter", lambda: float(next(clock)))
    plain = float_logits(plain_model()[0])
    plain.of(0, batch(0, 4))
    plain.of(2, batch(2, 10))
    plain.of(0, batch(0, 10))
    assert plain.seconds(0, 10) == pytest.approx(2)
    assert plain.seconds(1, 5) == pytest.approx(3 / 4 + 1 / 6)
    assert plain.seconds(10, 20) == 0


def test_what_there_is_no_room_for_is_run_again():
    run, seen = plain_model()
    plain = Logits("float", run, room=4 * 3 * 4)
    for _ in range(2):
        assert torch.equal(plain.of(0, batch(0, 6))[:, 0], torch.arange(6.0))
    assert seen == [0, 1, 2, 3, 4, 5, 4, 5]


def test_a_float_model_that_overflows_is_named():
    with pytest.raises(ValueError, match="float gives logits that are not finite"):
        float_logits(lambda images: images.flatten(1) / 0).of(0, batch(0, 2))
