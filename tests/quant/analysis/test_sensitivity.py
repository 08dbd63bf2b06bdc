"""Sensitivities in files: read as written, and refused by name where they are damaged."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from quant.analysis import sensitivity as module
from quant.analysis.sensitivity import HOW, Sensitivity, rank_correlations, sensitivity_path

SIDES = ("weight", "activation")


def test_files_are_told_apart_by_how_and_by_how_many_images(tmp_path):
    kinds = [(how, images) for how in HOW for images in (None, 3, 16)]
    paths = [sensitivity_path(tmp_path, *kind) for kind in kinds]
    assert len(set(paths)) == len(kinds)
    assert {path.parent for path in paths} == {tmp_path}


def made_up() -> Sensitivity:
    values = np.random.default_rng(0).random((2, 3, 4)) * 10.0 ** np.arange(-9, 3, 3)
    return Sensitivity(("stem", "a.b", "häd"), (2, 3, 5, 8), values[0], values[1], "measured", 7)


def test_what_is_written_is_read_back(tmp_path):
    one, path = made_up(), tmp_path / "new" / "folder" / "kept.json"
    for _ in range(2):  # the second time over the first
        one.write(path)
    found = Sensitivity.read(path)
    assert (found.names, found.widths, found.how, found.images) == (
        one.names,
        one.widths,
        one.how,
        one.images,
    )
    assert np.array_equal(found.weight, one.weight)
    assert np.array_equal(found.activation, one.activation)
    assert [p.name for p in path.parent.iterdir()] == ["kept.json"]


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "kept.json"
    with pytest.raises(ValueError, match=f"{path} cannot be written"):
        made_up().write(path)


DAMAGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another version": lambda kept: kept | {"schema": module.SCHEMA + 1},
    "a width too few": lambda kept: kept | {"widths": kept["widths"][:-1]},
    "a value too few": lambda kept: _sides(kept, lambda values: values[:-1]),
    "ragged": lambda kept: kept["layers"]["stem"]["weight"].pop() and kept,
    "one side shorter": lambda kept: (
        [one["weight"].pop() for one in kept["layers"].values()] and kept
    ),
    "one side": lambda kept: [one.pop("activation") for one in kept["layers"].values()] and kept,
    "words": lambda kept: _sides(kept, lambda values: ["much"] * len(values)),
    "layers in a list": lambda kept: kept | {"layers": list(kept["layers"].values())},
    "no layers": lambda kept: kept | {"layers": {}},
    "a list": lambda kept: [kept],
    **{
        f"no {key}": lambda kept, key=key: kept.pop(key) and kept
        for key in ("schema", "how", "images", "widths", "layers")
    },
}


def _sides(kept: dict[str, Any], change: Callable[[list[float]], list[Any]]) -> dict[str, Any]:
    layers = {
        name: {side: change(values) for side, values in sides.items()}
        for name, sides in kept["layers"].items()
    }
    return kept | {"layers": layers}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_file_or_one_of_another_version_is_named(tmp_path, how):
    path = tmp_path / "kept.json"
    made_up().write(path)
    path.write_text(json.dumps(DAMAGES[how](json.loads(path.read_text()))))
    with pytest.raises(ValueError, match=str(path)):
        Sensitivity.read(path)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"null", b"3"])
def test_a_file_that_is_no_json_object_is_named(tmp_path, text):
    path = tmp_path / "kept.json"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=str(path)):
        Sensitivity.read(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.json"):
        Sensitivity.read(tmp_path / "nowhere.json")


def test_sensitivities_are_compared_width_by_width_and_all_together():
    rising = np.array([[4.0, 1.0], [5.0, 2.0], [6.0, 3.0]])
    turned = np.array([[4.0, 3.0], [5.0, 2.0], [6.0, 1.0]])
    names = ("a", "b", "c")
    one = Sensitivity(names, (2, 3), rising, rising, "estimated", 4)
    other = Sensitivity(names, (2, 3), turned, rising, "measured", 4)
    found = rank_correlations(one, other)
    assert found["activation"] == pytest.approx({"2": 1, "3": 1, "pooled": 1})
    assert (found["weight"]["2"], found["weight"]["3"]) == pytest.approx((1, -1))
    # ranks 1 2 3 4 5 6 against 3 2 1 4 5 6
    assert found["weight"]["pooled"] == pytest.approx(1 - 6 * 8 / (6 * 35))


def test_a_digit_that_changed_and_another_calibration_are_noticed(tmp_path):
    path = tmp_path / "kept.json"
    made_up().write(path, "mine")
    assert Sensitivity.read(path, "mine").how == "measured"
    with pytest.raises(ValueError, match="of another calibration"):
        Sensitivity.read(path, "other")
    text = path.read_text()
    digit = next(place for place, c in enumerate(text) if c in "123" and place > 150)
    path.write_text(f"{text[:digit]}{int(text[digit]) + 1}{text[digit + 1 :]}")
    with pytest.raises(ValueError, match="is damaged"):
        Sensitivity.read(path, "mine")
    facts = json.loads(text)
    del facts["sha256"]
    path.write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="has no checksum"):
        Sensitivity.read(path)
