"""The dashboard under Streamlit's own test runner."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

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
