"""`python -m quant export`: files that other programs run, or one sentence and no file."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest

from assets import outputs
from assets.models.load import load_model
from assets.sets.image_set import load_images
from assets.terminal import run
from quant.__main__ import main
from quant.export import formats, onnx_runtime

EXPORT = ["export", "--to", "onnx", "--calibration-images", "8", "--check-images", "24"]
pytestmark = pytest.mark.usefixtures("traced_once")
W8A8 = ["--weight-bits", "8", "--activation-bits", "8"]


def exported(capsys, path, *arguments):
    assert main([*EXPORT, "--out", str(path), "--json", "-", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def answers(path, images):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": images})
    return logits.argmax(1)


@pytest.mark.parametrize("model", ["digits-vit", "digits-deit", "digits-swin"])
def test_a_model_is_written_checked_and_runs_elsewhere(model, capsys, tmp_path):
    path = tmp_path / "new" / "model.onnx"
    payload = exported(capsys, path, "--model", model, *W8A8)
    assert payload["bytes"] == path.stat().st_size < 0.4 * payload["float_bytes"]
    assert payload["check"]["images"] == 24
    assert payload["check"]["equal"] >= 23 / 24
    found = payload["accuracy"]["exported"]
    assert found["images"] == 24
    assert found["difference_low"] <= found["difference"] <= found["difference_high"]
    assert payload["latency"]["low"] <= payload["latency"]["ratio"] <= payload["latency"]["high"]
    assert payload["integer_products"] > 0
    pictures = load_images(None, load_model(model))
    images = np.stack([pictures[i][0].numpy() for i in range(24)])
    labels = np.array([pictures.label(i) for i in range(24)])
    assert (answers(path, images) == labels).mean() > 0.8


def test_qonnx_holds_any_width(capsys, tmp_path):
    path = tmp_path / "model.onnx"
    bits = ["--weight-bits", "5", "--activation-bits", "7", "--preset", "integer"]
    bits += ["--check-images", "8"]
    payload = exported(capsys, path, "--to", "qonnx", "--model", "digits-vit", *bits)
    assert payload["check"]["equal"] >= 7 / 8
    nodes = [n for n in onnx.load(path).graph.node if n.op_type == "Quant"]
    assert len(nodes) > 30
    assert {n.domain for n in nodes} == {"qonnx.custom_op.general"}


def test_the_file_says_what_it_is(capsys, tmp_path):
    path = tmp_path / "model.onnx"
    payload = exported(capsys, path, "--model", "digits-vit", *W8A8)
    facts = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert facts["model"] == "digits-vit"
    assert facts["weights"] == payload["weights"]
    assert facts["preset"] == "integer"
    assert set(json.loads(facts["allocation"]).values()) == {"W8A8"}
    kept = json.loads(facts["check"])
    assert kept["check"] == payload["check"]
    assert set(kept["versions"]) == {"onnx", "onnxruntime", "torch", "timm"}
    assert json.loads(facts["pictures"])["input_size"] == [3, 64, 64]


def test_bits_by_layer_come_from_a_file(capsys, tmp_path):
    bits = tmp_path / "bits.json"
    budget = ["--average-bits", "5", "--preset", "bitlens-affine"]
    asked = ["--model", "digits-vit", "--calibration-images", "8", *budget, "--json", str(bits)]
    assert main(["allocate", *asked]) == 0
    capsys.readouterr()
    path = tmp_path / "model.onnx"
    payload = exported(capsys, path, "--model", "digits-vit", "--allocation", str(bits))
    assert payload["configuration"] == "bits"
    assert payload["preset"] == "bitlens-affine"  # by which the bits were chosen
    assert payload["opset"] in (20, 21, 25)
    wrong = [*EXPORT, "--model", "digits-swin", "--allocation", str(bits), "--out", str(path)]
    before = path.read_bytes()
    assert run(main, wrong) == 2
    assert path.read_bytes() == before


W4A4 = ["--weight-bits", "4", "--activation-bits", "4"]
W2A2 = ["--weight-bits", "2", "--activation-bits", "2"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([*W4A4, "--opset", "20"], "use --opset 21"),
        ([*W2A2, "--opset", "24"], "use --opset 25"),
        ([*W8A8, "--opset", "19"], "use --opset 20"),
        ([*W8A8, "--opset", "99"], "too new"),
        ([*W8A8, "--preset", "repq-vit"], "use the preset integer"),
        ([*W8A8, "--preset", "bitlens:gelu=adalog"], "use the preset integer"),
        ([*W8A8, "--preset", "bitlens-dynamic"], "use the preset integer"),
        ([*W8A8, "--to", "qonnx", "--preset", "integer:tokens=scaled"], "use the preset integer"),
        ([*W8A8, "--to", "qonnx", "--preset", "bitlens"], "use the preset integer"),
        ([*W8A8, "--to", "qonnx", "--preset", "integer", "--opset", "7"], "use --opset 20"),
        (["--weight-bits", "8"], "--activation-bits"),
        ([*W8A8, "--check-images", "0"], "use 1 or more"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(arguments, says, capsys, tmp_path):
    path = tmp_path / "model.onnx"
    assert run(main, [*EXPORT, "--model", "digits-vit", "--out", str(path), *arguments]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("bitlens: ")
    assert says in error
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_file_as_it_was(capsys, tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"before")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outputs.os, "fsync", full)
    assert run(main, [*EXPORT, "--model", "digits-vit", *W8A8, "--out", str(path)]) == 2
    assert "No space left" in capsys.readouterr().err.splitlines()[-1]
    assert [one.read_bytes() for one in tmp_path.iterdir()] == [b"before"]


def test_other_answers_are_an_error_and_no_file_is_left(capsys, tmp_path, monkeypatch):
    session = onnx_runtime.session

    def turned(model):
        ran, kernels = session(model)
        return (lambda images: -ran(images)), kernels

    monkeypatch.setattr(onnx_runtime, "session", turned)
    path = tmp_path / "model.onnx"
    assert run(main, [*EXPORT, "--model", "digits-vit", *W8A8, "--out", str(path)]) == 2
    assert "other answers than Bitlens" in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_missing_packages_are_told_with_what_installs_them(capsys, tmp_path, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError("No module named 'onnx'", name="onnx")

    monkeypatch.setattr(formats, "import_module", missing)
    path = tmp_path / "model.onnx"
    assert run(main, [*EXPORT, "--model", "digits-vit", *W8A8, "--out", str(path)]) == 2
    assert "run `make export-tools`" in capsys.readouterr().err.splitlines()[-1]


def test_standard_output_is_no_place_for_a_model(capsys):
    assert run(main, [*EXPORT, "--model", "digits-vit", *W8A8, "--out", "-"]) == 2
    assert "name a file" in capsys.readouterr().err.splitlines()[-1]


def test_integer_residual_sums_are_refused_before_any_work(capsys, tmp_path):
    path = tmp_path / "model.onnx"
    asked = ["--out", str(path), "--model", "digits-vit", "--preset", "integer:stream=8", *W8A8]
    assert run(main, [*EXPORT, *asked]) == 2
    (sentence,) = capsys.readouterr().err.strip().splitlines()
    assert "stream=8" in sentence
    assert "use stream=off" in sentence
    assert not path.exists()
