"""The accuracy page: measures in the background, keeps what it measured."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from app import quantizer_state, state
from app.jobs import Job
from app.panels import measurement
from app.panels import results as results_panel
from app.tasks import Configuration, Measured, Path
from quant.cost import Cost
from quant.evaluation import Evaluation

Open = Callable[..., AppTest]
RunUntil = Callable[[AppTest, Callable[[], object]], None]


@pytest.fixture(autouse=True)
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurement, "COUNTS", (16, 48))


@pytest.fixture
def accuracy(open_page: Open, run_until: RunUntil) -> AppTest:
    app = open_page("accuracy", model="digits-swin", bits="3.0")
    app.select_slider(key=state.EVALUATION_IMAGES).set_value(48).run()
    run_until(app, lambda: not app.progress)  # the scores that the mixed budget needs
    return app


def press(app: AppTest, label: str) -> None:
    next(button for button in app.button if button.label == label).click().run()
    assert not app.exception


def choose(app: AppTest, *runs: str) -> None:
    group = next(g for g in app.get("button_group") if g.key == state.EVALUATION_RUNS)
    group.set_value(list(runs)).run()


def results(app: AppTest) -> dict[str, dict[str, str]]:
    table = app.dataframe[0].value
    return {row["configuration"]: row.to_dict() for _, row in table.iterrows()}


def test_all_configurations_are_measured_on_the_same_images(
    accuracy: AppTest, run_until: RunUntil
) -> None:
    choose(accuracy, "Float", "Uniform", "Mixed", "Random scores")
    press(accuracy, "Measure")
    assert accuracy.progress
    run_until(accuracy, lambda: accuracy.dataframe)
    rows = results(accuracy)
    assert set(rows) == {"float", "uniform 3 bit", "mixed 3.0 bit", "random 3.0 bit"}
    assert {row["images"] for row in rows.values()} == {"48"}
    assert rows["float"]["agrees with float"] == "100.0 %"
    for row in rows.values():
        low, high = row["95 % interval"].removesuffix(" %").split(" to ")
        assert float(low) <= float(row["top-1"].removesuffix(" %")) <= float(high)
        assert float(row["top-5"].removesuffix(" %")) >= float(row["top-1"].removesuffix(" %"))
    assert accuracy.get("plotly_chart")


def test_measurements_gather_over_budgets_and_none_is_listed_twice(
    accuracy: AppTest, run_until: RunUntil
) -> None:
    choose(accuracy, "Float", "Mixed")
    press(accuracy, "Measure")
    run_until(accuracy, lambda: accuracy.dataframe)
    accuracy.session_state["_bits"] = 6.0
    accuracy.run()
    press(accuracy, "Measure")
    run_until(accuracy, lambda: len(results(accuracy)) == 3)
    press(accuracy, "Measure")
    run_until(accuracy, lambda: not accuracy.progress)
    listed = list(accuracy.dataframe[0].value["configuration"])
    assert listed == ["float", "mixed 3.0 bit", "mixed 6.0 bit"]


def test_presets_are_measured_side_by_side_with_the_path_they_took(
    accuracy: AppTest, run_until: RunUntil
) -> None:
    choose(accuracy, "Float", "Uniform")
    press(accuracy, "Measure")
    run_until(accuracy, lambda: accuracy.dataframe)
    accuracy.selectbox(key=quantizer_state.PRESET_CHOICE).set_value("repq-vit").run()
    press(accuracy, "Measure")
    run_until(accuracy, lambda: len(accuracy.dataframe[0].value) == 3)
    rows = accuracy.dataframe[0].value
    assert list(rows["quantizer"]) == ["none", "bitlens", "repq-vit"]
    assert rows["runs as"][0] == "float"
    paths = set(rows["runs as"][1:])
    assert all(path == "simulated" or path.startswith("integers") for path in paths)
    said = " ".join(caption.value for caption in accuracy.caption)
    assert ("simulated in floating point" in said) == (paths != {"integers"})


def test_why_layers_are_simulated_is_said() -> None:
    cost = Cost(1.0, 1.0, 1.0, 4.0)
    evaluation = Evaluation(1, 1.0, 0.2, 1.0, 1.0, 1.0, 0.0, 1.0)
    row = Configuration("uniform", "uniform 4 bit", {}, cost)
    paths = {
        "integers": Path(4, {}),
        "simulated": Path(0, {"no VNNI": 4}),
        "integers in 3 of 4": Path(3, {"no VNNI": 1}),
    }
    for said, path in paths.items():
        assert results_panel.runs_as(Measured(row, evaluation, 32, "bitlens", path)) == said
    measured = [Measured(row, evaluation, 32, "bitlens", path) for path in paths.values()]
    assert results_panel.why_simulated(measured).endswith(": no VNNI.")
    assert results_panel.why_simulated(measured[:1]) == ""


def test_progress_counts_layers_and_then_images(
    accuracy: AppTest, run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[str] = []
    report = Job.report

    def heard(job: Job, done: int, total: int, what: str = "") -> None:
        reports.append(what)
        report(job, done, total, what)

    monkeypatch.setattr(Job, "report", heard)
    accuracy.selectbox(key=quantizer_state.PRESET_CHOICE).set_value("lrp-qvit").run()
    choose(accuracy, "Uniform")
    press(accuracy, "Measure")
    run_until(accuracy, lambda: accuracy.dataframe)
    stages = list(dict.fromkeys(reports))
    assert stages == ["image", "calibrating, layer"]
    assert reports[-1] == "image"


def test_it_says_how_many_images_and_which_calibration(accuracy: AppTest) -> None:
    said = " ".join(caption.value for caption in accuracy.caption)
    assert "48 images" in said
    assert "calibrated on 32 others" in said
    assert "averages 3.0 bits" in said


def test_nothing_chosen_is_said(accuracy: AppTest) -> None:
    choose(accuracy)
    press(accuracy, "Measure")
    assert "at least one" in accuracy.warning[0].value


def test_a_failure_is_said_and_earlier_rows_stay(
    accuracy: AppTest, run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(accuracy, "Float")
    press(accuracy, "Measure")
    run_until(accuracy, lambda: accuracy.dataframe)

    def broken(*args: object, **kwargs: object) -> None:
        raise ValueError("mixed gives logits that are not finite: no accuracy can be stated")

    monkeypatch.setattr("app.tasks.evaluate", broken)
    choose(accuracy, "Uniform")
    press(accuracy, "Measure")
    run_until(accuracy, lambda: accuracy.error)
    assert "not finite" in accuracy.error[0].value
    assert "float" in results(accuracy)


def test_cancel_leaves_the_page_ready(
    accuracy: AppTest, run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurement, "COUNTS", (16, 2000))
    accuracy.select_slider(key=state.EVALUATION_IMAGES).set_value(2000).run()
    press(accuracy, "Measure")
    press(accuracy, "Cancel")
    run_until(accuracy, lambda: not accuracy.progress)
    assert any("Cancelled" in info.value for info in accuracy.info)
    assert not accuracy.dataframe
