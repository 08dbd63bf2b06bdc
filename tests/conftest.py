"""What tests of several folders need."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the clone."""
    return ROOT


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium for Playwright's `executable_path`; skips where there is none."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser found (looked for {', '.join(BROWSERS)})")
    return found


@pytest.fixture(scope="session")
def real_data() -> Path:
    """A folder with deit_tiny_patch16_224.safetensors and imagenet_sample/; skips without one."""
    named = os.environ.get("BITLENS_REAL_DATA")
    if named is None:
        pytest.skip(
            "no real data: set BITLENS_REAL_DATA to a folder of ImageNet weights and images"
        )
    return Path(named)
