"""What tests of several folders need."""

import os
import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tests import models

ROOT = Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A BITLENS_HOME that goes with the tests: what they keep never reaches the user's folder."""
    with pytest.MonkeyPatch.context() as environment:
        folder = tmp_path_factory.mktemp("home")
        environment.setenv("BITLENS_HOME", str(folder))
        yield folder


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
    """A folder with deit_tiny_patch16_224.safetensors and imagenet_sample/; skips without one.

    BITLENS_REAL_DATA names it; else it is looked for in shared/data beside the clone.
    """
    folder = Path(os.environ.get("BITLENS_REAL_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / "deit_tiny_patch16_224.safetensors").is_file():
        pytest.skip(
            f"no real weights and images in {folder}: set BITLENS_REAL_DATA to their folder"
        )
    return folder


@pytest.fixture
def traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports of the same weights share what torch's exporter makes of them, in seconds."""
    shared = import_module("tests.quant.traced").traced
    for module in ("aimet_encodings", "onnx_runtime", "qonnx_executor"):
        monkeypatch.setattr(f"quant.export.{module}.skeleton", shared)


@pytest.fixture(params=list(models.SMALL))
def model(request: pytest.FixtureRequest) -> models.nn.Module:
    """A small random ViT, distilled DeiT and Swin."""
    return models.build(request.param)


@pytest.fixture
def images() -> models.Tensor:
    """Three random images of the small models' size."""
    return models.random_images()
