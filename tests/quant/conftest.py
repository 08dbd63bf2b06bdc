"""Calibrations that several files look at, each made once."""

from collections.abc import Callable
from functools import cache

import pytest

from quant.calibration.calibration import Calibration
from quant.calibration.presets import preset
from tests.models import build, random_images

Calibrated = Callable[..., Calibration]


@pytest.fixture(scope="session")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Calibrated:
    """Return the calibration of a family's small model on the `images` fixture, by preset name.

    Widths are solved when a test asks for them, and kept for the others.
    """

    @cache
    def made(family: str, name: str = "bitlens", integers: bool = True) -> Calibration:
        if not integers:
            made(family, name)
        folder = home / family / name
        return Calibration(build(family), random_images(), preset(name), folder, integers)

    home = tmp_path_factory.mktemp("calibrations")
    return made
