"""The Runs page: what was measured is found, compared and looked into."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.state import runs as run_state
from app.state import selection
from app.work import history
from lrp.engine.layers import list_layers
from quant.allocation.allocation_file import from_json
from quant.calibration.calibration import Calibration
from quant.calibration.presets import preset
from quant.evaluation.image_set import Pictures
from quant.evaluation.logits import Logits, float_logits
from quant.evaluation.stream import stream
from quant.history.record import record
from quant.history.runs import FILE, Run, Runs
from quant.model.quantized_model import QuantizedModel
from quant.report.repeat import run_to_json
from tests.app import runs_made as made

Open = Callable[..., AppTest]
RunUntil = Callable[[AppTest, Callable[[], object]], None]
SWIN = {"model": "digits-swin"}
WRONG_AT_4, WRONG_AT_8, WRONG_IN_FLOAT = set(range(1, 15)), {5, 6, 20}, {20}


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """A history of its own."""
    monkeypatch.setenv("BITLENS_HOME", str(tmp_path))
    return Runs(tmp_path / FILE)


@pytest.fixture
def three(runs: Runs) -> list[Run]:
    """Float, 8 bits, and 4 bits of digits-swin on 60 images."""
    float_says = made.answers(WRONG_IN_FLOAT, WRONG_IN_FLOAT)
    return [
        made.keep(runs, made.recipe(None), float_says),
        made.keep(runs, made.recipe(8), made.answers(WRONG_AT_8, WRONG_IN_FLOAT)),
        made.keep(runs, made.recipe(4), made.answers(WRONG_AT_4, WRONG_IN_FLOAT)),
    ]


def table(app: AppTest) -> dict[int, dict[str, object]]:
    return {row["run"]: row.to_dict() for _, row in app.dataframe[0].value.iterrows()}


def texts(app: AppTest) -> str:
    return " ".join(e.value for e in [*app.caption, *app.markdown]).replace("\u00a0", " ")


def press(app: AppTest, label: str) -> None:
    next(button for button in app.button if button.label == label).click().run()
    assert not app.exception


def choose(app: AppTest, run: Run) -> None:
    app.session_state[run_state.RUN.key] = run.id
    app.run()
    assert not app.exception


def strips(app: AppTest) -> list[dict[str, str]]:
    """The thumbnails of images that changed their answer."""
    parts = [json.loads(c.proto.json) for c in app.get("bidi_component")]
    return next((part["items"] for part in parts if "items" in part), [])


def sides(app: AppTest) -> list[str]:
    parts = [json.loads(c.proto.json) for c in app.get("bidi_component")]
    return next(([p["before"]["label"], p["after"]["label"]] for p in parts if "before" in p), [])


def test_an_empty_history_says_how_it_is_filled(runs: Runs, open_page: Open) -> None:
    app = open_page("runs", **SWIN)
    assert "Nothing yet" in app.info[0].value
    assert not app.dataframe


def test_runs_are_listed_newest_first_with_their_numbers(three: list[Run], open_page: Open) -> None:
    rows = table(open_page("runs", **SWIN))
    assert list(rows) == [run.id for run in reversed(three)]
    four = rows[three[2].id]
    assert four["top-1"] == pytest.approx(100 * 46 / 60)
    assert four["to float"] == pytest.approx(100 * (46 - 59) / 60)
    assert four["configuration"] == "uniform 4 bits"
    assert (four["bits"], four["quantizer"], four["images"]) == ("4.00", "repq-vit", "60")
    assert rows[three[0].id]["configuration"] == "float"
    assert rows[three[0].id]["bits"] == "32.00"
    low, high = str(four["95 % interval"]).removesuffix(" %").split(" to ")
    assert float(low) < 100 * 46 / 60 < float(high)


def test_runs_are_filtered(three: list[Run], runs: Runs, open_page: Open) -> None:
    vit = made.keep(runs, made.recipe(4, "digits-vit"), made.answers({3}, name="digits-vit"))
    runs.note(three[1].id, "Before the holidays")
    app = open_page("runs", **SWIN)
    assert table(app)[vit.id]["bits"] == history.UNKNOWN
    app.selectbox(key=run_state.MODEL_FILTER).set_value("digits-vit").run()
    assert list(table(app)) == [vit.id]
    app.selectbox(key=run_state.MODEL_FILTER).set_value(history.ANY).run()
    app.selectbox(key=run_state.OBJECTIVE_FILTER).set_value("float").run()
    assert list(table(app)) == [three[0].id]
    app.selectbox(key=run_state.OBJECTIVE_FILTER).set_value(history.ANY).run()
    app.text_input(key=run_state.SEARCH).set_value("swin HOLIDAYS").run()
    assert list(table(app)) == [three[1].id]
    app.text_input(key=run_state.SEARCH).set_value("nowhere").run()
    assert "No run is like that" in app.info[0].value
    app.text_input(key=run_state.SEARCH).set_value("").run()
    app.selectbox(key=run_state.STATE_FILTER).set_value("stopped").run()
    assert not app.dataframe


def test_a_chosen_run_says_what_it_takes_to_repeat_it(three: list[Run], open_page: Open) -> None:
    app = open_page("runs", **SWIN, run=str(three[2].id))
    assert f"Run {three[2].id}: digits-swin, uniform 4 bits" in texts(app)
    said = texts(app)
    for fact in ("60 images of the bundled digits", "seed 0", "repq-vit quantizer calibrated on 4"):
        assert fact in said
    metrics = {metric.label: metric.value for metric in app.metric}
    assert metrics["Top-1"] == "76.7 %"
    assert metrics["Points to float"] == "−21.7"
    assert app.query_params["run"] == str(three[2].id)


def test_a_note_is_kept(three: list[Run], runs: Runs, open_page: Open) -> None:
    app = open_page("runs", **SWIN)
    choose(app, three[1])
    app.text_input(key=f"{run_state.NOTE}-{three[1].id}").set_value("  the good one ").run()
    assert runs.get(three[1].id).note == "the good one"
    assert table(app)[three[1].id]["note"] == "the good one"


def test_a_run_is_deleted_after_it_was_asked_for_again(
    three: list[Run], runs: Runs, open_page: Open
) -> None:
    app = open_page("runs", **SWIN)
    choose(app, three[1])
    assert len(runs.listed()) == 3
    press(app, "Delete this run")
    assert [run.id for run in runs.listed()] == [three[2].id, three[0].id]
    assert list(table(app)) == [three[2].id, three[0].id]
    assert not app.metric


def test_what_another_window_deleted_is_no_crash(
    three: list[Run], runs: Runs, open_page: Open
) -> None:
    app = open_page("runs", **SWIN)
    choose(app, three[1])
    runs.delete(three[1].id)
    press(app, "Pin")
    assert "there is no run" in app.toast[0].value
    assert list(table(app)) == [three[2].id, three[0].id]


def test_two_are_pinned_at_most(three: list[Run], runs: Runs, open_page: Open) -> None:
    app = open_page("runs", **SWIN)
    assert "Pin a run to compare" in texts(app)
    choose(app, three[0])
    press(app, "Pin")
    assert "Float is pinned" in texts(app)
    runs.pin(three[1].id, True)
    choose(app, three[2])
    assert next(button for button in app.button if button.label == "Pin").disabled
    assert {number: row["pin"] for number, row in table(app).items()} == {
        three[0].id: "A",
        three[1].id: "B",
        three[2].id: "",
    }
    choose(app, three[1])
    press(app, "Unpin")
    assert [run.id for run in runs.listed() if run.pinned] == [three[0].id]


def test_two_pinned_runs_are_compared_on_the_same_images(
    three: list[Run], runs: Runs, open_page: Open, run_until: RunUntil
) -> None:
    for run in three[1:]:
        runs.pin(run.id, True)
    app = open_page("runs", **SWIN)
    said = texts(app)
    assert "A, uniform 8 bits,** answers 95.0 % rightly" in said
    assert "B, uniform 4 bits,** answers 76.7 % rightly" in said
    assert "a difference of −18.3 points" in said
    assert "More than chance explains" in said
    assert "45 both right, 12 only A right, 1 only B right, 2 both wrong" in said
    assert "as many in 0" in said and "fewer in 40" in said
    changed = sorted((WRONG_AT_4 | WRONG_AT_8) - {5, 6})
    assert [item["identifier"] for item in strips(app)] == list(map(str, changed))
    digit = made.labels()[1]
    assert strips(app)[0]["caption"] == f"{digit}: {digit} → {(digit + 1) % 10}"
    run_until(app, lambda: sides(app))
    assert sides(app) == ["A: uniform 8 bits", "B: uniform 4 bits"]
    assert "The explanation" in texts(app)
    classes = next(t.value for t in app.dataframe if "change" in t.value)
    assert classes["images"].sum() == made.IMAGES
    gained = (classes["change"] * classes["images"]).sum() / 100
    assert gained == pytest.approx(-11)


def test_changed_images_are_filtered_by_who_is_right_and_chosen(
    three: list[Run], runs: Runs, open_page: Open, run_until: RunUntil
) -> None:
    for run in three[1:]:
        runs.pin(run.id, True)
    app = open_page("runs", **SWIN)
    run_until(app, lambda: sides(app))
    group = next(g for g in app.get("button_group") if g.key == run_state.CHANGES)
    group.set_value("only B right").run()
    assert [item["identifier"] for item in strips(app)] == ["20"]
    group.set_value("all").run()
    key = (three[1].id, False, three[2].id)
    app.session_state[run_state.CHANGED.key] = (key, 7)
    app.run()
    run_until(app, lambda: sides(app))
    assert f"The class of this picture is {made.labels()[7]}" in texts(app)


def test_each_answer_is_explained_in_turn(
    three: list[Run], runs: Runs, open_page: Open, run_until: RunUntil
) -> None:
    for run in three[1:]:
        runs.pin(run.id, True)
    app = open_page("runs", **SWIN)
    run_until(app, lambda: sides(app))
    label = int(made.labels()[1])
    for whose, answer in (("B's answer", (label + 1) % 10), ("A's answer", label)):
        next(g for g in app.get("button_group") if g.key == run_state.EXPLAINED).set_value(whose)
        app.run()
        run_until(app, lambda: sides(app))
        rows = next(t.value for t in app.dataframe if "answers" in t.value)
        assert f"gives {answer}" in rows


def test_one_pinned_run_is_compared_with_float_as_it_was_then(
    three: list[Run], runs: Runs, open_page: Open, run_until: RunUntil
) -> None:
    runs.pin(three[2].id, True)
    app = open_page("runs", **SWIN)
    said = texts(app)
    assert "A, float,** answers 98.3 % rightly" in said
    assert "A is float, 32 bits everywhere" in said
    run_until(app, lambda: sides(app))
    assert sides(app) == ["A: float", "B: uniform 4 bits"]


def test_an_explanation_is_of_the_quantized_model_that_was_measured(
    runs: Runs, open_page: Open, run_until: RunUntil
) -> None:
    """What is recorded of real evaluations is what the page finds when it runs images again."""
    loaded, (calibration, images) = made.model(), made.sets()
    chosen = made.recipe(2)
    calibrated = Calibration(
        loaded.model, next(iter(Pictures(calibration).batches()))[0], preset(chosen.preset)
    )
    quantized = QuantizedModel(calibrated, chosen.allocation or {})
    pictures, plain = Pictures(images), float_logits(loaded.model)
    answered = Logits("uniform 2 bits", quantized.run)
    steps = list(record(runs, chosen, lambda *known: stream(answered, pictures, plain)))
    runs.pin(steps[-1].run or 0, True)
    answers = steps[-1].answers
    app = open_page("runs", **SWIN)
    run_until(app, lambda: sides(app))
    place = int(strips(app)[0]["identifier"])
    rows = next(t.value for t in app.dataframe if "answers" in t.value)
    assert list(rows["answers"]) == [
        str(answers.reference[place]),
        str(answers.predicted[place]),
    ]
    assert "otherwise than it was recorded" not in texts(app)
    assert "does not survive" in texts(app)


def test_made_up_answers_are_found_out(
    three: list[Run], runs: Runs, open_page: Open, run_until: RunUntil
) -> None:
    runs.pin(three[1].id, True)  # its answers at 5 and 6 are not what 8 bits say
    app = open_page("runs", **SWIN)
    run_until(app, lambda: sides(app))
    assert "B answers otherwise than it was recorded" in texts(app)


def test_runs_on_other_images_are_not_compared(
    three: list[Run], runs: Runs, open_page: Open
) -> None:
    other = made.recipe(3, data="/pictures/of/birds", images_key="birds")
    for run in (three[2], made.keep(runs, other, made.answers({1}))):
        runs.pin(run.id, True)
    app = open_page("runs", **SWIN)
    assert "measured on different images" in app.warning[0].value
    assert "answers 76.7 %" not in texts(app)


def test_images_that_are_gone_are_said(three: list[Run], runs: Runs, open_page: Open) -> None:
    gone = made.keep(runs, made.recipe(3, images_key="what was there"), made.answers({1}))
    runs.pin(gone.id, True)
    app = open_page("runs", **SWIN)
    assert "no longer what digits, validation holds" in app.error[0].value
    assert "B, uniform 3 bits" in texts(app)


def test_two_models_are_compared_by_their_answers_alone(
    three: list[Run], runs: Runs, open_page: Open
) -> None:
    vit = made.keep(runs, made.recipe(4, "digits-vit"), made.answers({3}, name="digits-vit"))
    for run in (three[2], vit):
        runs.pin(run.id, True)
    app = open_page("runs", **SWIN)
    assert "answers 76.7 % rightly" in texts(app)
    assert "these are two" in app.info[0].value
    assert not strips(app)


def test_another_models_run_loads_its_model(three: list[Run], runs: Runs, open_page: Open) -> None:
    vit = made.keep(runs, made.recipe(4, "digits-vit"), made.answers({3}, name="digits-vit"))
    app = open_page("runs", **SWIN)
    choose(app, vit)
    press(app, "Load digits-vit")
    app.run()
    assert app.selectbox(key=selection.MODEL).value == "digits-vit"
    assert app.selectbox(key=selection.MODEL).options.count("digits-vit") == 1
    assert table(app)[vit.id]["bits"] == "4.00"


def test_weights_that_changed_since_are_not_taken_for_the_runs(runs: Runs, open_page: Open) -> None:
    old = made.recipe(4, "digits-vit", model_key="digits-vit-of-old")
    run = made.keep(runs, old, made.answers({3}, name="digits-vit"))
    app = open_page("runs", **SWIN)
    choose(app, run)
    press(app, "Load digits-vit")
    assert "other weights now" in app.error[0].value
    assert app.selectbox(key=selection.MODEL).value == "digits-swin"


def test_an_allocation_is_handed_to_the_budget_page(three: list[Run], open_page: Open) -> None:
    app = open_page("runs", **SWIN)
    choose(app, three[0])
    assert "Use this allocation" not in [button.label for button in app.button]
    choose(app, three[2])
    press(app, "Use this allocation")
    assert "Spend bits" in app.header[0].value
    assert app.session_state["_locks"][made.model().key] == three[2].recipe.allocation


def test_a_run_as_a_file_is_an_allocation_to_read_back(three: list[Run]) -> None:
    loaded = made.model()
    layers = list_layers(loaded.model, loaded.input_size)
    told = json.loads(json.dumps(run_to_json(three[2], None)))
    assert from_json(told, layers) == three[2].recipe.allocation
    assert told["evaluation"]["top1"] == pytest.approx(46 / 60)
    assert told["recipe"]["images_key"] == made.sets()[1].key
    assert "layers" not in run_to_json(three[0], None)


def test_a_running_run_is_followed_until_it_is_done(
    three: list[Run], runs: Runs, open_page: Open
) -> None:
    going = made.keep(runs, made.recipe(5), made.answers({1}).part(0, 20), done=False)
    app = open_page("runs", **SWIN)
    assert (table(app)[going.id]["state"], table(app)[going.id]["images"]) == (
        "running …",
        "20 of 60",
    )
    runs.append(going.id, made.answers({1}).part(20), 1.0)
    runs.finish(going.id)
    app.run()
    assert (table(app)[going.id]["state"], table(app)[going.id]["images"]) == ("done", "60")


def test_a_damaged_history_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_page: Open
) -> None:
    monkeypatch.setenv("BITLENS_HOME", str(tmp_path))
    (tmp_path / FILE).write_bytes(b"no database at all, " * 100)
    app = open_page("runs", **SWIN)
    assert FILE in app.error[0].value


def test_an_error_leaves_the_case_of_paths_and_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_page: Open
) -> None:
    (tmp_path / "A File").touch()
    monkeypatch.setenv("BITLENS_HOME", str(tmp_path / "A File" / "MyHome"))
    (error,) = open_page("runs", **SWIN).error
    assert f"{tmp_path}/A File/MyHome" in error.value
    assert "BITLENS_HOME" in error.value
