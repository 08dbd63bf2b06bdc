"""What tests of several commands need: a small model, and a home whose calibration is kept."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from quant.__main__ import main

SMALL = ("--model", "digits-swin", "--calibration-images", "4")


@pytest.fixture(scope="session")
def small() -> list[str]:
    """The arguments that ask for a small model, calibrated on few images."""
    return list(SMALL)


@pytest.fixture(scope="session")
def sensed_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that holds the calibration of `small` and its estimated sensitivities, nothing else.

    Tests use `sensed`, a copy of it.
    """
    home = tmp_path_factory.mktemp("sensed")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("BITLENS_HOME", str(home))
        assert main(["sensitivity", *SMALL, "--json", str(home / "sensitivity.json")]) == 0
    (home / "sensitivity.json").unlink()
    return home


@pytest.fixture
def sensed(sensed_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of one's own, with the calibration of `small` and its estimated sensitivities."""
    home = tmp_path / "home"
    shutil.copytree(sensed_home, home)
    monkeypatch.setenv("BITLENS_HOME", str(home))
    yield home
