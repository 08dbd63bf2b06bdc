"""The first screen: light, and never stale."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app import example
from app.first_screen import FOLDER, Example

LIGHT = """
import sys
import streamlit
from app import first_screen
assert first_screen.needed()
heavy = {"torch", "timm", "scipy", "sklearn"} & set(sys.modules)
assert not heavy, heavy
"""


def test_it_imports_nothing_heavy(repository: Path) -> None:
    subprocess.run([sys.executable, "-c", LIGHT], cwd=repository, check=True, timeout=120)


def test_the_page_shows_it_before_it_imports_anything_heavy(repository: Path) -> None:
    lines = (repository / "streamlit_app.py").read_text(encoding="utf-8").splitlines()
    imports = [i for i, line in enumerate(lines) if line.startswith(("import", "from"))]
    shown = next(i for i, line in enumerate(lines) if "first_screen.show()" in line)
    before = [lines[i] for i in imports if i < shown]
    assert before == ["import streamlit as st", "from app import door, first_screen"]


@pytest.fixture(scope="module")
def recomputed() -> tuple[Example, dict[str, Image.Image]]:
    return example.compute()


def test_its_facts_are_what_the_model_says(
    recomputed: tuple[Example, dict[str, Image.Image]],
) -> None:
    kept, now = Example.read(), recomputed[0]
    assert replace(kept, top=()) == replace(now, top=())
    assert [name for name, _ in kept.top] == [name for name, _ in now.top]
    assert [p for _, p in kept.top] == pytest.approx([p for _, p in now.top], abs=2e-3)


def test_its_pictures_are_what_the_model_shows(
    recomputed: tuple[Example, dict[str, Image.Image]],
) -> None:
    for name, picture in recomputed[1].items():
        kept = np.asarray(Image.open(FOLDER / name).convert("RGB")).astype(int)
        assert np.abs(kept - np.asarray(picture).astype(int)).mean() < 1, name


def test_it_is_a_good_example() -> None:
    shown = Example.read()
    assert {name for name, _ in shown.top[:2]} == {str(label) for label in shown.labels}
