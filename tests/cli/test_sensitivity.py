"""`python -m quant sensitivity`, called in process."""

import json

import pytest
from scipy.stats import spearmanr

from assets.terminal import run
from quant.__main__ import main
from quant.analysis import sensitivity_estimation as estimation

LAYERS = 40  # of digits-swin


def asked(capsys, small, *arguments):
    assert main(["sensitivity", *small, *arguments, "--json", "-"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def found(monkeypatch):
    """How many images sensitivities were found on, each time they were."""
    counts = []
    for name in ("estimate", "measure"):
        real = getattr(estimation, name)

        def counted(calibration, images, *others, real=real):
            counts.append(len(images))
            return real(calibration, images, *others)

        monkeypatch.setattr(estimation, name, counted)
    return counts


def test_sensitivities_are_kept_and_read_back(capsys, small, sensed, found):
    first = asked(capsys, small)
    assert found == []
    assert (first["how"], first["images"], first["widths"]) == ("estimated", 4, list(range(2, 9)))
    assert first["preset"] == "bitlens"
    assert len(first["layers"]) == LAYERS
    (path,) = sensed.rglob("sensitivity-estimated.json")
    assert json.loads(path.read_text())["layers"] == first["layers"]
    fewer = asked(capsys, small, "--images", "2")
    assert (found, fewer["images"]) == ([2], 2)
    assert fewer["layers"] != first["layers"]
    assert asked(capsys, small) == first  # fewer images do not take the place of all
    assert asked(capsys, small, "--images", "2") == fewer
    assert found == [2]


def test_a_check_compares_estimates_with_measurements(capsys, small, sensed, found, monkeypatch):
    monkeypatch.setattr(estimation, "MEASURED_IMAGES", 2)
    payload = asked(capsys, small, "--check")
    assert found == [2]
    check = payload["check"]
    assert check["images"] == {"estimated": 4, "measured": 2}
    measured = asked(capsys, small, "--how", "measured")
    assert (found, measured["images"]) == ([2], 2)
    for side in ("weight", "activation"):
        one, other = (
            [layer[side][2] for layer in kept["layers"].values()] for kept in (payload, measured)
        )
        assert check[side]["4"] == pytest.approx(spearmanr(one, other).statistic)
        assert check[side]["pooled"] > 0.9
    assert main(["sensitivity", *small, "--check"]) == 0
    out = capsys.readouterr().out
    assert f"{check['weight']['4']:.3f}" in out
    assert "of estimates on 4 images with measurements on 2" in out


def test_layers_are_listed_by_what_four_bits_cost(capsys, small, sensed):
    layers = asked(capsys, small)["layers"]
    cost = {name: one["weight"][2] + one["activation"][2] for name, one in layers.items()}
    assert main(["sensitivity", *small]) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = [line.split()[0] for line in lines[1 : LAYERS + 1]]
    assert listed == sorted(cost, key=lambda name: -cost[name])
    assert f"4 bits {sum(cost.values()):.3g}" in lines[-1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--images", "5"], "--images 5 of 4 calibration images: use 1 to 4"),
        (["--images", "0"], "--images 0 of 4"),
        (["--preset", "best"], "no preset 'best'"),
        (["--calibration-images", "0"], "0 images"),
    ],
)
def test_wrong_input_is_one_sentence_before_any_work(arguments, sentence, capsys, small, found):
    assert run(main, ["sensitivity", *small, *arguments]) == 2
    captured = capsys.readouterr()
    assert (captured.out, found) == ("", [])
    assert len(captured.err.strip().splitlines()) == 1
    assert sentence in captured.err


def test_a_spoilt_file_is_found_again_and_said(capsys, small, sensed, caplog):
    (path,) = sensed.rglob("sensitivity-estimated.json")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"7", b"8"))
    assert run(main, ["sensitivity", *small]) == 0
    assert f"{path} is damaged" in caplog.text and "found again" in caplog.text
    assert path.read_bytes() == whole


def test_a_targets_widths_are_those_asked_about(capsys, small, sensed, found):
    first = asked(capsys, small, "--target", "mx")
    assert first["widths"] == ["MXFP4", "MXFP6", "FP8"] and len(first["layers"]) == LAYERS
    sums = [sum(layer["activation"][i] for layer in first["layers"].values()) for i in range(3)]
    assert sums[0] > sums[1] > 0 and sums[0] > sums[2] > 0
    assert found == [4]
    assert asked(capsys, small, "--target", "mx") == first
    assert asked(capsys, small, "--target", "int8")["widths"] == list(range(2, 9))
    assert found == [4]  # both were kept
    assert main(["sensitivity", *small, "--target", "mx"]) == 0
    assert "weights at MXFP4" in capsys.readouterr().out
