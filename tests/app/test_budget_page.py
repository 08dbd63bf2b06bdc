"""The budget page: scores come by themselves, the slider spends, locks hold."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from streamlit.testing.v1 import AppTest

from app import compute, state
from app.panels import allocation, scores
from lrp.rules import LRP_QVIT
from lrp.scores import ContributionScores

Open = Callable[..., AppTest]
RunUntil = Callable[[AppTest, Callable[[], object]], None]
FEW = {"model": "digits-swin"}


@pytest.fixture
def budget(open_page: Open, run_until: RunUntil) -> AppTest:
    app = open_page("budget", **FEW)
    run_until(app, lambda: app.metric)
    return app


def metrics(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def bits(app: AppTest) -> dict[str, int]:
    table = next(t.value for t in app.dataframe if "weight bits" in t.value)
    return dict(zip(table["layer"], table["weight bits"], strict=True))


def errors(app: AppTest) -> list[str]:
    return [error.value for error in app.error]


def test_scores_come_by_themselves_with_their_spread(budget: AppTest) -> None:
    table = next(t.value for t in budget.dataframe if "sd" in t.value)
    assert table["score"].sum() == pytest.approx(100)
    assert (table["sd"] > 0).any()
    assert errors(budget) == []


def test_the_budget_is_spent_anew_when_it_moves(budget: AppTest) -> None:
    sizes = []
    for average in (2.0, 3.3, 5.0, 8.0):
        budget.session_state["_bits"] = average
        budget.run()
        assert float(metrics(budget)["Bits a weight"]) <= average + 0.005
        assert budget.query_params["bits"] == f"{average:.1f}"
        sizes.append(float(metrics(budget)["Model size"].split()[0]))
    assert sizes == sorted(sizes)
    assert set(bits(budget).values()) == {8}


def test_moving_the_budget_runs_no_model(budget: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: object, **kwargs: object) -> None:
        raise AssertionError("the model ran")

    monkeypatch.setattr("lrp.interpreter.Interpreter.run", forbidden)
    budget.session_state["_bits"] = 6.1
    budget.run()
    assert not budget.exception
    assert metrics(budget)["Bits a weight"].startswith("6.")


def test_locked_layers_keep_their_bits(budget: AppTest) -> None:
    first, *_, last = bits(budget)
    budget.multiselect(key=state.LOCK_LAYERS).set_value([first, last])
    budget.selectbox(key=state.LOCK_BITS).set_value(7)
    press(budget, "Lock")
    assert (bits(budget)[first], bits(budget)[last]) == (7, 7)
    press(budget, "Clear all")
    press(budget, "First and last at 8")
    assert (bits(budget)[first], bits(budget)[last]) == (8, 8)


def press(app: AppTest, label: str) -> None:
    next(button for button in app.button if button.label == label).click().run()
    assert not app.exception


def test_impossible_locks_are_said_and_the_last_allocation_stays(budget: AppTest) -> None:
    before, shown = metrics(budget), bits(budget)
    everything = list(shown)
    budget.multiselect(key=state.LOCK_LAYERS).set_value(everything)
    budget.selectbox(key=state.LOCK_BITS).set_value(8)
    press(budget, "Lock")
    assert "already need 8" in errors(budget)[0]
    assert "last one that could" in errors(budget)[0]
    assert (metrics(budget), bits(budget)) == (before, shown)
    press(budget, "Clear all")
    assert errors(budget) == []


def test_other_rules_and_other_images_are_scored_anew(budget: AppTest, run_until: RunUntil) -> None:
    group = next(g for g in budget.get("button_group") if g.key == state.SCORE_RULES)
    group.set_value("AttnLRP").run()
    run_until(budget, lambda: budget.metric)
    budget.select_slider(key=state.SCORE_IMAGES).set_value(8).run()
    run_until(budget, lambda: budget.metric)
    assert any("over 8 images" in caption.value for caption in budget.caption)


def test_another_statistic_is_another_ranking(budget: AppTest, run_until: RunUntil) -> None:
    before = scored(budget)
    budget.selectbox(key=state.SCORE_STATISTIC).set_value("mean-positive").run()
    run_until(budget, lambda: budget.metric)
    after = scored(budget)
    assert sum(after.values()) == pytest.approx(100)
    assert max(after, key=after.__getitem__) != max(before, key=before.__getitem__)


def scored(app: AppTest) -> dict[str, float]:
    table = next(t.value for t in app.dataframe if "sd" in t.value)
    return dict(zip(table["layer"], table["score"], strict=True))


def test_it_says_whether_these_are_enough_images(budget: AppTest) -> None:
    said = " ".join(caption.value for caption in budget.caption)
    assert "Halves of the images rank the layers alike by **0." in said


@pytest.mark.parametrize(
    ("noise", "verdict"),
    [(0.0, "enough"), (0.8, "settle the middle ranks"), (30.0, "too few")],
)
def test_the_verdict_follows_the_agreement_of_halves(noise: float, verdict: str) -> None:
    generator = torch.Generator().manual_seed(1)
    common = torch.rand(1, 40, generator=generator)
    rows = common + noise * torch.rand(8, 40, generator=generator)
    names = tuple(map(str, range(40)))
    assert verdict in scores.steadiness(ContributionScores(names, rows, LRP_QVIT, "positive-sum"))


def test_of_few_images_nothing_is_claimed() -> None:
    few = ContributionScores(("a", "b"), torch.rand(3, 2), LRP_QVIT, "positive-sum")
    assert "take 4 or more" in scores.steadiness(few)


def test_an_error_of_the_job_is_shown_and_the_work_can_be_asked_for_again(
    open_page: Open, run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise ValueError("relevance is not finite or nowhere positive: try other rules")

    monkeypatch.setattr("app.tasks.contribution_scores", broken)
    app = open_page("budget", model="digits-swin")
    app.select_slider(key=state.SCORE_IMAGES).set_value(16).run()
    run_until(app, lambda: app.error)
    assert "try other rules" in errors(app)[0]
    monkeypatch.undo()
    press(app, "Score the layers on 16 images")
    run_until(app, lambda: app.metric)


def test_the_page_shows_progress_and_a_way_out(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_page("budget", model="digits-swin")
    app.select_slider(key=state.SCORE_IMAGES).set_value(256).run()
    assert app.progress
    press(app, "Cancel")
    job = compute.jobs()
    assert job is not None
    assert not app.metric


def test_what_is_downloaded_is_what_is_shown(
    budget: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {}

    def caught(label: str, data: str, name: str, **kwargs: object) -> None:
        files[name.rsplit(".", 1)[1]] = data

    monkeypatch.setattr(allocation.st, "download_button", caught)
    budget.session_state["_bits"] = 5.0
    budget.run()
    payload = json.loads(files["json"])
    assert {name: b["weight"] for name, b in payload["layers"].items()} == bits(budget)
    assert files["csv"].count("\n") == len(bits(budget)) + 1
