"""The dashboard under Streamlit's own test runner."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.state import budget
from app.work import models
from quant.history.runs import FILE, Runs
from tests.app import budget_pages as on

PATIENCE = 90  # seconds until a run, or a job, that hangs gives up


@pytest.fixture
def open_page(repository: Path) -> Callable[..., AppTest]:
    """Open a page of a fresh session, as a link with these parameters would."""

    def opened(page: str = "explain", **parameters: str) -> AppTest:
        app = AppTest.from_file(str(repository / "streamlit_app.py"), default_timeout=PATIENCE)
        for name, value in parameters.items():
            app.query_params[name] = value
        app.run()
        if page != "explain":
            app.switch_page(f"app/views/{page}.py").run()
        assert not app.exception
        return app

    return opened


@pytest.fixture
def run_until() -> Callable[[AppTest, Callable[[], object]], None]:
    """Run a page again, as its fragment would, until something is on it."""

    def run(app: AppTest, there: Callable[[], object]) -> None:
        pause = threading.Event()
        for _ in range(PATIENCE * 4):
            if there():
                return
            pause.wait(0.25)
            app.run()
            assert not app.exception
        raise AssertionError("it never came")

    return run


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """A history of its own; what was calibrated stays in memory."""
    monkeypatch.setenv("BITLENS_HOME", str(tmp_path))
    return Runs(tmp_path / FILE)


@pytest.fixture
def nothing_goes_on() -> Iterator[None]:
    """Stop what a test left running, which the next one would wait for."""
    yield
    on.stop_all(models.jobs())
    on.stop_all(models.quick_jobs())


@pytest.fixture
def open_budget(
    open_page: Callable[..., AppTest],
    run_until: Callable[[AppTest, Callable[[], object]], None],
    history: Runs,
    nothing_goes_on: None,
) -> Callable[..., AppTest]:
    """Open the Budget page with the plain slider, once it is known what bits are spent by."""

    def opened(begin: Callable[[AppTest], object] | None = None, **link: str) -> AppTest:
        app = open_page(**{"model": on.MODEL} | link)
        app.session_state[budget.PLAIN.key] = True
        app.session_state[budget.AUTO.key] = False
        app.session_state[budget.FORETELL.key] = False
        app.session_state[budget.IMAGES] = on.IMAGES
        if begin is not None:
            begin(app)
        app.switch_page("app/views/budget.py").run()
        assert not app.exception
        run_until(app, lambda: app.error or not app.progress)
        return app

    return opened


@pytest.fixture
def page(open_budget: Callable[..., AppTest]) -> AppTest:
    """The Budget page of digits-swin, at 4 bits on average."""
    return open_budget()
