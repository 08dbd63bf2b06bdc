"""Evaluations as jobs: they stream, are kept, are cut off and gone on with."""

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from app.work import spending
from app.work.job import CANCELLED, DONE, Work
from app.work.jobs import JobQueue
from app.work.wanted import Recent
from assets.home import home
from lrp.engine.layers import list_layers
from lrp.engine.progress import Cancelled, Progress
from quant.calibration.presets import preset
from quant.evaluation.stream import Step
from quant.experiments.calibrating import All, Calibrating
from quant.experiments.measuring import FLOAT as PLAIN
from quant.experiments.measuring import Given, Measuring, Variant
from quant.experiments.within_loss import NATS, Accepted, Search
from quant.history import runs as history
from quant.history.recipe import Recipe
from quant.history.runs import FILE, Run, Runs
from quant.model.quantized_model import QuantizedModel
from quant.primitives.bits import LayerBits, uniform
from tests.app import runs_made as made

IMAGES = made.IMAGES
PATIENCE = 60
LAYERS = list_layers(made.model().model, made.model().input_size)
FOUR = Variant(uniform(LAYERS, 4, 4), "uniform", "4 bit")
MIXED = Variant(
    {layer.name: LayerBits(3 + index % 3, 4) for index, layer in enumerate(LAYERS)},
    "sensitivity",
    "4.00 bit",
)


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measuring]:
    """What all tests measure with; widths are solved once."""
    loaded, (calibration, images) = made.model(), made.sets()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("BITLENS_HOME", str(tmp_path_factory.mktemp("home")))
        yield Measuring(
            calibrating=Calibrating(
                loaded, calibration, preset("repq-vit"), torch.device("cpu"), home(), Recent(2)
            ),
            images=images,
            kept=Recent(20),
            history=Runs(tmp_path_factory.mktemp("history") / FILE),
        )


@pytest.fixture
def measuring(calibrated: Measuring, tmp_path: Path) -> Measuring:
    return replace(calibrated, history=Runs(tmp_path / FILE))


class Heard:
    """A report that remembers, and asks to stop once so many results came."""

    def __init__(self, most: int = 10**9) -> None:
        self.progress: list[tuple[int, int, str]] = []
        self.found: list[Step] = []
        self.cancel, self.most = threading.Event(), most

    def __call__(self, done: int, total: int, what: str = "", so_far: Step | None = None) -> None:
        self.progress.append((done, total, what))
        if so_far is not None:
            self.found.append(so_far)
        if len(self.found) >= self.most:
            self.cancel.set()

    def run(self, work: Work) -> object:
        """Run work step by step, as a job does."""
        progress = Progress(self, self.cancel.is_set)
        with closing(work(progress)) as steps:
            while True:
                progress.check()
                try:
                    next(steps)
                except StopIteration as stop:
                    return stop.value


def kept(measuring: Measuring) -> list[Run]:
    return measuring.history.listed()


def test_a_search_measures_budgets_until_one_keeps_the_loss(measuring: Measuring) -> None:
    rows = [Variant(uniform(LAYERS, width, 4), "sensitivity", f"W{width}") for width in (2, 4, 8)]
    looking = Search(np.array([3.0, 0.3, 0.1]), Accepted(0.2, NATS))
    assert Heard().run(partial(spending.search, measuring, rows, looking)) is looking
    runs = {run.recipe.budget: run.counts.evaluation(run.seconds) for run in kept(measuring)}
    assert {f"W{(2, 4, 8)[row]}" for row in looking.measured} == set(runs)
    for variant in rows:
        Heard().run(partial(spending.evaluate, measuring, variant, None))
    every = {run.recipe.budget: run.counts.evaluation(run.seconds) for run in kept(measuring)}
    nats = [every[variant.budget].divergence for variant in rows]
    assert looking.best == next(row for row, lost in enumerate(nats) if lost <= 0.2)


def test_an_evaluation_says_what_running_the_model_says(measuring: Measuring) -> None:
    heard = Heard()
    found = heard.run(partial(spending.evaluate, measuring, MIXED, None))
    assert isinstance(found, Step)
    calibration = measuring.calibrating.calibration
    model = made.model().model
    quantized = QuantizedModel(calibration, MIXED.allocation or {})
    pictures, labels = zip(*(measuring.images[i] for i in range(IMAGES)), strict=True)
    with torch.no_grad():
        answers = quantized.run(torch.stack(pictures)).argmax(1)
        plain = model(torch.stack(pictures)).argmax(1)
    right, float_right = (int((said == torch.tensor(labels)).sum()) for said in (answers, plain))
    e = found.evaluation
    assert (e.images, found.wanted) == (IMAGES, IMAGES)
    assert e.top1 == pytest.approx(right / IMAGES)
    assert e.difference == pytest.approx((right - float_right) / IMAGES)
    assert e.agreement == pytest.approx(float((answers == plain).float().mean()))
    assert found.path == str(quantized.arithmetic)
    (run,) = kept(measuring)
    assert (run.id, run.state, run.recipe.allocation) == (found.run, history.DONE, MIXED.allocation)
    assert np.array_equal(run.answers.predicted, answers.numpy())


@pytest.mark.parametrize("steps", [1, 2])
def test_a_run_that_was_cut_off_ends_as_one_that_was_not_to_the_last_bit(
    measuring: Measuring, steps: int
) -> None:
    begun = measuring.measure(FOUR)
    for _ in range(steps):
        next(begun)
    begun.close()
    (cut_off,) = kept(measuring)
    assert 0 < cut_off.counts.images < IMAGES
    *_, resumed = measuring.measure(FOUR)
    *_, at_once = replace(measuring, history=None, kept=All()).measure(FOUR)
    columns = zip(resumed.answers.columns(), at_once.answers.columns(), strict=True)
    assert all(np.array_equal(one, other) for one, other in columns)
    (run,) = kept(measuring)
    assert run.counts.divergence / IMAGES == at_once.evaluation.divergence


def test_it_streams_from_few_images_to_all(measuring: Measuring) -> None:
    heard = Heard()
    heard.run(partial(spending.evaluate, measuring, FOUR, None))
    images = [found.evaluation.images for found in heard.found]
    assert images[0] <= 4
    assert images == sorted(set(images))
    assert images[-1] == IMAGES
    assert [done for done, _, what in heard.progress if what == "image"] == [0, *images]
    assert {total for _, total, what in heard.progress if what == "image"} == {IMAGES}
    assert all(found.name == "uniform 4 bit" for found in heard.found)


def test_float_needs_no_calibration(measuring: Measuring) -> None:
    heard = Heard()
    found = heard.run(partial(spending.evaluate, measuring, PLAIN, None))
    assert isinstance(found, Step)
    assert found.path == ""
    assert (found.evaluation.difference, found.evaluation.agreement) == (0, 1)
    assert {what for _, _, what in heard.progress} == {"image"}
    assert kept(measuring)[0].recipe.allocation is None


def test_the_layers_that_are_calibrated_first_are_counted(
    measuring: Measuring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BITLENS_HOME", str(tmp_path))
    fresh = replace(
        measuring, calibrating=replace(measuring.calibrating, home=home(), kept=Recent(1))
    )
    heard = Heard()
    heard.run(partial(spending.evaluate, fresh, FOUR, None))
    stages = [what for _, _, what in heard.progress]
    first = stages.index("calibrating, layer")
    assert stages[first:].count("calibrating, layer") >= len(LAYERS)
    assert "image" in stages[first:]


@pytest.mark.parametrize("wish", [FOUR, PLAIN])
def test_what_was_cut_off_is_kept_and_gone_on_with(measuring: Measuring, wish: Variant) -> None:
    cut = Heard(most=2)
    with pytest.raises(Cancelled):
        cut.run(partial(spending.evaluate, measuring, wish, None))
    (run,) = kept(measuring)
    before = cut.found[-1].evaluation.images
    assert (run.state, run.counts.images) == (history.STOPPED, before)
    assert 0 < before < IMAGES

    again = Heard()
    again.run(partial(spending.evaluate, measuring, wish, None))
    images = [found.evaluation.images for found in again.found]
    assert images[0] == before  # at once, what is known
    assert (images[1] > before, images[-1]) == (True, IMAGES)
    (whole,) = kept(measuring)
    assert (whole.id, whole.state) == (run.id, history.DONE)

    other = replace(measuring, history=Runs(measuring.history.path.with_name("other.sqlite3")))
    Heard().run(partial(spending.evaluate, other, wish, None))
    assert np.array_equal(whole.answers.predicted, kept(other)[0].answers.predicted)


def test_it_stops_once_it_is_precise_enough(measuring: Measuring) -> None:
    found = Heard().run(partial(spending.evaluate, measuring, FOUR, 0.3))
    assert isinstance(found, Step)
    e = found.evaluation
    assert e.images < found.wanted == IMAGES
    assert (e.difference_high - e.difference_low) / 2 <= 0.3
    assert kept(measuring)[0].state == history.DONE
    all_of_them = Heard().run(partial(spending.evaluate, measuring, FOUR, None))
    assert isinstance(all_of_them, Step)
    assert all_of_them.evaluation.images == IMAGES
    assert len(kept(measuring)) == 1


def test_a_job_shows_what_is_found_so_far_and_stops_when_asked(measuring: Measuring) -> None:
    queue, seen, go_on = JobQueue(), threading.Event(), threading.Event()
    work = partial(spending.evaluate, measuring, FOUR, None)

    def held(progress: Progress) -> object:
        def heard(done: int, total: int, what: str = "", so_far: object | None = None) -> None:
            progress.tell(done, total, what, so_far)
            if so_far is not None:
                seen.set()
                assert go_on.wait(PATIENCE)

        return work(Progress(heard, progress.stopped))

    job = queue.submit("k", "Measuring", held, "me")
    assert seen.wait(PATIENCE)
    assert (job.what, job.total, job.done) == ("image", IMAGES, job.so_far.evaluation.images)
    queue.leave(job, "me")
    go_on.set()
    assert job.ended.wait(PATIENCE)
    assert (job.state, kept(measuring)[0].state) == (CANCELLED, history.STOPPED)
    again = queue.submit("k", "Measuring", work, "me")
    assert again.ended.wait(PATIENCE)
    assert (again.state, again.result.evaluation.images) == (DONE, IMAGES)


def test_a_sweep_measures_one_after_another(measuring: Measuring) -> None:
    heard = Heard()
    assert heard.run(partial(spending.sweep, measuring, [PLAIN, FOUR, MIXED], None)) == 3
    done = [done for done, _, what in heard.progress if what == "image"]
    assert done == sorted(done)
    assert done[-1] == 3 * IMAGES
    assert {total for _, total, what in heard.progress if what == "image"} == {3 * IMAGES}
    told = [(run.recipe.objective, run.recipe.budget, run.state) for run in kept(measuring)]
    assert told == [
        ("sensitivity", "4.00 bit", history.DONE),
        ("uniform", "4 bit", history.DONE),
        ("float", "float", history.DONE),
    ]
    assert measuring.done()[0].evaluation is not None


def test_a_sweep_that_is_cut_off_keeps_what_is_done(measuring: Measuring) -> None:
    whole = Heard()
    whole.run(partial(spending.evaluate, measuring, PLAIN, None))
    cut = Heard(most=3)  # float comes at once, then two steps of the next
    with pytest.raises(Cancelled):
        cut.run(partial(spending.sweep, measuring, [PLAIN, FOUR, MIXED], None))
    later, earlier = kept(measuring)
    assert (earlier.recipe.objective, earlier.state) == ("float", history.DONE)
    assert (later.recipe.objective, later.state) == ("uniform", history.STOPPED)
    assert [run.id for run in measuring.done()] == [earlier.id]
    assert Heard().run(partial(spending.sweep, measuring, [PLAIN, FOUR, MIXED], None)) == 3
    assert [run.state for run in kept(measuring)] == [history.DONE] * 3


def test_what_is_measured_already_is_not_run_again(
    measuring: Measuring, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Heard().run(partial(spending.evaluate, measuring, FOUR, None))

    def forbidden(*args: object) -> None:
        raise AssertionError("the model ran")

    monkeypatch.setattr("quant.model.quantized_model.QuantizedModel.run", forbidden)
    again = Heard().run(partial(spending.evaluate, measuring, FOUR, None))
    assert isinstance(first, Step) and isinstance(again, Step)
    assert again.evaluation == first.evaluation
    assert again.run == first.run


def test_a_recipe_says_all_it_takes_to_repeat_it(
    measuring: Measuring, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    own = replace(measuring, given=Given("weights.safetensors", "pictures"))
    recipe = own.recipe(MIXED)
    loaded, (calibration, images) = made.model(), made.sets()
    assert recipe == Recipe(
        model="digits-swin",
        checkpoint=str(tmp_path / "weights.safetensors"),
        model_key=loaded.key,
        data=str(tmp_path / "pictures"),
        images_key=images.key,
        images=IMAGES,
        seed=0,
        preset="repq-vit",
        calibration_key=calibration.key,
        calibration_images=made.CALIBRATION,
        allocation=MIXED.allocation,
        objective="sensitivity",
        budget="4.00 bit",
        device="cpu",
    )
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert (measuring.recipe(FOUR).checkpoint, measuring.recipe(FOUR).data) == (None, None)


def test_the_same_bits_are_one_run_whatever_chose_them(measuring: Measuring) -> None:
    Heard().run(partial(spending.evaluate, measuring, FOUR, None))
    Heard().run(partial(spending.evaluate, measuring, replace(FOUR, objective="lrp"), None))
    assert len(kept(measuring)) == 1


def test_runs_under_another_quantizer_or_on_other_images_are_left_out(
    measuring: Measuring,
) -> None:
    runs = measuring.history
    said = made.answers({1, 2})
    wanted = [
        made.keep(runs, made.recipe(4), said),
        made.keep(runs, made.recipe(None, preset="lrp-qvit"), said),  # float is float
    ]
    made.keep(runs, made.recipe(4, preset="lrp-qvit"), said)
    made.keep(runs, made.recipe(4, images_key="others"), said)
    made.keep(runs, made.recipe(4, "digits-vit"), made.answers({1}, name="digits-vit"))
    made.keep(runs, made.recipe(5), said.part(0, 9), done=False)
    assert [run.id for run in measuring.done()] == [run.id for run in reversed(wanted)]


def test_warming_up_keeps_nothing_and_calibrates_nothing(
    measuring: Measuring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Heard().run(partial(spending.evaluate, measuring, FOUR, None))
    before = len(kept(measuring))
    assert measuring.warm(FOUR) is True
    assert len(kept(measuring)) == before
    monkeypatch.setenv("BITLENS_HOME", str(tmp_path / "empty"))
    fresh = replace(
        measuring, calibrating=replace(measuring.calibrating, home=home(), kept=Recent(1))
    )
    assert fresh.warm(FOUR) is False
    assert not (tmp_path / "empty").exists()


def test_measurings_are_told_apart(measuring: Measuring) -> None:
    other = replace(measuring.calibrating, preset=preset("lrp-qvit"))
    assert measuring.key == replace(measuring, given=Given(data="elsewhere")).key
    assert measuring.key != replace(measuring, calibrating=other).key
    assert measuring.key != replace(measuring, images=made.sets()[0]).key
