"""The Report button: what it offers, when, and that what it makes is the report."""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app import public
from app.parts import report
from app.state import runs as run_state
from app.state.selection import Selected
from app.work import models, reports
from lrp.engine.progress import Progress
from quant.history.runs import FILE, Run, Runs
from quant.report.exported import Exported
from quant.report.subject import Subject
from tests.app import budget_pages as on
from tests.app import runs_made as made
from tests.quant.report.parsed import Page

Open = Callable[..., AppTest]
RunUntil = Callable[[AppTest, Callable[[], object]], None]
SWIN = {"model": "digits-swin"}
DOWNLOAD = "Download the report"


@pytest.fixture
def three(history: Runs, nothing_goes_on: None) -> list[Run]:
    """Float, 8 bits, and 4 bits of digits-swin on 60 images."""
    return [
        made.keep(history, made.recipe(None), made.answers({20}, {20})),
        made.keep(history, made.recipe(8), made.answers({5, 20}, {20})),
        made.keep(history, made.recipe(4), made.answers({1, 2, 20}, {20})),
    ]


def button(app: AppTest) -> Any:
    return next(button for button in app.button if button.label == "Report")


def downloads(app: AppTest) -> list[str]:
    return [button.proto.label for button in app.get("download_button")]


def written(app: AppTest) -> str:
    """The report that is offered."""
    _, key = app.session_state[run_state.REPORT.key]
    found = reports.written(key)
    assert found is not None
    return found.decode()


def choose(app: AppTest, run: Run) -> None:
    app.session_state[run_state.RUN.key] = run.id
    app.run()
    assert not app.exception


def test_a_report_is_written_by_a_job_and_downloaded(
    three: list[Run], open_page: Open, run_until: RunUntil
) -> None:
    app = open_page("runs", **SWIN, run=str(three[2].id))
    assert DOWNLOAD not in downloads(app)
    on.press(app, "Report")
    run_until(app, lambda: DOWNLOAD in downloads(app))
    page = Page(written(app))
    assert page.fetched == page.faults == []
    assert "95.0 %" in page.text  # 57 of 60
    assert len(page.named("img")) == 8 * 3 + 1
    choose(app, three[1])
    assert DOWNLOAD not in downloads(app)  # that is of another run
    choose(app, three[2])
    assert DOWNLOAD in downloads(app)


def test_pinned_runs_stand_beside_it(
    three: list[Run], history: Runs, open_page: Open, run_until: RunUntil
) -> None:
    history.pin(three[1].id, True)
    other = made.keep(history, made.recipe(4, "digits-vit"), made.answers({3}, name="digits-vit"))
    history.pin(other.id, True)
    app = open_page("runs", **SWIN, run=str(three[2].id))
    assert "run 2 beside it" in button(app).help  # another model's cannot
    on.press(app, "Report")
    run_until(app, lambda: DOWNLOAD in downloads(app))
    assert "Run 2, uniform 8 bits:" in Page(written(app)).text


def test_it_says_why_there_can_be_none(three: list[Run], history: Runs, open_page: Open) -> None:
    app = open_page("runs", **SWIN, run=str(three[0].id))
    assert button(app).disabled
    assert "quantized" in button(app).help
    vit = made.keep(history, made.recipe(4, "digits-vit"), made.answers({3}, name="digits-vit"))
    choose(app, vit)
    assert button(app).disabled
    assert "Load the run's model first" in button(app).help.replace("\\", "")


def test_it_can_be_cancelled_while_nothing_else_waits(
    three: list[Run], open_page: Open, run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(subject: Subject, exports: Sequence[Exported], progress: Progress) -> bytes:
        while True:
            progress(1, 8, "heatmap")
            threading.Event().wait(0.05)

    monkeypatch.setattr(reports, "_made", slow)
    app = open_page("runs", **SWIN, run=str(three[2].id))
    on.press(app, "Report")
    on.cancel(app, run_until, lambda: reports.job(app.session_state[run_state.REPORT.key][1]))
    assert "Cancelled" in on.said(app)
    assert DOWNLOAD not in downloads(app)


def test_a_run_that_was_deleted_meanwhile_is_no_crash(
    three: list[Run], history: Runs, open_page: Open
) -> None:
    app = open_page("runs", **SWIN, run=str(three[2].id))
    history.delete(three[2].id)
    on.press(app, "Report")
    assert run_state.REPORT.key not in app.session_state


@pytest.fixture
def in_public(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(public.PUBLIC, "1")
    yield


def test_strangers_see_no_paths(
    tmp_path: Path, in_public: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(tmp_path / FILE)
    recipe = made.recipe(4, data="/srv/secret/pictures", checkpoint="/srv/secret/w.pt")
    run = made.keep(runs, recipe, made.answers({1}))
    made.keep(runs, made.recipe(8, data="/srv/secret/pictures"), made.answers({1}))
    found = reports._without_paths(reports.gather(runs, [run.id]))
    html = reports._made(found, (), Progress()).decode()
    assert "/srv/secret" not in html
    assert "pictures" in html


def test_the_budget_page_offers_it_once_the_budget_was_measured(
    open_budget: Open, run_until: RunUntil
) -> None:
    app = open_budget()
    assert "Report" not in on.labels(app)
    app.session_state["measure_at_once"] = True
    on.move(app, on.FOUR + 1)
    run_until(app, lambda: "Report" in on.labels(app))
    assert "This budget was measured: run" in on.said(app)
    on.press(app, "Report")
    run_until(app, lambda: DOWNLOAD in downloads(app))
    assert "4.05 bit" in Page(written(app)).text
    on.move(app, on.FOUR + 30)
    assert DOWNLOAD not in downloads(app)


def test_what_is_not_the_selected_model_is_not_written_about(three: list[Run]) -> None:
    selected = Selected(made.model("digits-vit"), None, None)
    assert report._why_not(selected, three[2]) == "Load the run's model first."
    assert report._why_not(Selected(made.model(), None, None), three[2]) == ""
    assert models.jobs().crowd == 0
