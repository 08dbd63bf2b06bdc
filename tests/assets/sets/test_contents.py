"""The same picture under another name never both calibrates and is measured."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

from assets.errors import InputError
from assets.models.load import LoadedModel
from assets.sets import contents
from assets.sets.contents import alike
from assets.sets.image_set import ImageSet, load_images
from assets.sets.selection import Draw
from assets.sets.telling import told

CLASSES, EACH = 4, 5
CONFIG = {
    "input_size": (3, 8, 8),
    "interpolation": "bicubic",
    "mean": (0.0, 0.0, 0.0),
    "std": (1.0, 1.0, 1.0),
    "crop_pct": 1.0,
    "crop_mode": "center",
}
LOADED = LoadedModel("any", nn.Identity(), (3, 8, 8), CONFIG, CLASSES, "any")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twenty pictures of noise in four class folders."""
    generator = np.random.default_rng(0)
    for number in range(CLASSES * EACH):
        place = tmp_path / "data" / str(number % CLASSES)
        place.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{number}.png")
    return tmp_path / "data"


def pixels(images: ImageSet) -> set[bytes]:
    return {images.picture(index).tobytes() for index in range(len(images))}


def link(root: Path, other: Path) -> None:
    other.symlink_to(root)


def links(root: Path, other: Path) -> None:
    shutil.copytree(root, other, copy_function=lambda a, b: os.symlink(a, b))


def hard_links(root: Path, other: Path) -> None:
    shutil.copytree(root, other, copy_function=os.link)


def copies(root: Path, other: Path) -> None:
    shutil.copytree(root, other, copy_function=shutil.copyfile)


def renamed(root: Path, other: Path) -> None:
    for number, path in enumerate(sorted(root.rglob("*.png"))):
        place = other / path.parent.name / "deeper" / f"x{number * 7 % 20}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)


def saved_anew(root: Path, other: Path) -> None:
    for path in root.rglob("*.png"):
        place = other / path.parent.name / f"{path.stem}.webp"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).save(place, lossless=True)


def none(root: Path, other: Path) -> None:
    """The same folder, by another way to it."""


@pytest.mark.parametrize(
    "make", [link, links, hard_links, copies, renamed, saved_anew, none], ids=lambda f: f.__name__
)
def test_images_that_calibrate_under_another_name_are_not_measured(
    root: Path, make: Callable[[Path, Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    other = root.parent / "other"
    make(root, other)
    given = other if other.exists() else root / ".." / "data"
    draw = Draw(LOADED, str(root), str(given), 8)
    assert draw.copies == 8
    assert draw.most == len(draw.measured) == 12
    assert len(pixels(draw.measured)) == 12
    assert not pixels(draw.calibrating) & pixels(draw.measured)
    described = told(draw)
    assert described is not None
    assert described["copies_not_measured"] == 8
    assert {"data", "calibration"} < set(described)
    assert "8 images are not measured: the same pictures calibrate" in capsys.readouterr().err


def test_what_scores_is_not_measured_under_another_name(root: Path) -> None:
    renamed(root, root.parent / "other")
    draw = Draw(LOADED, str(root), str(root.parent / "other"), 4, limit=6)
    assert len(draw.measured) == 6
    assert len(draw.scorable) == 20 - 6
    assert not pixels(draw.scorable) & pixels(draw.measured)


def test_a_picture_that_is_twice_in_a_folder_is_on_one_side(root: Path) -> None:
    for path in list(root.rglob("*.png")):
        shutil.copyfile(path, path.parent / f"again{path.name}")
    for seed in range(4):
        draw = Draw(LOADED, str(root), None, 10, seed=seed, limit=12)
        calibrates, measured = pixels(draw.calibrating), pixels(draw.measured)
        assert not calibrates & measured
        assert len(draw.measured) == 12
        assert draw.most == 40 - 2 * len(calibrates)
        assert draw.copies == 2 * len(calibrates) - 10
        assert not pixels(draw.scorable) & measured


def test_copies_of_images_that_bits_were_chosen_on_are_not_measured(root: Path) -> None:
    everything = load_images(root, LOADED)
    chosen = [index for index in range(20) if index % 3 == 0]
    for index in chosen:
        path = everything.source.paths[index]
        shutil.copyfile(path, f"{path}.again.png")
    grown = load_images(root, LOADED)
    used = [index for index in range(len(grown)) if "again" in grown.source.paths[index]]
    draw = Draw(LOADED, str(root), None, 4, taken={grown.key: used, "other": [3, 900]})
    seen = {everything.picture(index).tobytes() for index in chosen}
    assert not pixels(draw.measured) & seen
    assert pixels(draw.measured) == pixels(everything) - seen - pixels(draw.calibrating)


def test_an_order_of_measuring_of_its_own_leaves_copies_out_as_well(root: Path) -> None:
    for path in list(root.rglob("*.png")):
        shutil.copyfile(path, path.parent / f"again{path.name}")
    for seed in range(3):
        draw = Draw(LOADED, str(root), None, 6, seed=seed, measured_seed=0)
        assert not pixels(draw.calibrating) & pixels(draw.measured)


def test_where_all_are_copies_nothing_is_measured(root: Path) -> None:
    renamed(root, root.parent / "other")
    draw = Draw(LOADED, str(root), str(root.parent / "other"), 20)
    assert draw.most == 0
    with pytest.raises(InputError, match="calibrates on all images that it would measure"):
        _ = draw.measured


def test_other_pictures_of_one_size_are_not_alike(root: Path) -> None:
    everything = load_images(root, LOADED)
    assert alike(everything, everything.subset([3, 5])) == {3, 5}
    damaged = Path(everything.source.paths[7])
    damaged.write_bytes(damaged.read_bytes()[:-20])
    again = load_images(root, LOADED)
    assert alike(again, again.subset([3, 7])) == {3, 7}


def test_many_images_are_compared_by_their_bytes_alone(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved_anew(root, root.parent / "anew")
    copies(root, root.parent / "copied")
    data = load_images(root, LOADED)
    anew, copied = (load_images(root.parent / name, LOADED) for name in ("anew", "copied"))
    assert len(alike(data, anew)) == 20
    monkeypatch.setattr(contents, "PIXELS", 100)
    assert not alike(data, anew)
    monkeypatch.setattr(contents, "FRAMES", 10)
    assert not alike(data, anew)
    assert len(alike(data, copied)) == 20


def test_a_file_that_cannot_be_read_is_named_before_any_work(root: Path) -> None:
    place = root / "2" / "6.png"
    place.write_bytes(place.read_bytes()[:20])
    with pytest.raises(InputError, match=r"data/2/6\.png cannot be read as a picture"):
        told(Draw(LOADED, str(root), None, 8))
