"""Image sets: folders matched with the model's classes, and each way they cannot be."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn

from assets.errors import InputError
from assets.models.load import LoadedModel, load_model
from assets.pictures import digits
from assets.pictures.sources import FolderSource
from assets.sets.image_set import class_names, load_images

CONFIG = {
    "input_size": (3, 32, 32),
    "interpolation": "bicubic",
    "mean": (0.0, 0.0, 0.0),
    "std": (1.0, 1.0, 1.0),
    "crop_pct": 1.0,
    "crop_mode": "center",
}


def classifier(num_classes: int) -> LoadedModel:
    """A model of so many classes; its weights play no part here."""
    return LoadedModel("any", nn.Identity(), (3, 32, 32), CONFIG, num_classes, f"any-{num_classes}")


def fill(root: Path, names: list[str], count: int = 1, suffix: str = ".png") -> Path:
    """Write so many one-coloured pictures into each class folder."""
    for shade, name in enumerate(names):
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            Image.new("RGB", (32, 32), (shade, index, 0)).save(root / name / f"{index}{suffix}")
    return root


@pytest.fixture(scope="module")
def digits_vit() -> LoadedModel:
    return load_model("digits-vit")


def test_the_digits_come_with_bundled_models(digits_vit: LoadedModel) -> None:
    images = load_images(None, digits_vit)
    assert len(images) == 2000 and images.classes == tuple("0123456789")
    drawn = digits.sample("validation", 11)
    tensor, label = images[11]
    assert label == images.label(11) == drawn.label
    assert images.picture(11).tobytes() == drawn.image.tobytes()
    expected = torch.from_numpy(np.asarray(drawn.image) / 127.5 - 1).permute(2, 0, 1)
    assert torch.allclose(tensor.double(), expected, atol=1e-6)


def test_calibration_pictures_are_others(digits_vit: LoadedModel) -> None:
    validation = load_images(None, digits_vit)
    calibration = load_images(None, digits_vit, "calibration")
    assert len(calibration) == 512
    assert calibration.key != validation.key
    assert calibration.picture(0).tobytes() != validation.picture(0).tobytes()


def test_without_data_other_models_ask_for_it(digits_vit: LoadedModel) -> None:
    with pytest.raises(InputError, match="--data"):
        load_images(None, classifier(10))
    with pytest.raises(InputError, match="--data"):
        load_images(None, replace(digits_vit, num_classes=7))
    with pytest.raises(InputError, match="no split 'test'"):
        load_images(None, digits_vit, "test")


def test_a_subset_keeps_pictures_labels_and_order(tmp_path: Path) -> None:
    images = load_images(fill(tmp_path, ["a", "b"], count=3), classifier(2))
    part = images.subset([4, 0, 5]).subset([2, 0])
    assert type(part) is type(images) and len(part) == 2
    assert [part.picture(i).tobytes() for i in (0, 1)] == [
        images.picture(i).tobytes() for i in (5, 4)
    ]
    assert [part.label(i) for i in (0, 1)] == [images.label(5), images.label(4)]
    assert part.key != images.key == load_images(tmp_path, classifier(2)).key
    assert part.key == images.subset([5, 4]).key
    with pytest.raises(IndexError):
        images.subset([6])


def test_wordnet_folders_map_to_their_place_among_all_thousand(tmp_path: Path) -> None:
    info = Path(timm.data.__file__).parent / "_info" / "imagenet_synsets.txt"
    everything = sorted(info.read_text().split())
    assert len(everything) == 1000
    chosen = [everything[place] for place in (999, 3, 500)]
    images = load_images(fill(tmp_path, chosen), classifier(1000))
    found = {images.picture(i).getpixel((0, 0))[0]: images.label(i) for i in range(3)}
    assert found == {0: 999, 1: 3, 2: 500}  # by shade: the order in which folders were made


def test_imagenet_names_are_short() -> None:
    names = class_names(classifier(1000))
    assert len(names) == 1000
    assert (names[0], names[1], names[207], names[999]) == (
        "tench",
        "goldfish",
        "golden retriever",
        "toilet tissue",
    )


def test_other_models_number_their_classes() -> None:
    assert class_names(classifier(3)) == ("class 0", "class 1", "class 2")


def test_an_unknown_wordnet_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="n99999999"):
        load_images(fill(tmp_path, ["n01440764", "n99999999"]), classifier(1000))


def test_wordnet_names_mean_nothing_to_a_model_of_two_classes(tmp_path: Path) -> None:
    images = load_images(fill(tmp_path, ["n01443537", "n01440764"]), classifier(2))
    found = {images.picture(i).getpixel((0, 0))[0]: images.label(i) for i in range(2)}
    assert found == {0: 1, 1: 0}  # sorted order


@pytest.mark.parametrize("beside", [False, True])
def test_classes_txt_gives_the_order(tmp_path: Path, beside: bool) -> None:
    root = fill(tmp_path / "pictures", ["ant", "bee"])
    place = tmp_path if beside else root
    (place / "classes.txt").write_text("bee\ncat\nant\n", encoding="utf-8")
    images = load_images(root, classifier(3))
    found = {images.picture(i).getpixel((0, 0))[0]: images.label(i) for i in range(2)}
    assert found == {0: 2, 1: 0}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("ant\nbee", "lists 2 different classes and the model has 3"),
        ("ant\nbee\nbee", "lists 2 different classes and the model has 3"),
        ("ant\ncat\ndog", "does not list bee"),
        ("", "lists 0 different classes"),
    ],
)
def test_an_unfit_classes_txt_is_refused(tmp_path: Path, lines: str, message: str) -> None:
    root = fill(tmp_path, ["ant", "bee"])
    (root / "classes.txt").write_text(lines)
    with pytest.raises(InputError, match=message):
        load_images(root, classifier(3))


def test_a_classes_txt_that_is_no_text_is_refused(tmp_path: Path) -> None:
    root = fill(tmp_path, ["ant", "bee"])
    (root / "classes.txt").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(InputError, match="is not text"):
        load_images(root, classifier(2))


def test_as_many_folders_as_classes_go_by_sorted_order(tmp_path: Path) -> None:
    images = load_images(fill(tmp_path, ["pear", "apple", "fig"]), classifier(3))
    found = {images.picture(i).getpixel((0, 0))[0]: images.label(i) for i in range(3)}
    assert found == {0: 2, 1: 0, 2: 1}


def test_numbers_sort_as_numbers_and_empty_class_folders_count(tmp_path: Path) -> None:
    root = fill(tmp_path, ["10", "9", "2"])
    (root / "9" / "0.png").unlink()
    (root / ".cache").mkdir()
    images = load_images(root, classifier(3))
    found = {images.picture(i).getpixel((0, 0))[0]: images.label(i) for i in range(2)}
    assert found == {0: 2, 2: 0}


def test_a_number_of_classes_that_differs_is_refused_with_remedies(tmp_path: Path) -> None:
    root = fill(tmp_path, ["a", "b"])
    with pytest.raises(InputError, match=r"2 classes and the model 3.*classes\.txt"):
        load_images(root, classifier(3))
    with pytest.raises(InputError, match=r"2 classes and the model 1000.*WordNet"):
        load_images(root, classifier(1000))


def test_a_folder_around_val_is_understood(tmp_path: Path) -> None:
    fill(tmp_path / "set" / "val", ["a", "b"])
    (tmp_path / "set" / "README.md").write_text("about")
    images = load_images(tmp_path / "set", classifier(2))
    assert len(images) == 2 and images.name == "set"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp"])
def test_the_permitted_kinds_of_file_are_found(tmp_path: Path, suffix: str) -> None:
    images = load_images(fill(tmp_path, ["a", "b"], count=2, suffix=suffix), classifier(2))
    assert len(images) == 4 and images[3][0].shape == (3, 32, 32)


def test_a_missing_or_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        load_images(tmp_path / "absent", classifier(2))
    with pytest.raises(InputError, match="holds no pictures in class folders"):
        load_images(tmp_path, classifier(2))
    Image.new("RGB", (4, 4)).save(tmp_path / "stray.png")
    with pytest.raises(InputError, match="holds no pictures in class folders"):
        load_images(tmp_path, classifier(2))


def test_a_file_instead_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="there is no folder"):
        load_images(tmp_path / "file", classifier(2))


def test_a_damaged_picture_is_named_with_its_folder_when_it_is_reached(tmp_path: Path) -> None:
    root = fill(tmp_path, ["a", "b"])
    whole = (root / "a" / "0.png").read_bytes()
    (root / "a" / "0.png").write_bytes(whole[: len(whole) // 2])
    images = load_images(root, classifier(2))
    assert images[1][1] == 1
    with pytest.raises(InputError, match=r"/a: 0\.png is damaged"):
        images[0]


def test_a_picture_that_changed_since_it_was_listed_is_refused(tmp_path: Path) -> None:
    root = fill(tmp_path, ["a", "b"])
    images = load_images(root, classifier(2))
    Image.new("RGB", (9, 9)).save(root / "a" / "0.png")
    (root / "b" / "0.png").unlink()
    with pytest.raises(InputError, match=r"a/0\.png has changed .*load the folder again"):
        images[0]
    with pytest.raises(InputError, match=r"b/0\.png is gone: load the folder again"):
        images[1]


def test_the_key_changes_with_the_files(tmp_path: Path) -> None:
    before = load_images(fill(tmp_path, ["a", "b"]), classifier(2)).key
    Image.new("RGB", (9, 9)).save(tmp_path / "a" / "more.png")
    assert load_images(tmp_path, classifier(2)).key != before


def test_the_key_is_of_what_the_files_hold_wherever_they_are(tmp_path: Path) -> None:
    fill(tmp_path / "one", ["a", "b"])
    fill(tmp_path / "two", ["a", "b"])
    keys = [load_images(tmp_path / name, classifier(2)).key for name in ("one", "two")]
    assert keys[0] == keys[1]
    place = tmp_path / "two" / "a" / "0.png"
    facts, held = place.stat(), place.read_bytes()
    place.write_bytes(held[:-1] + b"x")  # of the same size, at the same time
    os.utime(place, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert load_images(tmp_path / "two", classifier(2)).key != keys[0]


def test_files_are_a_sequence_of_paths_and_classes(tmp_path: Path) -> None:
    source = load_images(fill(tmp_path, ["a", "b"]), classifier(2)).source
    assert isinstance(source, FolderSource)
    assert source.files == ((tmp_path / "a" / "0.png", 0), (tmp_path / "b" / "0.png", 1))
