"""Several sessions of a real server: what they see is what one alone sees, and nothing is left."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch

from app.work import models
from bench.load import sessions
from bench.load.visitor import Visitor
from bench.slider import Served, served
from quant.experiments.calibrating import All
from quant.experiments.measuring import Measuring, Variant
from quant.history.runs import DONE, FILE, Runs
from tests.app import budget_pages as on

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to count handles"),
]
BUDGETS = [f"{2 + 0.05 * row:.2f} bit" for row in range(1, 5)]
PASSING = 12
HELD = 4  # handles of a session that left: Streamlit keeps it for two minutes, to come back to
GROWTH = 60.0  # MB that memory may grow by, once as many sessions were there before


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with sensitivities; the server calibrates two widths."""
    with pytest.MonkeyPatch.context() as environment:
        folder = tmp_path_factory.mktemp("home")
        environment.setenv("BITLENS_HOME", str(folder))
        environment.setenv("OMP_NUM_THREADS", "1")
        on.know_sensitivities("digits-vit")
        yield folder


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Served]:
    with served("streamlit_app.py", (), home) as found:
        yield found


def test_sessions_that_release_at_once_see_what_a_single_one_sees(
    server: Served, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sessions.releases(server, len(BUDGETS), BUDGETS)
    assert "4 sessions release at once, 0 errors" in capsys.readouterr().out
    runs = [run for run in Runs(home / FILE).listed() if run.recipe.objective != "float"]
    assert [run.state for run in runs] == [DONE] * len(BUDGETS)
    calibrating = on.calibrating("digits-vit")
    images = models.draw(calibrating.loaded, None, runs[0].recipe.images).measured
    single = Measuring(calibrating, images, None, kept=All())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for run in runs:
            variant = Variant(run.recipe.allocation, run.recipe.objective, run.recipe.budget)
            *_, last = single.measure(variant)
            pairs = zip(run.answers.columns(), last.answers.columns(), strict=True)
            assert all(np.array_equal(one, other) for one, other in pairs), run.recipe.budget
    finally:
        torch.set_num_threads(threads)


def test_sessions_that_came_and_went_leave_nothing_open(server: Served) -> None:
    def come_and_go() -> tuple[float, int]:
        with ExitStack() as stack:
            for _ in range(PASSING):
                sessions.ready(stack.enter_context(Visitor(server.address, sessions.PAGE)))
        time.sleep(3)
        return sessions.megabytes(server.pid), sessions.open_handles(server.pid)

    memory, handles = come_and_go()
    again, left = come_and_go()
    assert left <= handles + HELD * PASSING
    assert again <= memory + GROWTH
