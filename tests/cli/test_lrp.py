"""`python -m lrp`, called in process as a user's arguments would call it."""

import json

import numpy as np
import pytest
from PIL import Image

from assets.pictures import digits
from assets.terminal import run
from lrp.__main__ import main
from lrp.methods.catalogue import METHODS
from lrp.propagation.rules import PRESETS


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
    assert payload["rules"]["name"] == "ATTN_LRP"
    assert payload["rules"]["softmax"] == "taylor"
    assert set(payload["versions"]) == {"bitlens", "torch", "timm", "python"}
    assert payload["target"] == payload["top5"][0]
    arrays = np.load(out / "relevance.npz")
    assert arrays["pixels"].shape == (64, 64)
    assert {"pixels", payload["depth"], *payload["blocks"]} <= set(arrays.files)
    assert set(arrays.files) <= {"pixels", *payload["blocks"], *payload["layers"]}
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


@pytest.mark.parametrize("rules", PRESETS)
def test_layers_are_scored_by_every_preset(rules, capsys):
    arguments = ["scores", "--model", "digits-vit", "--images", "2", "--rules", rules.lower()]
    assert main([*arguments, "--json", "-"]) == 0
    payload = json.loads(capsys.readouterr().out)
    assert payload["rules"] == rules
    assert sum(entry["mean"] for entry in payload["scores"].values()) == pytest.approx(1, abs=1e-4)


def test_scores_say_how_steady_their_order_is(tmp_path, capsys):
    path = tmp_path / "scores.json"
    arguments = ["scores", "--model", "digits-vit", "--json", str(path), "--images"]
    assert main([*arguments, "4"]) == 0
    stability = json.loads(path.read_text())["stability"]
    assert 0 < stability < 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"rank correlation between halves of the images: {stability:.3f}"
    assert main([*arguments, "2"]) == 0
    assert json.loads(path.read_text())["stability"] is None
    assert "rank correlation" not in capsys.readouterr().out


FAITHFULNESS = ["faithfulness", "--model", "digits-vit", "--steps", "4"]


def faithfulness(capsys, *arguments):
    """Return what the command prints as JSON, and its standard error."""
    assert main([*FAITHFULNESS, *arguments, "--json", "-"]) == 0
    captured = capsys.readouterr()
    return json.loads(captured.out), captured.err


def test_faithfulness_goes_to_standard_output_alone(capsys):
    payload, errors = faithfulness(capsys, "--methods", "random,rollout", "--images", "5")
    assert payload["default"] == "attn-lrp" and payload["images"] == 5
    assert list(payload["methods"]) == ["attn-lrp", "rollout", "random"]
    for entry in payload["methods"].values():
        curves = entry["curves"]
        assert curves["deleted"] == [0, 0.25, 0.5, 0.75, 1]
        for name in ("morf", "lerf"):
            assert entry[name] == pytest.approx(sum(curves[name]) / 5, abs=1e-5)
        assert entry["gap"] == pytest.approx(entry["lerf"] - entry["morf"], abs=1e-5)
        assert entry["gap_se"] > 0 and entry["seconds"] > 0 and entry["cost"] > 0
        best = payload["methods"]["attn-lrp"]["gap"]
        assert entry["versus_default"]["mean"] == pytest.approx(entry["gap"] - best, abs=1e-5)
        assert 0 < entry["localisation"]["mass"] < 1
    assert payload["methods"]["attn-lrp"]["gap"] > payload["methods"]["random"]["gap"]
    assert "faithfulness, maps: 15 of 15" in errors


def test_skipped_images_are_the_first_of_the_same_order(capsys):
    def gap(*arguments):
        payload, _ = faithfulness(capsys, "--methods", "attn-lrp", *arguments)
        return payload["methods"]["attn-lrp"]["gap"]

    first, others = gap("--images", "2"), gap("--images", "2", "--skip", "2")
    assert first != others
    assert gap("--images", "4", "--batch", "3") == pytest.approx((first + others) / 2, abs=1e-4)
    assert gap("--images", "2", "--seed", "1") != first


def test_faithfulness_prints_a_table(tmp_path, capsys):
    path = tmp_path / "found.json"
    arguments = ["--methods", "random", "--images", "3", "--json", str(path)]
    assert main([*FAITHFULNESS, *arguments]) == 0
    title, _, heading, *lines = capsys.readouterr().out.splitlines()
    assert title == "digits-vit; images: 3; 64 cells in 4 steps"
    assert heading.split("  ")[0] == "method" and heading.endswith("mass  pointing")
    methods = json.loads(path.read_text())["methods"]
    for line, (name, entry) in zip(lines[:2], methods.items(), strict=True):
        assert line.startswith(name)
        assert f"{entry['gap']:.3f} +- {entry['gap_se']:.3f}" in line


def test_the_default_can_be_measured_at_every_depth(capsys):
    payload, _ = faithfulness(capsys, "--methods", "depths,random", "--images", "2")
    found = payload["methods"]
    blocks = [f"attn-lrp@blocks.{index}" for index in range(6)]
    assert list(found) == ["attn-lrp", "random", *blocks, "attn-lrp@pixels"]
    assert found["attn-lrp"]["gap"] == found["attn-lrp@blocks.1"]["gap"]  # a quarter of the way


def test_captums_measures_come_when_asked_for(tmp_path, capsys):
    path = tmp_path / "found.json"
    arguments = ["--methods", "random", "--images", "1", "--captum", "--json", str(path)]
    assert main([*FAITHFULNESS, *arguments]) == 0
    heading, *lines = capsys.readouterr().out.splitlines()[2:]
    assert heading.endswith("infidelity  sensitivity")
    methods = json.loads(path.read_text())["methods"]
    for line, (name, entry) in zip(lines[:2], methods.items(), strict=True):
        assert line.startswith(name)
        assert line.endswith(f"{entry['max_sensitivity']:.3f}")
        assert entry["infidelity"] > 0


def test_one_image_has_no_standard_error(capsys):
    payload, _ = faithfulness(capsys, "--methods", "attn-lrp", "--images", "1")
    assert payload["methods"]["attn-lrp"]["gap_se"] is None
    assert main([*FAITHFULNESS, "--methods", "attn-lrp", "--images", "1"]) == 0
    assert "+-" not in capsys.readouterr().out.split("\n\n")[1]


def test_methods_that_do_not_suit_are_left_out_unless_asked_for(monkeypatch, capsys):
    few = {name: METHODS[name] for name in ("attn-lrp", "gradient-attention", "rollout", "random")}
    for module in ("lrp.commands.faithfulness", "lrp.methods.catalogue"):
        monkeypatch.setattr(f"{module}.METHODS", few)
    arguments = ["faithfulness", "--model", "digits-swin", "--images", "1", "--steps", "2"]
    assert main([*arguments, "--json", "-"]) == 0
    captured = capsys.readouterr()
    assert list(json.loads(captured.out)["methods"]) == ["attn-lrp", "random"]
    sentence = captured.err.splitlines()[0]
    assert sentence.endswith("digits-swin does not suit them: gradient-attention, rollout")
    assert run(main, [*arguments, "--methods", "rollout"]) == 2
    assert "rollout cannot be had for digits-swin" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["scores", "--model", "digits-vit", "--images", "0"], "0 images asked of"),
        (["scores", "--model", "digits-vit", "--rules", "x"], "rules 'x' are unknown"),
        (["scores", "--model", "digits-vit", "--statistic", "x"], "statistic 'x' is unknown"),
        (["scores", "--model", "digits-vit", "--device", "tpu"], "device 'tpu'"),
        (["scores", "--model", "digits-vot"], "digits-vit"),
        ([*FAITHFULNESS, "--methods", "lrp"], "method 'lrp' is unknown: use one of attn-lrp,"),
        ([*FAITHFULNESS, "--images", "0"], "0 images asked of 2000 left"),
        ([*FAITHFULNESS, "--skip", "1999", "--images", "2"], "2 images asked of 1 left"),
        ([*FAITHFULNESS, "--skip", "2000"], "2000 images to skip: use 0 to 1999"),
        ([*FAITHFULNESS, "--batch", "0"], "a batch of 0 images: use 1 or more"),
        ([*FAITHFULNESS, "--steps", "65"], "65 steps to delete 64 cells: use 2 to 64"),
        ([*FAITHFULNESS, "--data", "nowhere"], "there is no folder nowhere"),
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
