"""Checkpoints on the command line: what was done to them is said, and bad ones leave no trace."""

import json
import os
import socket
from pathlib import Path

import pytest
import torch
from timm.utils import CheckpointSaver

from assets.models.load import load_model
from assets.terminal import run
from lrp.__main__ import main as lrp
from quant.__main__ import main as quant

MODEL = ("--model", "digits-swin")


def test_a_training_state_is_scored_and_its_notes_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = load_model("digits-swin").model
    saver = CheckpointSaver(
        model,
        torch.optim.SGD(model.parameters(), 0.1),
        model_ema=model,
        checkpoint_dir=str(tmp_path),
        recovery_dir=str(tmp_path),
    )
    saver.save_checkpoint(0, metric=97.0)
    file = str(tmp_path / "model_best.pth.tar")
    asked = ["scores", *MODEL, "--images", "2", "--json", "-"]
    assert run(lrp, [*asked, "--checkpoint", file]) == 0
    told = capsys.readouterr()
    own = json.loads(told.out)
    note = "of its weights the averaged ones are used (state_dict_ema)"
    assert own["notes"] == [note] and f"bitlens: {note}\n" in told.err
    assert run(lrp, asked) == 0
    bundled = json.loads(capsys.readouterr().out)
    assert own["scores"] == bundled["scores"] and bundled["notes"] == []


@pytest.mark.parametrize("bad", ["nan", "pipe", "absent", "long", "null"])
def test_a_bad_checkpoint_is_refused_before_anything_is_written(
    bad: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("BITLENS_HOME", str(home))
    state = load_model("digits-swin").model.state_dict()
    state["head.fc.weight"] = state["head.fc.weight"] / 0
    torch.save(state, tmp_path / "nan")
    os.mkfifo(tmp_path / "pipe")
    name = {"long": "x" * 300, "null": "a\0b"}.get(bad, bad)
    asked = ["evaluate", *MODEL, "--weight-bits", "4", "--activation-bits", "4"]
    assert run(quant, [*asked, "--checkpoint", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("bitlens: ") and said.count("\n") == 1
    assert bad != "nan" or "head.fc.weight, of layer head.fc, in nan has NaN" in said
    assert not home.exists() or not any(path.is_file() for path in home.rglob("*"))


def test_a_name_alone_asks_nothing_of_the_network(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: asked.append(1))
    assert run(lrp, ["scores", "--model", "vit_tiny_patch16_224"]) == 2
    assert "ask for their download (--download)" in capsys.readouterr().err and not asked
