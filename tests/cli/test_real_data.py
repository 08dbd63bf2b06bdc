"""Real DeiT-Tiny on real ImageNet images, through the options a user has."""

import json

import pytest
import timm
import torch
from timm.data import ImageNetInfo, create_transform, resolve_model_data_config
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import ImageFolder

from assets.models.load import load_model
from assets.sets.image_set import load_images
from lrp.__main__ import main as explain
from lrp.engine.layers import list_layers
from quant.__main__ import main as quantize
from quant.evaluation.image_set import Pictures
from quant.evaluation.logits import float_logits
from quant.evaluation.stream import stream
from tests.quant.report.parsed import Page

pytestmark = pytest.mark.real_data
MODEL = "deit_tiny_patch16_224"
COMMANDS = {"lrp": explain, "quant": quantize}


@pytest.fixture(scope="module")
def checkpoint(real_data):
    return real_data / f"{MODEL}.safetensors"


@pytest.fixture(scope="module")
def folder(real_data):
    return real_data / "imagenet_sample" / "val"


@pytest.fixture
def command(checkpoint, capsys):
    """Run `python -m ...` for this model and return its JSON."""

    def call(module, verb, *arguments):
        given = ("--model", MODEL, "--checkpoint", checkpoint, *arguments, "--json", "-")
        assert COMMANDS[module]([verb, *map(str, given)]) == 0
        return json.loads(capsys.readouterr().out)

    return call


def test_it_classifies_what_plain_timm_and_torchvision_classify(checkpoint, folder):
    loaded = load_model(MODEL, checkpoint)
    images = load_images(folder, loaded)
    assert len(images) == 500
    assert len(list_layers(loaded.model, loaded.input_size)) == 74
    places = range(0, 500, 2)
    plain = float_logits(loaded.model)
    *_, last = stream(plain, Pictures(images.subset(list(places))), plain)
    found = last.answers.evaluation(last.seconds)
    model = timm.create_model(MODEL, checkpoint_path=str(checkpoint)).eval()
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    folders = ImageFolder(folder, transform)
    indices = torch.tensor([ImageNetInfo().label_names().index(name) for name in folders.classes])
    hits = 0
    with torch.inference_mode():
        for pictures, labels in DataLoader(Subset(folders, places), 50):
            hits += int((model(pictures).argmax(1) == indices[labels]).sum())
    assert found.top1 == hits / len(places)
    assert 0.72 <= found.top1 <= 0.84


def test_it_is_explained(checkpoint, folder, tmp_path):
    given = ("--checkpoint", checkpoint, "--image", min(folder.glob("*/*")), "--out", tmp_path)
    assert explain(["explain", "--model", MODEL, *map(str, given)]) == 0
    payload = json.loads((tmp_path / "explanation.json").read_text())
    assert len(payload["layers"]) == 74
    assert (tmp_path / "overlay.png").stat().st_size > 10_000


def test_it_is_scored(command, folder):
    payload = command("lrp", "scores", "--data", folder, "--images", 8)
    assert len(payload["scores"]) == 74
    assert sum(entry["mean"] for entry in payload["scores"].values()) == pytest.approx(1, abs=1e-3)


def test_its_maps_are_faithful(command, folder):
    arguments = ("--methods", "random", "--images", 3, "--batch", 3, "--steps", 4)
    payload = command("lrp", "faithfulness", "--data", folder, *arguments)
    best, control = (payload["methods"][name] for name in ("attn-lrp", "random"))
    assert best["gap"] > 0.1 > abs(control["gap"])
    assert best["curves"]["morf"][0] == control["curves"]["morf"][0] > 0.1
    assert "localisation" not in best


def test_it_is_allocated_and_evaluated(command, folder, tmp_path):
    calibrated = ("--data", folder, "--calibration-images", 8)
    # three widths, spent by relevance: sensitivities need calibrations at all seven, minutes here
    spent = ("--average-bits", 6, "--objective", "lrp", "--menu", 4, 6, 8)
    allocation = command("quant", "allocate", *calibrated, *spent)
    assert allocation["gap"] == pytest.approx(0, abs=1e-6)
    assert allocation["size_bytes"] <= allocation["uniform"]["size_bytes"]
    assert allocation["bitops"] <= allocation["uniform"]["bitops"]
    (tmp_path / "a.json").write_text(json.dumps(allocation))
    images = (*calibrated, "--limit", 120)
    mixed = command("quant", "evaluate", *images, "--allocation", tmp_path / "a.json")
    eight, four = (
        command("quant", "evaluate", *images, "--weight-bits", b, "--activation-bits", b)
        for b in (8, 4)
    )
    assert eight["quantized"]["agreement"] > 0.9
    assert four["quantized"]["top1"] > 0.4
    assert four["quantized"]["agreement"] < eight["quantized"]["agreement"]
    assert mixed["images"] == eight["images"] == 120
    assert four["size_bytes"] < mixed["size_bytes"] < eight["size_bytes"]
    check_report(tmp_path / "report.html", mixed, four)


def check_report(out, *measured):
    """The report of runs is a small file that fetches nothing and shows eight images."""
    runs = [str(payload["run"]) for payload in measured]
    assert quantize(["report", *runs, "--out", str(out)]) == 0
    page = Page(out.read_text(encoding="utf-8"))
    assert page.fetched == page.faults == []
    assert out.stat().st_size < 5_000_000
    assert len([img for img in page.named("img") if img["width"] == "224"]) == 3 * 8
    shown = {row["run"]: row["top-1"] for row in page.table("configuration")}
    for payload in measured:
        assert shown[str(payload["run"])] == f"{100 * payload['quantized']['top1']:.1f} %"
