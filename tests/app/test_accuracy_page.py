"""The accuracy page: measures in the background, keeps what it measured."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from app import state
from app.panels import measurement

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
