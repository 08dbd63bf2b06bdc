"""*Accept a loss* on the Budget page: the slider goes to the smallest budget that keeps it."""

import math
import threading
from collections.abc import Callable, Generator
from dataclasses import replace
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from app.state import budget
from app.work import models, spending
from lrp.engine.progress import Progress
from quant.evaluation.answers import Evaluation
from quant.experiments.measuring import Measuring, Variant
from tests.app import budget_pages as on

Open = Callable[..., AppTest]
RunUntil = Callable[[AppTest, Callable[[], object]], None]
LOOK, UNIT = "Find the smallest budget", "accepted_loss_unit"
PLAIN = Evaluation(on.IMAGES, 0.9, 0.8, 0.95, 1.0, 0.9, 0.0, 1.0)


def lost(bits: float) -> float:
    """Points of top-1, and a hundredth of it in nats, lost at an average of bits."""
    return 30 * math.exp(2 - bits)


def made_up(half: float) -> Callable[..., Generator[None, None, SimpleNamespace]]:
    """Evaluations at once, whose intervals reach so many points to either side."""

    def evaluate(
        measuring: Measuring, variant: Variant, precision: float | None, progress: Progress
    ) -> Generator[None, None, SimpleNamespace]:
        progress(1, 1, "image")
        points = lost(float(variant.budget.split()[0]))
        ends = (-(points + half) / 100, -(points - half) / 100)
        found = replace(
            PLAIN,
            difference=-points / 100,
            difference_low=ends[0],
            difference_high=ends[1],
            divergence=points / 100,
        )
        yield
        return SimpleNamespace(evaluation=found)

    return evaluate


@pytest.fixture
def opened(open_budget: Open) -> AppTest:
    on.know_sensitivities(on.MODEL)
    return open_budget()


def at(app: AppTest) -> float:
    """The average bits that the slider stands at."""
    row = app.select_slider(key=budget.PLAIN_BUDGET).value
    return float(on.slider(app)[row].split()[0])


@pytest.mark.parametrize(("half", "says"), [(0.001, "whole interval"), (3.0, "reaches further")])
def test_the_slider_goes_to_the_smallest_budget_that_keeps_it(
    half: float, says: str, opened: AppTest, run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spending, "evaluate", made_up(half))
    app = opened
    on.press(app, LOOK)
    run_until(app, lambda: "to lose at most 1 point" in on.said(app))
    enough = 2 + math.log(30)
    assert enough <= at(app) <= enough + 0.25  # five rows
    assert says in on.said(app)
    on.move(app, on.FOUR)
    assert at(app) == 4.0  # it was set once
    app.run()
    assert at(app) == 4.0


def test_nats_are_accepted_too(
    opened: AppTest, run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spending, "evaluate", made_up(1.0))
    app = opened
    on.choose(app, UNIT, "nats")
    app.number_input(key="accepted_loss-nats").set_value(0.1).run()
    on.press(app, LOOK)
    run_until(app, lambda: "to lose at most 0.1 nats" in on.said(app))
    assert lost(at(app)) <= 10
    assert lost(at(app) - 0.25) > 10


def test_a_loss_that_no_budget_keeps_is_said_and_nothing_moves(
    opened: AppTest, run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spending, "evaluate", made_up(1.0))
    app = opened
    app.number_input(key="accepted_loss-points").set_value(0.01).run()
    on.press(app, LOOK)
    run_until(app, lambda: on.errors(app))
    assert "the least was 0.0744" in on.errors(app)[0]  # at 8 bits
    assert at(app) == 4.0


def test_the_search_can_be_cancelled(
    opened: AppTest, run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(
        measuring: Measuring, variant: Variant, precision: float | None, progress: Progress
    ) -> Generator[None, None, SimpleNamespace]:
        while True:
            progress(1, 8, "image")
            threading.Event().wait(0.05)
            yield

    monkeypatch.setattr(spending, "evaluate", endless)
    app = opened
    on.press(app, LOOK)
    on.cancel(app, run_until, lambda: models.jobs().find(app.session_state[budget.LOOKING.key].key))
    assert "what it measured is kept" in on.said(app)
