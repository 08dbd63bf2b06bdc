"""What commands say of folders of images: before any work, on stderr and in JSON."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from assets.pictures import digits
from lrp.__main__ import main as lrp
from quant.__main__ import main as quant

MODEL = ["--model", "digits-swin"]
PER_CLASS = 4


def write_digits(root: Path, names: dict[int, str]) -> None:
    """Write the first validation pictures of each class into the folder of its name."""
    left = dict.fromkeys(names, PER_CLASS)
    for index in range(200):
        sample = digits.sample("validation", index)
        if left[sample.label]:
            left[sample.label] -= 1
            place = root / names[sample.label]
            place.mkdir(parents=True, exist_ok=True)
            sample.image.save(place / f"{index}.png")
    assert not any(left.values())


def of(folders: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {one["folder"]: (one["class"], one["images"]) for one in folders["data"]["folders"]}


def test_an_order_that_suits_float_far_better_is_suggested(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BITLENS_HOME", str(tmp_path / "home"))
    root, out = tmp_path / "images", tmp_path / "out.json"
    trained = sorted(str(number) for number in range(1, 11))  # as torchvision sorts
    write_digits(root, dict(enumerate(trained)))
    (root / "1" / "gone.png").symlink_to("/nowhere")
    (root / "2" / "._0.png").write_bytes(b"\0\5\x16\7")
    bits = ["--weight-bits", "8", "--activation-bits", "8", "--calibration-images", "4"]
    asked = ["evaluate", *MODEL, *bits, "--data", str(root), "--no-history", "--json", str(out)]
    assert quant(asked) == 0
    said = capsys.readouterr().err.splitlines()
    first = next(line for line in said if "images in 10 folders" in line)
    assert "40 images in 10 folders; classes by sorted order, 2 before 10" in first
    assert said.index(first) < next(i for i, line in enumerate(said) if "evaluation:" in line)
    assert any("left out: 1 dead link, 1 hidden file" in line for line in said)
    assert any("torchvision's ImageFolder has 9 of the classes elsewhere" in line for line in said)
    payload = json.loads(out.read_text())
    suggested = payload["order_suggestion"]
    assert suggested["order"] == "plain sorted order, 10 before 2"
    assert suggested["other_top1"] > 0.8 > 0.4 > suggested["top1"] == payload["float"]["top1"]
    assert any("float answers" in line for line in said)
    assert of(payload["folders"]) == {str(n): (n - 1, PER_CLASS) for n in range(1, 11)}
    assert payload["folders"]["data"]["left_out"] == {"dead links": 1, "hidden files": 1}
    (root / "classes.txt").write_text("\n".join(trained))
    assert quant(asked) == 0
    payload = json.loads(out.read_text())
    assert payload["order_suggestion"] is None
    assert payload["float"]["top1"] == suggested["other_top1"]
    assert of(payload["folders"])["10"] == (1, PER_CLASS)


def test_folders_and_names_in_any_encoding_are_said_by_other_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/im\xe9ges"))
    for number in range(10):
        place = root / (f"class {number}" if number else os.fsdecode(b"\xe9t\xe9"))
        place.mkdir(parents=True)
        for name in (b"caf\xe9.png", b"other.png"):
            picture = Image.new("RGB", (16, 16), (20 * number, len(name), 0))
            picture.save(place / os.fsdecode(name))
    out = tmp_path / "out.json"
    asked = [*MODEL, "--data", str(root), "--images", "4", "--json", str(out)]
    for command in (["scores"], ["faithfulness", "--methods", "random", "--steps", "2"]):
        assert lrp([*command, *asked]) == 0
        capsys.readouterr().err.encode()
        text = out.read_text(encoding="utf-8")
        assert r"\\xe9" in text
        assert "\\ud" not in text
        assert of(json.loads(text)["folders"])[r"\xe9t\xe9"] == (9, 2)


@pytest.mark.parametrize("command", ["evaluate", "sensitivity", "allocate", "compare", "sweep"])
def test_what_is_no_picture_stops_a_command_before_it_works(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(10):
        (tmp_path / str(number)).mkdir()
        for name in ("a", "b"):
            path = tmp_path / str(number) / f"{name}.png"
            Image.new("RGB", (16, 16), (20 * number, ord(name), 0)).save(path)
            path.write_bytes(path.read_bytes()[:20])
    more = {
        "evaluate": ["--weight-bits", "4", "--activation-bits", "4"],
        "allocate": ["--average-bits", "4"],
    }.get(command, [])
    asked = [command, *MODEL, "--data", str(tmp_path), "--calibration-images", "4", *more]
    with pytest.raises(ValueError, match=rf"{tmp_path}/\d/[ab]\.png cannot be read as a picture"):
        quant(asked)
    assert "calibrating" not in capsys.readouterr().err
