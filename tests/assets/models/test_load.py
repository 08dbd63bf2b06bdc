"""Loading models: the bundled three, timm's by checkpoint, and each way that can go wrong."""

import hashlib
import json
import pickle
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy import stats
from timm.data import resolve_data_config
from torch.utils.data import DataLoader

from assets.errors import InputError
from assets.models import download, load, manifest
from assets.models.load import BUNDLED, load_model
from assets.sets.image_set import load_images

SMALL = "test_vit"  # timm's own small model: 160 pixels, 1000 classes


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A checkpoint of timm's small test model with random weights."""
    torch.manual_seed(0)
    path = tmp_path / "small.safetensors"
    save_file(timm.create_model(SMALL).state_dict(), path)
    return path


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_models_come_ready_to_run(name: str) -> None:
    loaded = load_model(name)
    assert (loaded.name, loaded.input_size, loaded.num_classes) == (name, (3, 64, 64), 10)
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert all(parameter.dtype == torch.float32 for parameter in loaded.model.parameters())


@pytest.mark.parametrize("name", BUNDLED)
def test_the_manifest_tells_the_truth_about_the_file(name: str) -> None:
    listed = json.loads((manifest.FOLDER / "manifest.json").read_text())[name]
    content = (manifest.FOLDER / "weights" / f"{name}.safetensors").read_bytes()
    assert hashlib.sha256(content).hexdigest() == listed["sha256"]
    model = load_model(name).model
    assert sum(value.numel() for value in model.parameters()) == listed["parameters"]
    assert listed["images"] == 2000 and listed["top1"] >= 0.9


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_models_reach_the_accuracy_of_the_manifest(name: str) -> None:
    loaded = load_model(name)
    images = load_images(None, loaded).subset(range(400))
    hits = 0
    with torch.inference_mode():
        for pictures, labels in DataLoader(images, batch_size=100):
            hits += int((loaded.model(pictures).argmax(1) == labels).sum())
    top1 = manifest.read_manifest()[name].top1
    assert stats.binomtest(hits, 400, top1).pvalue > 1e-4


def test_the_transform_of_bundled_models_scales_to_minus_one_to_one() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    prepared = load_model("digits-vit").transform()(Image.fromarray(noise))
    assert np.allclose(prepared.permute(1, 2, 0).numpy(), noise / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "taken"),
    [("vit_tiny_patch16_224", False), ("digits-vit", False), ("maxvit_tiny_tf_384.in1k", True)],
)
def test_pictures_too_thin_for_the_models_resizing_are_refused(name: str, taken: bool) -> None:
    """The third model squashes pictures, which makes nothing larger than its input."""
    if name in BUNDLED:
        loaded = load_model(name)
    else:
        listed = timm.get_pretrained_cfg(name, allow_unregistered=False).to_dict()
        config = resolve_data_config(pretrained_cfg=listed)
        size = config["input_size"]
        loaded = load.LoadedModel(name, torch.nn.Identity(), size, config, 3, "key")
    assert (loaded.data_config["crop_mode"] == "squash") == taken
    prepare, height = loaded.transform(), loaded.input_size[1]
    assert prepare(Image.new("RGB", (700, 1))).shape == loaded.input_size
    thin = Image.new("RGB", (400_000, 1))
    if taken:
        assert prepare(thin).shape == (3, height, height)
    else:
        with pytest.raises(InputError, match="400,000 by 1 pixels: too thin"):
            prepare(thin)


def test_changed_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "digits-vit.safetensors"
    shutil.copy(manifest.weights_path("digits-vit"), copy)
    content = bytearray(copy.read_bytes())
    content[-1] ^= 1
    copy.write_bytes(content)
    monkeypatch.setattr(manifest, "weights_path", lambda name: copy)
    with pytest.raises(InputError, match="is not the file the manifest lists"):
        load_model("digits-vit")


def test_missing_weights_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "weights_path", lambda name: tmp_path / "absent")
    with pytest.raises(InputError, match=r"python -m assets\.train digits-deit"):
        load_model("digits-deit")


def test_keys_name_the_weights(weights: Path, tmp_path: Path) -> None:
    first = load_model(SMALL, weights)
    assert first.key == f"{SMALL}-{hashlib.sha256(weights.read_bytes()).hexdigest()[:12]}"
    torch.manual_seed(1)
    other = tmp_path / "other.safetensors"
    save_file(timm.create_model(SMALL).state_dict(), other)
    assert load_model(SMALL, other).key != first.key


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
@pytest.mark.parametrize("wrapper", [None, "model", "state_dict"])
def test_pytorch_checkpoints_load_wrapped_or_not(
    weights: Path, tmp_path: Path, suffix: str, wrapper: str | None
) -> None:
    expected = load_model(SMALL, weights)
    state = expected.model.state_dict()
    path = tmp_path / f"checkpoint{suffix}"
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, path)
    images = torch.randn(2, *expected.input_size, generator=torch.Generator().manual_seed(0))
    assert torch.equal(load_model(SMALL, path).model(images), expected.model(images))


def test_a_data_parallel_checkpoint_loads(weights: Path, tmp_path: Path) -> None:
    state = load_model(SMALL, weights).model.state_dict()
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / "d.pth")
    loaded = load_model(SMALL, tmp_path / "d.pth").model.state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in state.items())


def test_the_number_of_classes_follows_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "seven.safetensors"
    save_file(timm.create_model(SMALL, num_classes=7).state_dict(), path)
    loaded = load_model(SMALL, path)
    assert loaded.num_classes == 7
    assert loaded.model(torch.zeros(1, *loaded.input_size)).shape == (1, 7)


def test_a_bundled_architecture_takes_a_checkpoint(tmp_path: Path) -> None:
    state = load_model("digits-vit").model.state_dict()
    state["head.bias"] = state["head.bias"] + 1
    save_file(state, tmp_path / "mine.safetensors")
    loaded = load_model("digits-vit", tmp_path / "mine.safetensors")
    assert torch.equal(loaded.model.head.bias, state["head.bias"])
    assert loaded.key != load_model("digits-vit").key


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("deit_tinyy_patch16_224", "deit_tiny_patch16_224"),
        ("digit-vit", "digits-vit"),
        ("DIGITS-swin", "digits-swin"),
        ("swin_tinny", "swin_tiny"),
    ],
)
def test_an_unknown_name_is_answered_with_the_closest(name: str, suggestion: str) -> None:
    with pytest.raises(InputError, match=f"no model '{name}'.*{suggestion}"):
        load_model(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "vit_tiny_patch16_224.", "vit_tiny_patch16_224.not_a_tag", "../vit", "/etc/x"),
        *(
            "hf-hub:a/b",
            "hf_hub:a/b",
            "local-dir:/tmp",
            "vit_tiny_patch16_224\n",
            "vit\0",
            "\udc80",
        ),
        "v" * 100_000,
    ],
)
def test_names_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="there is no model") as caught:
        load_model(name)
    assert len(str(caught.value)) < 400 and str(caught.value).isprintable()


class Bomb:
    def __reduce__(self):
        return (print, ("this code must not run",))


def bad_files(folder: Path) -> dict[str, tuple[Path, str]]:
    """Files that are no checkpoint of the small model, and what the message must say."""
    state = timm.create_model(SMALL).state_dict()
    (folder / "garbage.safetensors").write_bytes(b"\x07" * 300)
    (folder / "garbage.pth").write_bytes(b"\x07" * 300)
    (folder / "empty.pth").write_bytes(b"")
    (folder / "empty.safetensors").write_bytes(b"")
    (folder / "notes.txt").write_text("no weights")
    (folder / "code.pth").write_bytes(pickle.dumps({"state_dict": Bomb()}, protocol=2))
    torch.save({"weights": Bomb()}, folder / "code.pt")
    torch.save([1, 2, 3], folder / "list.pth")
    torch.save({"epoch": 3}, folder / "number.pth")
    torch.save({}, folder / "nothing.pth")
    torch.save(state, folder / "cut.pth")
    (folder / "cut.pth").write_bytes((folder / "cut.pth").read_bytes()[:5000])
    save_file(timm.create_model("test_vit2").state_dict(), folder / "other.safetensors")
    save_file({k: v for k, v in state.items() if k != "norm.bias"}, folder / "less.safetensors")
    save_file(state | {"surplus": torch.zeros(1)}, folder / "more.safetensors")
    save_file(state | {"norm.bias": torch.zeros(3)}, folder / "wrong.safetensors")
    save_file({"head.weight": torch.zeros(())}, folder / "scalar.safetensors")
    expected = {
        "absent.pth": "there is no checkpoint at",
        "garbage.safetensors": "is no checkpoint: give a safetensors or a PyTorch file",
        "empty.safetensors": "is empty",
        "garbage.pth": "is no checkpoint",
        "empty.pth": "is empty",
        "cut.pth": "cannot be read",
        "notes.txt": "is no checkpoint",
        "code.pth": "it holds more than weights",
        "code.pt": "it holds more than weights",
        "list.pth": "holds no state dict",
        "number.pth": "holds no state dict",
        "nothing.pth": "holds no state dict",
        "other.safetensors": "does not fit test_vit",
        "less.safetensors": "norm.bias is missing",
        "more.safetensors": "the model has no surplus",
        "wrong.safetensors": r"norm.bias has shape \(3,\) there and \(64,\) in the model",
        "scalar.safetensors": "does not fit test_vit",
    }
    return {name: (folder / name, text) for name, text in expected.items()}


def test_each_bad_checkpoint_is_refused_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path, text in bad_files(tmp_path).values():
        with pytest.raises(InputError, match=text) as caught:
            load_model(SMALL, path)
        assert "\n" not in str(caught.value)
    assert "must not run" not in capsys.readouterr().out


def test_without_a_network_the_remedies_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unresolved(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unresolved)
    monkeypatch.setattr(download.urllib.request, "getproxies", dict)
    monkeypatch.setattr(download.huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    with pytest.raises(InputError, match=r"no network.*--checkpoint FILE.*digits-vit"):
        load_model("vit_tiny_patch16_224", download=True)


def test_nothing_is_asked_of_the_network_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", forbidden)
    monkeypatch.setattr(socket.socket, "connect", forbidden)
    with pytest.raises(InputError, match=r"--download.*--checkpoint FILE"):
        load_model("vit_tiny_patch16_224")


def test_weights_that_were_downloaded_need_no_network(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", forbidden)
    monkeypatch.setattr(socket.socket, "connect", forbidden)
    monkeypatch.setattr(download.huggingface_hub, "try_to_load_from_cache", lambda *_: str(weights))
    loaded, expected = load_model(SMALL), load_file(weights)
    assert all(torch.equal(v, expected[k]) for k, v in loaded.model.state_dict().items())


def test_a_broken_connection_is_told_and_a_bug_is_not_hidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    errors = iter([ConnectionResetError("reset"), KeyError("bug")])

    def failing(*_: object, **__: object) -> None:
        raise next(errors)

    monkeypatch.setattr(download, "_reachable", lambda: True)
    monkeypatch.setattr(download.timm, "create_model", failing)
    with pytest.raises(InputError, match="--checkpoint FILE"):
        load_model("vit_tiny_patch16_224", download=True)
    with pytest.raises(KeyError, match="bug"):
        load_model("vit_tiny_patch16_224", download=True)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("not enough memory: you tried")])
def test_a_model_too_large_for_the_memory_is_told(
    error: Exception, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(load.timm, "create_model", failing)
    with pytest.raises(InputError, match="needs more memory than there is"):
        load_model(SMALL, weights)


def test_a_model_without_published_weights_asks_for_a_checkpoint() -> None:
    published = {name.partition(".")[0] for name in timm.list_pretrained("vit*")}
    unpublished = next(name for name in timm.list_models("vit*") if name not in published)
    with pytest.raises(InputError, match=r"no pretrained weights.*--checkpoint FILE"):
        load_model(unpublished)


def test_a_model_without_classes_is_refused(tmp_path: Path) -> None:
    headless = timm.create_model(SMALL, num_classes=0)
    with pytest.raises(InputError, match="does not classify"):
        load._ready("headless", headless, "0" * 64, torch.device("cpu"))


@pytest.mark.real_data
def test_real_deit_tiny_loads_and_recognises_photographs(real_data: Path) -> None:
    loaded = load_model("deit_tiny_patch16_224", real_data / "deit_tiny_patch16_224.safetensors")
    images = load_images(real_data / "imagenet_sample", loaded)
    assert (loaded.input_size, loaded.num_classes, len(images)) == ((3, 224, 224), 1000, 500)
    chosen = images.subset(range(0, 500, 10))
    pictures = torch.stack([chosen[index][0] for index in range(50)])
    labels = torch.tensor([chosen.label(index) for index in range(50)])
    with torch.inference_mode():
        hits = int((loaded.model(pictures).argmax(1) == labels).sum())
    # About 80 % of such pictures are known to be recognised; a wrong class order gives 0 %.
    assert stats.binomtest(hits, 50, 0.8).pvalue > 1e-4
