"""The Budget page: what is planned at once, measured on release, locked, limited and linked."""

import json
import threading
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app.budget import tabs
from app.state import budget, selection
from app.state.selection import Selected
from app.work import models, spending
from assets.sets.image_set import ImageSet
from lrp.propagation.scores import Scoring
from quant.analysis.sensitivity import ESTIMATED, MEASURED, Sensitivity
from quant.evaluation.stream import Step
from quant.experiments.calibrating import Calibrating
from quant.experiments.measuring import Measuring
from quant.history.runs import DONE, STOPPED, Runs
from quant.primitives.bits import MENU, LayerBits
from tests.app import budget_pages as on
from tests.app import runs_made as made

Open = Callable[..., AppTest]
RunUntil = Callable[[AppTest, Callable[[], object]], None]


def test_it_opens_with_four_bits_spent_and_says_by_what(page: AppTest) -> None:
    assert page.select_slider(key=budget.PLAIN_BUDGET).value == on.FOUR
    assert on.slider(page)[on.FOUR] == "4.00 bit"
    assert on.spent_by(page) == "sensitivity"
    assert "Let go of the slider and its budget is measured here" in on.said(page)
    assert len(set(on.bits(page).values())) > 3
    assert on.errors(page) == []


def test_the_budget_is_spent_anew_when_it_moves(page: AppTest) -> None:
    before, size = np.zeros((len(on.bits(page)), 2)), 0.0
    for row in (0, 26, 60, 120):
        on.move(page, row)
        average = 2 + row / 20
        ours, even = on.figures(page)["this budget"], on.figures(page)["uniform"]
        assert float(ours["Weight bits"]) <= average + 0.005
        bits, layers = on.bits(page), on.layers()
        spent = sum(layer.macs * np.prod(bits[layer.name]) for layer in layers)
        assert spent <= average**2 * sum(layer.macs for layer in layers)
        assert on.number(ours["BitOps"]) == pytest.approx(spent, rel=0.006)
        assert float(even["Weight bits"]) == int(average)
        assert on.number(ours["Size"]) > size
        now = np.array(list(bits.values()))
        assert (now >= before).all()  # bits never fall
        before, size = now, on.number(ours["Size"])
        assert page.query_params.get("bits", "4") in (f"{average:g}", [f"{average:g}"])
    # all there is to spend; but where an eighth bit brings a layer nothing it is not bought
    assert np.mean([w for w, _ in on.bits(page).values()]) > 7.9


def test_moving_the_budget_runs_no_model(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    on.stop_all(models.quick_jobs())
    monkeypatch.setattr("lrp.engine.interpreter.Interpreter.run", lambda *a, **k: ran.append(a))
    monkeypatch.setattr("quant.allocation.path.price", lambda *a: ran.append(a))
    on.move(page, 82)
    assert on.slider(page)[82] == "6.10 bit"
    assert page.query_params["bits"] in ("6.1", ["6.1"])
    assert ran == []


def release(app: AppTest, row: int, run_until: RunUntil) -> None:
    """Let go of the slider with measuring on, and wait for the last image."""
    app.toggle(key=budget.AUTO.key).set_value(True).run()
    on.move(app, row)
    run_until(app, lambda: "in all" in on.said(app))


def test_letting_go_measures_and_keeps_a_run(
    page: AppTest, history: Runs, run_until: RunUntil
) -> None:
    release(page, 30, run_until)
    (run,) = history.listed()
    found = run.evaluation
    assert found is not None
    assert (run.state, found.images) == (DONE, on.IMAGES)
    assert (run.recipe.objective, run.recipe.budget) == ("sensitivity", "3.50 bit")
    assert run.recipe.allocation == {n: LayerBits(w, a) for n, (w, a) in on.bits(page).items()}
    top1, interval = on.metrics(page)["Top-1, measured"]
    assert top1 == f"{100 * found.top1:.1f} %"
    low, high = interval.removeprefix("95 %: ").removesuffix(" %").split(" to ")
    assert float(low) < 100 * found.top1 < float(high)
    difference, between = on.metrics(page)["Against float, same images"]
    exact = 100 * (run.counts.correct - run.counts.plain) / on.IMAGES
    assert float(difference.replace("−", "-")) == pytest.approx(exact, abs=0.051)
    assert between.startswith("95 %: ")
    assert "sensitivity 3.50 bit: 100 images, in all. Layers run as " in on.said(page)
    assert "1 configuration measured on these 100 images" in on.said(page)
    assert on.frame(page, "configuration")["top-1"].tolist() == [top1]


def test_moving_again_stops_what_was_started(
    page: AppTest, history: Runs, run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = on.Gate(monkeypatch)
    page.toggle(key=budget.AUTO.key).set_value(True).run()
    on.move(page, 34)
    run_until(page, lambda: "so far" in on.said(page))
    assert "of 100 images, so far" in on.said(page)
    assert "Top-1, measured" in on.metrics(page)
    on.move(page, 35)
    run_until(page, lambda: history.listed()[-1].state == STOPPED)
    gate.opened.set()
    run_until(page, lambda: "in all" in on.said(page))
    later, earlier = history.listed()
    assert (later.state, later.recipe.budget) == (DONE, "3.75 bit")
    assert (earlier.state, earlier.recipe.budget) == (STOPPED, "3.70 bit")
    assert 0 < earlier.counts.images < on.IMAGES
    on.move(page, 34)  # goes on where it was cut off
    run_until(page, lambda: "3.70 bit: 100 images, in all" in on.said(page))
    assert [run.counts.images for run in history.listed()] == [on.IMAGES, on.IMAGES]


def test_what_was_stopped_is_kept_and_said(
    page: AppTest, history: Runs, run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    on.Gate(monkeypatch)
    page.toggle(key=budget.AUTO.key).set_value(True).run()
    on.move(page, 36)
    run_until(page, lambda: "so far" in on.said(page))
    on.press(page, "Stop")
    run_until(page, lambda: "what was measured is kept" in on.said(page))
    assert "Top-1, measured" in on.metrics(page)
    assert "Stop" not in on.labels(page)
    assert history.listed()[0].state == STOPPED


def test_a_run_that_was_deleted_is_measured_again(
    page: AppTest, history: Runs, run_until: RunUntil
) -> None:
    release(page, 30, run_until)
    history.delete(history.listed()[0].id)
    on.move(page, 31)
    run_until(page, lambda: "3.55 bit: 100 images, in all" in on.said(page))
    on.move(page, 30)
    run_until(page, lambda: "3.50 bit: 100 images, in all" in on.said(page))
    assert sorted(run.recipe.budget for run in history.listed()) == ["3.50 bit", "3.55 bit"]


def test_what_was_measured_of_another_model_is_not_shown(
    page: AppTest, run_until: RunUntil
) -> None:
    release(page, 30, run_until)
    on.know_sensitivities("digits-vit")
    page.selectbox(key=selection.MODEL).set_value("digits-vit").run()
    assert len(on.bits(page)) == len(models.layers_of(made.model("digits-vit")))
    assert "Top-1, measured" not in on.metrics(page)
    page.selectbox(key=selection.MODEL).set_value("digits-swin").run()
    assert "Let go of the slider" in on.said(page)


def test_an_error_in_measuring_is_told(
    page: AppTest, run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **options: object) -> Iterator[Step]:
        raise ValueError("sensitivity 3.90 bit gives logits that are not finite")
        yield

    monkeypatch.setattr("quant.experiments.measuring.stream", broken)
    page.toggle(key=budget.AUTO.key).set_value(True).run()
    on.move(page, 38)
    run_until(page, lambda: page.error)
    assert "Measuring sensitivity 3.90 bit failed" in on.errors(page)[0]
    assert on.slider(page)


def locked(app: AppTest) -> list[str]:
    return app.multiselect(key=f"{budget.PLAIN_BUDGET}-locks").value


def test_a_click_locks_a_layer_at_the_bits_it_has(page: AppTest) -> None:
    name = next(name for name, found in on.bits(page).items() if found not in ((2, 2), (8, 8)))
    had = on.bits(page)[name]
    page.multiselect(key=f"{budget.PLAIN_BUDGET}-locks").set_value([name]).run()
    assert not page.exception
    for row in (20, len(on.slider(page)) - 1):
        on.move(page, row)
        assert on.bits(page)[name] == had
    assert "1 layer is locked by hand" in on.said(page)
    page.multiselect(key=f"{budget.PLAIN_BUDGET}-locks").set_value([]).run()
    assert locked(page) == []
    assert on.bits(page)[name] > had


def test_layers_are_locked_in_the_list(page: AppTest) -> None:
    first, *_, last = on.bits(page)
    page.multiselect(key=selection.LOCK_LAYERS).set_value([first, last])
    page.selectbox(key=selection.LOCK_BITS).set_value(7)
    on.press(page, "Lock")
    assert (on.bits(page)[first], on.bits(page)[last]) == ((7, 7), (7, 7))
    assert f"`{first}` 7 bit, `{last}` 7 bit" in on.said(page)
    on.press(page, "Clear all")
    assert locked(page) == []
    on.press(page, "First and last at 8")
    assert (on.bits(page)[first], on.bits(page)[last]) == ((8, 8), (8, 8))
    assert on.slider(page)[0] > "2.00 bit"  # locks take some of every budget


def test_with_all_layers_locked_there_is_one_budget_and_a_way_out(page: AppTest) -> None:
    page.multiselect(key=selection.LOCK_LAYERS).set_value(list(on.bits(page)))
    page.selectbox(key=selection.LOCK_BITS).set_value(8)
    on.press(page, "Lock")
    assert on.slider(page) == ["8.00 bit"]
    assert set(on.bits(page).values()) == {(8, 8)}
    for unit in (budget.SIZE, budget.BITOPS):
        on.choose(page, budget.UNIT.widget, unit)
        assert len(on.slider(page)) == 1
    on.press(page, "Unlock all")
    assert len(on.slider(page)) > 100


def test_limits_that_cannot_be_met_are_said_and_nothing_is_lost(page: AppTest) -> None:
    on.move(page, 50)
    names = list(on.bits(page))
    page.multiselect(key=selection.LOCK_LAYERS).set_value(names)
    page.selectbox(key=selection.LOCK_BITS).set_value(6)
    on.press(page, "Lock")
    page.number_input(key=budget.SIZE_LIMIT.key).set_value(0.3).run()
    assert "There is no such budget. Size: " in on.errors(page)[0]
    assert "(0.3 MB)" in on.errors(page)[0]
    assert not page.dataframe
    on.press(page, next(label for label in on.labels(page) if label.startswith("Unlock ")))
    assert on.errors(page) == []
    left = set(locked(page))
    assert 0 < len(left) < len(names)
    assert all(on.bits(page)[name] == (6, 6) for name in left)
    page.number_input(key=budget.SIZE_LIMIT.key).set_value(0.01).run()
    assert "no unlocking is enough" in on.errors(page)[0]
    page.number_input(key=budget.SIZE_LIMIT.key).set_value(None).run()
    assert on.errors(page) == []
    assert set(locked(page)) == left


def test_other_limits_hold_besides_the_budget(page: AppTest) -> None:
    on.move(page, 120)
    free = on.figures(page)["this budget"]
    page.number_input(key=budget.SIZE_LIMIT.key).set_value(0.4).run()
    held = on.figures(page)["this budget"]
    parameters = sum(layer.parameters for layer in on.layers())
    assert float(held["Weight bits"]) * parameters / 8 <= 0.4e6 * 1.001
    assert float(free["Weight bits"]) > 7.5  # the last steps may buy nothing
    page.number_input(key=budget.BITOPS_LIMIT.key).set_value(0.5).run()
    assert on.number(on.figures(page)["this budget"]["BitOps"]) <= 0.5e9 * 1.001
    on.choose(page, budget.UNIT.widget, budget.SIZE)  # limits the size itself
    assert not [n for n in page.number_input if n.key == budget.SIZE_LIMIT.key]
    assert on.number(on.figures(page)["this budget"]["BitOps"]) <= 0.5e9 * 1.001


@pytest.mark.parametrize(("unit", "suffix"), [(budget.SIZE, " MB"), (budget.BITOPS, " G")])
def test_budgets_are_counted_in_other_units(page: AppTest, unit: str, suffix: str) -> None:
    on.choose(page, budget.UNIT.widget, unit)
    told = on.slider(page)
    values = [float(text.removesuffix(suffix)) for text in told]
    assert (np.diff(values) > 0).all()  # no two budgets are called the same
    on.move(page, 90)
    assert page.select_slider(key=budget.PLAIN_BUDGET).value == 90
    ours = on.figures(page)["this budget"]
    if unit == budget.BITOPS:
        assert on.number(ours["BitOps"]) <= values[90] * 1e9 * 1.01
    on.choose(page, budget.UNIT.widget, budget.AVERAGE)
    assert page.select_slider(key=budget.PLAIN_BUDGET).value == on.FOUR
    on.choose(page, budget.UNIT.widget, unit)
    assert page.select_slider(key=budget.PLAIN_BUDGET).value == 90


def test_only_the_widths_that_are_offered_are_taken(page: AppTest) -> None:
    on.choose(page, budget.WIDTHS.widget, [2, 4, 8])
    on.move(page, 70)
    assert {b for pair in on.bits(page).values() for b in pair} <= {2, 4, 8}
    on.choose(page, budget.WIDTHS.widget, [])
    assert next(g for g in page.get("button_group") if g.key == budget.WIDTHS.widget).value == list(
        MENU
    )


def test_weights_and_activations_are_tied_where_asked(page: AppTest) -> None:
    assert any(w != a for w, a in on.bits(page).values())
    page.toggle(key=budget.TIED.widget).set_value(True).run()
    assert all(w == a for w, a in on.bits(page).values())


def test_each_objective_spends_in_its_own_way(page: AppTest, run_until: RunUntil) -> None:
    spent = [on.bits(page)]
    for objective in ("lrp-x-sensitivity", "lrp"):
        on.choose(page, budget.OBJECTIVE.widget, objective)
        run_until(page, lambda name=objective: on.spent_by(page) == name)
        spent.append(on.bits(page))
    assert all(a != b for a, b in combinations(spent, 2))


def test_a_view_is_in_its_address_and_comes_back_from_it(page: AppTest, open_budget: Open) -> None:
    on.choose(page, budget.OBJECTIVE.widget, "lrp")
    on.choose(page, budget.WIDTHS.widget, [2, 4, 8])
    page.toggle(key=budget.TIED.widget).set_value(True).run()
    on.move(page, 70)
    on.choose(page, budget.UNIT.widget, budget.BITOPS)
    on.choose(page, budget.UNIT.widget, budget.AVERAGE)
    link = {
        name: value if isinstance(value, str) else value[0]
        for name, value in page.query_params.items()
    }
    assert {"by": "lrp", "widths": "248", "tied": "1", "bits": "5.5"}.items() <= link.items()
    assert on.spent_by(page) == "lrp"
    again = open_budget(**link)
    assert again.select_slider(key=budget.PLAIN_BUDGET).value == 70
    assert on.bits(again) == on.bits(page)
    assert again.query_params == page.query_params
    unit = open_budget(**link | {"unit": "size"})
    assert on.slider(unit)[0].endswith(" MB")


@pytest.mark.parametrize("junk", ["x", "9", "", "-1", "nan", "4;8"])
def test_junk_in_a_link_is_the_default(open_budget: Open, junk: str) -> None:
    app = open_budget(
        bits=junk, by=junk, unit=junk, widths=junk.replace("8", "").replace("4", ""), tied=junk
    )
    assert on.slider(app)[app.select_slider(key=budget.PLAIN_BUDGET).value] == "4.00 bit"
    assert len(on.slider(app)) == 121
    assert on.spent_by(app) == "sensitivity"
    assert on.errors(app) == []


def drawn(app: AppTest) -> dict[str, Any]:
    """What the slider in the browser is told."""
    parts = [json.loads(part.proto.json) for part in app.get("bidi_component")]
    return next(part for part in parts if "table" in part)


def test_the_slider_in_the_browser_gets_every_budget_once(page: AppTest) -> None:
    plain = on.bits(page)
    page.toggle(key=budget.PLAIN.key).set_value(False).run()
    assert not page.exception
    told = drawn(page)
    table = told["table"]
    assert told["row"] == on.FOUR
    assert len(table["values"]) == len(table["weight"]) == 121
    assert table["layers"] == list(plain)
    pairs = zip(table["weight"][on.FOUR], table["activation"][on.FOUR], strict=True)
    assert [(int(w), int(a)) for w, a in pairs] == list(plain.values())
    page.session_state["_bits"] = 6.0
    page.run()
    assert drawn(page)["row"] == 80
    assert drawn(page)["table"]["id"] == table["id"]  # the browser keeps the table it has
    page.toggle(key=budget.PLAIN.key).set_value(True).run()
    assert not page.exception
    assert page.select_slider(key=budget.PLAIN_BUDGET).value == 80


def test_a_history_that_cannot_be_used_leaves_the_plan(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "configurations measured" in on.said(page)

    def damaged() -> Runs:
        raise ValueError("runs.sqlite3 is damaged: move it away")

    monkeypatch.setattr("app.work.history.history", damaged)
    page.run()
    assert not page.exception
    assert "nothing is measured: runs.sqlite3 is damaged" in on.errors(page)[0]
    on.move(page, 60)
    assert on.bits(page)
    assert "steps were taken up to this budget" in on.said(page)  # another view is shown


def test_a_folder_with_fewer_images_is_measured_on_what_it_has(
    open_budget: Open, tmp_path: Path
) -> None:
    app = open_budget()
    app.select_slider(key=budget.IMAGES).set_value(500).run()
    app.select_slider(key=selection.SCORE_IMAGES).set_value(64).run()
    folder = tmp_path / "digits"
    on.write_pictures(folder, 40)
    on.know_sensitivities("digits-swin", str(folder))
    app.text_input(key=selection.OWN_FOLDER).set_value(str(folder))
    on.press(app, "Load")
    assert on.errors(app) == []
    assert app.select_slider(key=budget.IMAGES).value == 8
    assert on.bits(app)
    assert "on these 8 images" in on.said(app)


@pytest.mark.parametrize(("pictures", "scored"), [(60, 32), (400, 256), (400, 32), (400, 8)])
def test_no_image_of_a_folder_that_scores_or_calibrates_is_measured(
    pictures: int, scored: int, open_budget: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, ImageSet] = {}
    scores_of, measuring = spending.scores_of, spending.measuring

    def scores(scoring: Scoring) -> object:
        asked["scored"] = scoring.images
        return scores_of(scoring)

    def measured(selected: Selected, calibrating: Calibrating, images: ImageSet) -> Measuring:
        asked["calibrating"], asked["measured"] = calibrating.images, images
        return measuring(selected, calibrating, images)

    app = open_budget()
    folder = tmp_path / "digits"
    on.write_pictures(folder, pictures)
    on.know_sensitivities("digits-swin", str(folder))
    monkeypatch.setattr(spending, "scores_of", scores)
    monkeypatch.setattr(spending, "measuring", measured)
    app.text_input(key=selection.OWN_FOLDER).set_value(str(folder))
    on.press(app, "Load")
    app.select_slider(key=selection.SCORE_IMAGES).set_value(scored).run()
    assert on.errors(app) == []
    assert len(asked["measured"]) == min(pictures - 32, on.IMAGES)
    assert len(asked["scored"]) == scored
    places = {name: set(images.indices) for name, images in asked.items()}
    assert {images.source.key for images in asked.values()} == {asked["scored"].source.key}
    assert not places["scored"] & places["measured"]
    assert not places["calibrating"] & places["measured"]
    assert "never one that is measured" in on.said(app)


def test_a_folder_that_only_calibrates_is_said(open_budget: Open, tmp_path: Path) -> None:
    app = open_budget()
    folder = tmp_path / "digits"
    on.write_pictures(folder, 20)
    on.know_sensitivities("digits-swin", str(folder))
    app.text_input(key=selection.OWN_FOLDER).set_value(str(folder))
    on.press(app, "Load")
    assert "no more than 32 images" in on.said(app)
    on.move(app, 60)
    assert on.bits(app)


def test_an_error_of_a_job_is_shown_and_the_work_can_be_asked_for_again(
    page: AppTest, run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise ValueError("relevance is not finite or nowhere positive: try other rules")

    monkeypatch.setattr("lrp.propagation.scores.contribution_scores", broken)
    on.choose(page, budget.BELOW, tabs.BY)
    page.select_slider(key=selection.SCORE_IMAGES).set_value(16).run()
    run_until(page, lambda: page.error)
    assert "try other rules" in on.errors(page)[0]
    assert on.bits(page)  # sensitivities are enough to spend by
    monkeypatch.undo()
    on.press(page, "Score the layers on 16 images")
    run_until(page, lambda: not page.error)


def test_sensitivities_come_on_demand_and_scores_do_meanwhile(
    page: AppTest, run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def slow(calibration: object, how: str, *args: object) -> Sensitivity:
        assert go_on.wait(60)
        return on.made_up("digits-swin", how)

    monkeypatch.setattr("quant.experiments.calibrating.find", slow)
    on.choose(page, budget.HOW_CHOICE, MEASURED)
    assert "bits are spent by contribution scores alone" in on.said(page)
    assert on.spent_by(page) == "lrp"
    on.press(page, "Find how sensitive the layers are (measured)")
    assert page.progress
    assert "Find how sensitive the layers are (measured)" not in on.labels(page)
    go_on.set()
    run_until(page, lambda: on.spent_by(page) == "sensitivity")
    assert on.labels(page).count("Find how sensitive the layers are (measured)") == 0


def test_work_that_another_session_left_starts_again(
    open_page: Open, history: Runs, nothing_goes_on: None
) -> None:
    for _ in range(2):
        app = open_page("budget", model="digits-deit")
        assert len(app.progress) == 2  # scores, and sensitivities
        assert "Cancelled" not in on.said(app)
        on.stop_all(models.jobs())  # as when its window closes


def test_sensitivities_that_are_damaged_are_found_anew(open_budget: Open) -> None:
    app = open_budget()
    on.know_sensitivities("digits-deit")
    on.calibrating("digits-deit").sensitivity_file(ESTIMATED).write_text("{")
    app.selectbox(key=selection.MODEL).set_value("digits-deit").run()
    assert not app.exception
    assert app.progress


def test_the_page_shows_progress_and_a_way_out(
    open_page: Open, history: Runs, nothing_goes_on: None
) -> None:
    app = open_page("budget", model="digits-deit", by="lrp")
    app.select_slider(key=selection.SCORE_IMAGES).set_value(256).run()
    assert app.progress
    on.press(app, "Cancel")
    on.stop_all(models.jobs())
    app.run()
    assert "Cancelled" in on.said(app)
    assert not app.progress
    assert "Score the layers on 256 images" in on.labels(app)
    assert not app.dataframe
