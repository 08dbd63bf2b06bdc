"""`python -m lrp`, called in process as a user's arguments would call it."""

import json

import numpy as np
import pytest
from PIL import Image

from assets import digits
from assets.command_line import run
from lrp.__main__ import main


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "seven.png"
    digits.sample("validation", 3).image.save(path)
    return path


@pytest.mark.parametrize("model", ["digits-vit", "digits-deit", "digits-swin"])
def test_explain_writes_picture_arrays_and_json(model, picture, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["explain", "--model", model, "--image", str(picture), "--out", str(out)]) == 0
    with Image.open(out / "overlay.png") as shown:
        assert shown.size == (448, 448)
    payload = json.loads((out / "explanation.json").read_text())
    assert payload["rules"] == "ATTN_LRP"
    assert payload["target"] == payload["top5"][0]
    arrays = np.load(out / "relevance.npz")
    assert arrays["pixels"].shape == (64, 64)
    assert set(arrays.files) - {"pixels"} <= set(payload["layers"])
    name = "layers.1.blocks.1.mlp.fc1" if model == "digits-swin" else "blocks.3.mlp.fc1"
    assert arrays[name].shape == (8, 8)
    assert sum(v["contribution"] for v in payload["layers"].values()) == pytest.approx(1, abs=1e-4)
    assert str(out / "overlay.png") in capsys.readouterr().out


def test_another_target_and_other_rules_give_another_explanation(picture, tmp_path):
    found = []
    for name, extra in (("a", []), ("b", ["--target", "1"]), ("c", ["--rules", "lrp-qvit"])):
        out = tmp_path / name
        arguments = ["explain", "--model", "digits-vit", "--image", str(picture), "--out", str(out)]
        assert main([*arguments, *extra]) == 0
        found.append((out / "overlay.png").read_bytes())
    assert len(set(found)) == 3
    assert json.loads((tmp_path / "b" / "explanation.json").read_text())["target"]["class"] == 1


def test_scores_go_to_standard_output_alone(capsys):
    assert main(["scores", "--model", "digits-vit", "--images", "4", "--json", "-"]) == 0
    captured = capsys.readouterr()
    payload = json.loads(captured.out)
    assert payload["images"] == 4
    assert payload["rules"] == "LRP_QVIT"
    assert sum(entry["mean"] for entry in payload["scores"].values()) == pytest.approx(1, abs=1e-4)
    assert all(entry["sd"] >= 0 for entry in payload["scores"].values())
    assert "contribution scores: 4 of 4" in captured.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["scores", "--model", "digits-vit", "--images", "0"], "0 images asked of"),
        (["scores", "--model", "digits-vit", "--rules", "x"], "rules 'x' are unknown"),
        (["scores", "--model", "digits-vit", "--statistic", "x"], "statistic 'x' is unknown"),
        (["scores", "--model", "digits-vit", "--device", "tpu"], "device 'tpu'"),
        (["scores", "--model", "digits-vot"], "digits-vit"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_two(arguments, sentence, capsys):
    assert run(main, arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("bitlens: ")
    assert sentence in lines[0]


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        (["--target", "10"], "target 10 is not a class: use 0 to 9"),
        (["--depth", "blocks.99"], "depth 'blocks.99' has no heatmap in this model: use blocks.0"),
    ],
)
def test_a_wrong_target_or_depth_is_refused(picture, tmp_path, extra, sentence, capsys):
    arguments = ["explain", "--model", "digits-vit", "--image", str(picture)]
    assert run(main, [*arguments, "--out", str(tmp_path), *extra]) == 2
    assert sentence in capsys.readouterr().err


def test_a_file_that_is_no_picture_is_refused(tmp_path, capsys):
    (tmp_path / "x.png").write_text("hello")
    arguments = ["explain", "--model", "digits-vit", "--image", str(tmp_path / "x.png")]
    assert run(main, [*arguments, "--out", str(tmp_path)]) == 2
    assert "x.png" in capsys.readouterr().err
