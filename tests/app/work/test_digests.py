"""A file of weights that changed is read again, however it was changed; an unchanged one is not."""

import hashlib
import os
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from app.state.selection import ModelChoice
from app.work import digests, models
from app.work.digests import weights_held
from assets.errors import InputError
from assets.models import manifest
from assets.models.load import load_model

MODEL = "digits-vit"


def write(path: Path, shift: float) -> str:
    """Write weights whose head is shifted; return the SHA-256 of the file."""
    state = load_file(manifest.weights_path(MODEL))
    state["head.bias"] = state["head.bias"] + shift
    save_file(state, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def in_place(path: Path, beside: Path) -> None:
    with path.open("r+b") as file:
        file.write(beside.read_bytes())


def same_times(path: Path, beside: Path) -> None:
    facts = path.stat()
    in_place(path, beside)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def replaced(path: Path, beside: Path) -> None:
    facts = path.stat()
    os.utime(beside, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    beside.replace(path)


@pytest.mark.parametrize("change", [in_place, same_times, replaced])
@pytest.mark.parametrize("settled", [0.0, 2.0])
def test_the_page_reads_what_a_file_holds_now(
    change, settled: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "SETTLED", settled)
    path, choice = tmp_path / "w.safetensors", ModelChoice(MODEL, str(tmp_path / "w.safetensors"))
    first = write(path, 0.5)
    time.sleep(0.02)  # the clock of the file system has steps
    loaded = models.load(choice, "cpu")
    assert models.load(choice, "cpu") is loaded and loaded.key.endswith(first[:12])
    second = write(tmp_path / "other", 1.5)
    change(path, tmp_path / "other")
    again = models.load(choice, "cpu")
    assert again.key.endswith(second[:12]) and again.key == load_model(MODEL, path).key
    assert torch.allclose(again.model.head.bias - loaded.model.head.bias, torch.tensor(1.0))


def test_an_unchanged_file_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, reads = tmp_path / "w.safetensors", []
    expected = write(path, 0.25)
    digest = hashlib.file_digest
    monkeypatch.setattr(digests, "SETTLED", -1.0)
    monkeypatch.setattr(
        digests.hashlib, "file_digest", lambda *args: reads.append(1) or digest(*args)
    )
    assert [weights_held(MODEL, str(path)) for _ in range(3)] == [expected] * 3
    assert len(reads) == 1


def test_a_file_that_is_replaced_while_it_is_read_is_not_taken_for_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.safetensors"
    write(path, 0.75)
    monkeypatch.setattr(models, "weights_held", lambda *_: "0" * 64)
    with pytest.raises(InputError, match="changed while it was read"):
        models.load(ModelChoice(MODEL, str(path)), "cpu")


def test_bundled_weights_are_followed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = weights_held(MODEL, None)
    assert known == manifest.read_manifest()[MODEL].sha256
    expected = write(tmp_path / "w", 1.0)
    monkeypatch.setattr(digests, "weights_path", lambda _: tmp_path / "w")
    assert weights_held(MODEL, None) == expected


def test_what_is_no_file_is_said() -> None:
    with pytest.raises(InputError, match="a device or a pipe"):
        models.load(ModelChoice(MODEL, "/dev/zero"), "cpu")
    with pytest.raises(InputError, match="there is no checkpoint"):
        models.load(ModelChoice(MODEL, "/absent"), "cpu")
