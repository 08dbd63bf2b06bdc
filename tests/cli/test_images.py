"""No image that calibrates, or that layers are scored on, is measured: whatever the command."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from assets.sets.image_set import ImageSet
from quant.__main__ import main
from quant.commands.shared.losses import Basis


class Seen(Exception):
    """What a command would work on, had it gone on."""


@pytest.fixture(scope="module", params=[None, 20, 400])
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The bundled digits, a folder of few pictures or one of many, as arguments."""
    if request.param is None:
        return []
    root = tmp_path_factory.mktemp("pictures")
    for number in range(request.param):
        place = root / str(number % 10)
        place.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (number % 256, number // 256, 0)).save(place / f"{number}.png")
    return ["--data", str(root)]


def places(images: Any) -> set[tuple[str, int]]:
    assert isinstance(images, ImageSet)
    return {(images.source.key, index) for index in images.indices}


def asked(command: str, data: list[str], *arguments: str) -> dict[str, set[tuple[str, int]]]:
    """The images that a command calibrates, scores and measures on, found before it works."""
    found = {}

    def measuring(calibrating: Any, images: Any, *_: Any, **__: Any) -> SimpleNamespace:
        found["calibrated"], found["measured"] = places(calibrating.images), places(images)
        if command != "sweep":  # which goes on to score layers
            raise Seen
        return SimpleNamespace(calibrating=calibrating, images=images)

    def basis(*given: Any) -> None:
        real = Basis(*given)
        found["calibrated"] = places(real.calibrating.images)
        found["scored"] = places(real.scoring.images)
        raise Seen

    with pytest.MonkeyPatch.context() as patched:
        for module in ("shared.evaluations", "compare"):
            patched.setattr(f"quant.commands.{module}.Measuring", measuring)
        patched.setattr("quant.commands.sweep.Basis", basis)
        with pytest.raises(Seen):
            main([command, "--model", "digits-swin", "--no-history", *data, *arguments])
    return found


@pytest.mark.parametrize(("calibrated", "scored"), [("8", "1"), ("8", "8"), ("256", "256")])
def test_nothing_that_calibrates_or_scores_is_measured(
    calibrated: str, scored: str, data: list[str]
) -> None:
    few = data and len(list(Path(data[1]).rglob("*.png"))) <= int(calibrated)
    if few:
        calibrated = scored = "19"
    images = ["--calibration-images", calibrated]
    bits = ["--weight-bits", "4", "--activation-bits", "4"]
    found = asked("sweep", data, *images, "--images", scored, "--budgets", "4")
    assert len(found["scored"]) == int(scored)
    assert found["scored"] <= found["calibrated"]
    evaluated, compared = asked("evaluate", data, *images, *bits), asked("compare", data, *images)
    for one in (found, evaluated, compared):
        assert len(one["calibrated"]) == int(calibrated)
        assert one["measured"]
        assert not one["calibrated"] & one["measured"]
    allocated = _allocated(data, *images, "--images", scored)
    assert allocated["scored"] == found["scored"]
    assert not allocated["scored"] & evaluated["measured"]


def _allocated(data: list[str], *arguments: str) -> dict[str, set[tuple[str, int]]]:
    """What `allocate`, which measures nothing and keeps no run, scores layers on."""
    found: dict[str, set[tuple[str, int]]] = {}

    def basis(*given: Any) -> None:
        found["scored"] = places(Basis(*given).scoring.images)
        raise Seen

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("quant.commands.allocate.Basis", basis)
        with pytest.raises(Seen):
            main(["allocate", "--model", "digits-swin", "--average-bits", "4", *data, *arguments])
    return found


def test_images_that_chose_an_allocation_are_not_measured_with_it(
    data: list[str], tmp_path: Path
) -> None:
    many = "15" if data and len(list(Path(data[1]).rglob("*.png"))) == 20 else "40"
    file = tmp_path / "allocation.json"
    by_score = ["--objective", "lrp", "--calibration-images", many]
    command = ["allocate", "--model", "digits-swin", "--average-bits", "4", "--json", str(file)]
    assert main([*command, *by_score, *data]) == 0
    chose = _allocated(data, *by_score)["scored"]
    found = asked("evaluate", data, "--calibration-images", "4", "--allocation", str(file))
    assert len(chose) == int(many)
    assert found["measured"]
    assert not chose & found["measured"]
    alike = ["--weight-bits", "4", "--activation-bits", "4"]
    others = asked("evaluate", data, "--calibration-images", "4", *alike)["measured"]
    assert others - found["measured"] == others & chose
