"""A folder of images on the page: what became of it is shown, and what changes in it is noticed."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from app.budget import live
from app.state import selection
from app.work import models
from assets.models.load import load_model
from assets.sets.image_set import load_images
from quant.evaluation.answers import Answers
from quant.evaluation.stream import Step
from tests.app import budget_pages as on

Open = Callable[..., AppTest]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty pictures in ten class folders, and what is none."""
    on.write_pictures(tmp_path / "images", 20)
    (tmp_path / "images" / "3" / "._x.png").write_text("hidden")
    (tmp_path / "images" / "3" / "gone.png").symlink_to("/nowhere")
    (tmp_path / "images" / "notes.md").write_text("about")
    os.rename(tmp_path / "images" / "9", os.fsencode(tmp_path) + b"/images/9 \xe9")
    return tmp_path / "images"


def load(app: AppTest, folder: Path) -> None:
    app.text_input(key=selection.OWN_FOLDER).set_value(str(folder))
    on.press(app, "Load")
    assert not app.exception and on.errors(app) == []


def table(app: AppTest) -> dict[str, tuple[object, ...]]:
    (frame,) = (one.value for one in app.sidebar.dataframe if "left out" in one.value)
    return {row[0]: row[1:] for row in frame.itertuples(index=False)}


def texts(app: AppTest) -> list[str]:
    return [text.value for text in app.sidebar.text]


def test_what_became_of_each_folder_is_shown_once_it_is_loaded(
    open_page: Open, folder: Path
) -> None:
    app = open_page(model="digits-swin")
    load(app, folder)
    assert "20 images in 10 folders; classes by sorted order, 2 before 10." in texts(app)
    assert any(text.startswith("Left out: 1 file of another kind, ") for text in texts(app))
    shown = table(app)
    assert shown["3"][:3] == (3, "3", 2)
    assert shown["3"][3] in ("1 hidden file, 1 dead link", "1 dead link, 1 hidden file")
    assert shown[r"9 \xe9"][:3] == (9, "9", 2)
    assert shown["(beside them)"][3] == "1 file of another kind"


def test_what_changes_in_a_folder_is_listed_when_it_is_loaded_again(
    open_page: Open, folder: Path
) -> None:
    app = open_page(model="digits-swin")
    load(app, folder)
    held = app.session_state["_current"].images
    load(app, folder)
    assert app.session_state["_current"].images is held
    Image.new("RGB", (9, 9)).save(folder / "0" / "more.png")
    (folder / "classes.txt").write_bytes(b"9 \xe9\n" + b"\n".join(b"%d" % n for n in range(9)))
    load(app, folder)
    assert table(app)["0"][:3] == (1, "1", 3)
    place = folder / "0" / "0.png"
    facts, data = place.stat(), place.read_bytes()
    place.write_bytes(data[:-1] + b"x")  # of the same size, and at the same time
    os.utime(place, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    before = app.session_state["_current"].images
    load(app, folder)
    assert app.session_state["_current"].images.key != before.key


def test_a_page_looks_again_by_itself_once_that_is_due(
    open_page: Open, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models.time, "monotonic", lambda: 0.0)  # looking takes no time
    app = open_page(model="digits-swin")
    load(app, folder)
    Image.new("RGB", (9, 9)).save(folder / "0" / "more.png")
    app.run()
    assert table(app)["0"][2] == 3


def test_another_order_that_suits_float_far_better_is_suggested(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on.write_pictures(tmp_path, 20)
    (tmp_path / "0").rename(tmp_path / "10")
    images = load_images(tmp_path, load_model("digits-swin"))
    selected = SimpleNamespace(CURRENT=SimpleNamespace(get=lambda: SimpleNamespace(images=images)))
    warned: list[str] = []
    monkeypatch.setattr(live, "selection", selected)
    monkeypatch.setattr(live.st, "warning", warned.append)
    labels = np.array([images.label(index) for index in range(20)], np.int32)
    words = sorted(str(number) for number in range(1, 11))
    right = np.array([words.index(str(label + 1)) for label in labels], np.int32)
    for answered in (labels, right):
        answers = Answers(labels, right, answered, labels >= 0, np.zeros(20, np.float32))
        live._doubt_order(Step("W4A4", "", 20, answers, 0, 0.0))
    (warning,) = warned
    assert "10.0% of 20 images rightly, and 100.0% were the folders in plain sorted" in warning
