"""Float's logits in the history: bit by bit, for all runs on the same images, gone with them."""

import pytest
import torch

from quant.evaluation.logits import float_logits
from quant.history.float_logits import FloatLogits
from quant.history.runs import Runs
from tests.quant.histories import answers, execute, make_older, recipe


@pytest.fixture
def history(tmp_path):
    return Runs(tmp_path / "runs.sqlite3")


def images(start, stop):
    return torch.arange(float(start), stop)[:, None, None, None].expand(-1, 3, 2, 2)


def model(seen):
    """A float model of three classes, and a list of the images that it was run on."""

    def run(batch):
        seen.extend(batch[:, 0, 0, 0].int().tolist())
        return torch.sin(batch[:, :, 0, 0] * torch.tensor([1.0, 2.0, 3.0]) + 1e-7)

    return run


def test_what_one_process_ran_another_reads(history):
    seen, again = [], []
    first = float_logits(model(seen), store=FloatLogits(history.path, recipe()))
    expected = torch.cat([first.of(0, images(0, 4)), first.of(4, images(4, 9))])
    second = float_logits(model(again), store=FloatLogits(history.path, recipe(seed=3)))
    assert torch.equal(second.of(2, images(2, 9)), expected[2:])
    assert (seen, again) == (list(range(9)), [])
    assert second.seconds(2, 9) == pytest.approx(first.seconds(2, 9))
    second.of(7, images(7, 12))
    assert again == [9, 10, 11]  # what is not kept yet, and nothing else


@pytest.mark.parametrize("change", [{"images_key": "others"}, {"model_key": "x"}, {"device": "y"}])
def test_other_images_models_and_devices_have_their_own(history, change):
    FloatLogits(history.path, recipe()).write([0, 1], torch.ones(2, 3), 0.5)
    assert not list(FloatLogits(history.path, recipe(**change)).read(0, 2))
    ((first, row, seconds), _) = FloatLogits(history.path, recipe(preset="repq-vit")).read(0, 9)
    assert (first, row.tolist(), seconds) == (0, [1, 1, 1], 0.5)


def test_they_go_with_the_last_run_on_their_images(history):
    runs = [history.begin(recipe(preset=name)).id for name in ("bitlens", "repq-vit")]
    kept = FloatLogits(history.path, recipe())
    kept.write([0], torch.ones(1, 3), 0.5)
    history.delete(runs[0])
    assert len(list(kept.read(0, 1))) == 1
    history.delete(runs[1])
    assert not list(kept.read(0, 1))


def test_a_history_that_has_none_yet_is_brought_up_to_date(tmp_path):
    path = tmp_path / "runs.sqlite3"
    old = Runs(path)
    run = old.begin(recipe()).id
    old.append(run, answers(0, 7), 2.0)
    make_older(path, 2)
    history = Runs(path)
    (found,) = history.listed()
    assert (found.counts, found.seconds) == (answers(0, 7).counts(), 2.0)
    FloatLogits(path, recipe()).write([0], torch.ones(1, 3), 0.5)
    assert history.begin(recipe()).id == run


def test_logits_that_are_damaged_are_made_again(history):
    history.begin(recipe())
    kept = FloatLogits(history.path, recipe())
    kept.write([0, 1, 2], torch.arange(9.0).reshape(3, 3), 0.5)
    execute(history.path, "UPDATE logits SET logits = x'000000000000803F00000041' WHERE place = 1")
    assert [place for place, _, _ in kept.read(0, 3)] == [0, 2]
    kept.write([1], torch.full((1, 3), 7.0), 0.5)
    assert [row.tolist() for _, row, _ in kept.read(1, 2)] == [[7, 7, 7]]
