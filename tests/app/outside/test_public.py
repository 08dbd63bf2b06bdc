"""The public mode: what strangers may not do, and that nobody sees what others did."""

import importlib.util
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from app import public
from app.door import Door
from app.parts import idle, sidebar
from app.state import selection
from app.state.selection import ModelChoice
from app.text import escape
from app.work import history, models
from assets.errors import InputError
from quant.history.runs import FILE, Runs
from tests.app import runs_made as made

Open = Callable[..., AppTest]


@pytest.fixture(autouse=True)
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(public.PUBLIC, "1")
    yield


def labels(app: AppTest) -> set[str]:
    boxes = [*app.text_input, *app.button, *app.expander, *app.checkbox, *app.toggle]
    return {box.label for box in boxes}


def test_there_is_no_form_for_paths(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"timm model", "Checkpoint file (optional)", "Image folder (optional)", "Load"}
    assert not own & labels(open_page())
    monkeypatch.setenv(public.PUBLIC, "0")
    assert own <= labels(open_page())


@pytest.mark.parametrize(
    "choice",
    [
        ModelChoice("digits-vit", checkpoint="/etc/passwd"),
        ModelChoice("digits-vit", folder="/etc"),
        ModelChoice("deit_tiny_patch16_224"),
        ModelChoice("/etc/passwd"),
    ],
)
def test_files_and_models_of_ones_own_are_refused(choice: ModelChoice) -> None:
    with pytest.raises(InputError, match="its own models"):
        sidebar.open_selection(choice, "cpu")


@pytest.mark.parametrize("asked", ["/etc/passwd", "deit_tiny_patch16_224", "digits-vit *"])
def test_a_link_opens_no_other_model(open_page: Open, asked: str) -> None:
    app = open_page(model=asked)
    assert app.session_state[selection.CURRENT.key].loaded.name == "digits-vit"


def test_listed_models_are_offered(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(public.LISTED, "test_vit, test_vit2")
    options = open_page().selectbox(key=selection.MODEL).options
    assert options[-2:] == ["test_vit", "test_vit2"] and "digits-vit" in options


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no folder /srv/data/x: give", "no folder x: give"),
        ("no '/home/me/My Files/x.png' here", "no 'x.png' here"),
        ("no run in /tmp/x/runs.sqlite3.", "no run in runs.sqlite3."),
        (r"no C:\Users\me\x.png", "no x.png"),
        ("~/.cache/x (/etc/x)", "x (x)"),
        ("3/4 of 2 MB/s", "3/4 of 2 MB/s"),
    ],
)
def test_messages_name_files_without_their_folders(
    monkeypatch: pytest.MonkeyPatch, text: str, shown: str
) -> None:
    assert escape(text) == escape(shown)
    monkeypatch.setenv(public.PUBLIC, "")
    assert escape(text) != escape(shown) or text == shown


def test_each_session_has_a_history_of_its_own(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sessions of the test runner share what a session keeps: here each has its folder."""
    folders: dict[str, TemporaryDirectory] = {}

    def own() -> TemporaryDirectory:
        return folders.setdefault(st.session_state.get("me", ""), TemporaryDirectory())

    monkeypatch.setattr(history, "_own", own)
    shown = {}
    for me in ("one", "other"):
        app = open_page()
        app.session_state["me"] = me
        shown[me] = app.switch_page("app/views/runs.py").run()
        assert "Nothing yet" in app.info[0].value
    assert Path(folders["one"].name).stat().st_mode & 0o077 == 0
    made.keep(Runs(Path(folders["one"].name) / FILE), made.recipe(4), made.answers({1}))
    assert len(shown["one"].run().dataframe) == 1
    assert "Nothing yet" in shown["other"].run().info[0].value
    folders["one"].cleanup()
    assert not Path(folders["one"].name).exists()


def test_few_pictures_are_kept(open_page: Open) -> None:
    app = open_page()
    app.session_state[selection.PICTURES.key] = {}
    with pytest.MonkeyPatch.context() as patch:
        kept: dict[str, object] = {}
        patch.setattr(selection.st, "session_state", kept)
        for number in range(2 * public.PICTURES):
            selection.keep_picture(f"upload-{number}", b"x")
        assert len(selection.PICTURES.get()) == public.PICTURES


def test_a_session_that_nobody_uses_is_let_go(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_page()
    assert app.selectbox
    monkeypatch.setattr(public, "IDLE_SECONDS", -1.0)
    app.run()
    monkeypatch.setattr(public, "IDLE_SECONDS", 60.0)
    assert "this session ended" in app.run().info[0].value
    assert not app.selectbox and selection.CURRENT.key not in app.session_state


def test_a_session_gives_few_files() -> None:
    door = Door(lambda *_: None)  # type: ignore[arg-type, return-value]

    def gives(session: str, file: int) -> bool:
        path = f"/_stcore/upload_file/{session}/{file}"
        return not door._too_many({"type": "http", "method": "PUT", "path": path})

    assert all(gives("a", file) for file in range(public.UPLOADS))
    assert not gives("a", public.UPLOADS)
    assert gives("b", 0)


@pytest.fixture(scope="module")
def serve(repository: Path):
    spec = importlib.util.spec_from_file_location("serve", repository / "scripts/serve.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_served_under_the_names_that_are_told(serve) -> None:
    told = {"HOST": "0.0.0.0", "PORT": "80", "BITLENS_HOSTS": "bitlens.school.org, *.example.org"}
    command = serve.command(told)
    pairs = list(pairwise(command))
    assert ("--server.address", "0.0.0.0") in pairs and ("--server.port", "80") in pairs
    hosts = {value for name, value in pairs if name == "--server.allowedHosts"}
    assert hosts == {"localhost", "127.0.0.1", "::1", "bitlens.school.org", "*.example.org"}


def test_it_is_not_served_to_others_under_no_name(serve) -> None:
    with pytest.raises(ValueError, match="BITLENS_HOSTS"):
        serve.command({"HOST": "0.0.0.0"})
    assert serve.command({})
    space = serve.command({"HOST": "0.0.0.0", "SPACE_HOST": "a-b.hf.space"})
    assert "a-b.hf.space" in space


def test_jobs_are_few_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    models.jobs.clear()
    try:
        queue = models.jobs()
        assert (queue.per_owner, queue.seconds) == (public.JOBS, public.SECONDS)
    finally:
        models.jobs.clear()


def test_idle_looks_are_rare() -> None:
    assert idle.LOOK_SECONDS >= 30
