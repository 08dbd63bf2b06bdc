"""Checkpoints as people have them: wrapped, prefixed, of other layouts, odd, or none at all.

A model that timm built and ran itself is what the loaded one is compared with, by its logits.
"""

import argparse
import io
import os
import pickle
import re
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.utils import CheckpointSaver, ModelEmaV3
from torch import Tensor, nn

from assets.errors import InputError
from assets.models.architectures import build
from assets.models.load import load_model
from assets.models.reading import read_content

SMALL = "test_vit"  # timm's own small model: 160 pixels, 1000 classes
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(1)
    return timm.create_model(SMALL, num_classes=7).eval()


@pytest.fixture(scope="module")
def state(model: nn.Module) -> State:
    return {key: value.clone() for key, value in model.state_dict().items()}


def logits(model: nn.Module, size: int = 160) -> Tensor:
    with torch.inference_mode():
        return model(torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0)))


def saved(held: object, path: Path, **how: object) -> Path:
    torch.save(held, path, **how)
    return path


def under(prefix: str, state: State) -> State:
    return {f"{prefix}{key}": value for key, value in state.items()}


@pytest.mark.parametrize(
    "prefix",
    [
        *("module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model."),
        *("model.module._orig_mod.", "net.backbone.", "a.b.c.d.", "_fsdp_wrapped_module.module."),
    ],
)
def test_prefixes_of_wrappers_are_taken_off(
    prefix: str, model: nn.Module, state: State, tmp_path: Path
) -> None:
    loaded = load_model(SMALL, saved(under(prefix, state), tmp_path / "w.pth"))
    assert torch.equal(logits(loaded.model), logits(model)) and not loaded.notes


def test_blocks_that_were_compiled_alone_load(
    model: nn.Module, state: State, tmp_path: Path
) -> None:
    inner = {re.sub(r"^blocks\.\d+\.", r"\g<0>_orig_mod.", key): v for key, v in state.items()}
    assert set(inner) != set(state)
    loaded = load_model(SMALL, saved(under("module.", inner), tmp_path / "w.pth"))
    assert torch.equal(logits(loaded.model), logits(model))


def others(state: State) -> State:
    return {key: value + 1 for key, value in state.items()}


@pytest.mark.parametrize("where", ["state_dict_ema", "model_ema", "ema", "ema_state_dict"])
def test_averaged_weights_are_preferred_and_that_is_said(
    where: str, model: nn.Module, state: State, tmp_path: Path
) -> None:
    held = {"epoch": 3, "state_dict": others(state), where: under("module.", state)}
    loaded = load_model(SMALL, saved(held, tmp_path / "w.pth"))
    assert torch.equal(logits(loaded.model), logits(model))
    assert loaded.notes == (f"of its weights the averaged ones are used ({where})",)


@pytest.mark.parametrize(
    "held",
    [
        lambda s: {"model": {"state_dict": s}},
        lambda s: {"state_dict": others(s), "state_dict_ema": {"state_dict": s}},
        lambda s: {"state_dict_ema": None, "state_dict": s},
        lambda s: {"state_dict": s, "model": others(s)},
        lambda s: {"state_dict": {**under("model.", s), "loss.weight": torch.ones(7)}},
        lambda s: {"state_dict": {**under("model.", others(s)), **under("ema_model.module.", s)}},
        lambda s: {"net": s, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}},
        lambda s: {"module": s, "epoch": 1},
        lambda s: {**s, "epoch": 3, "arch": "test_vit", "n_averaged": torch.tensor(5)},
        lambda s: {**s, "attn_index": torch.arange(4), "mask": torch.ones(2, dtype=torch.bool)},
        lambda s: OrderedDict(s),
        lambda s: {key: nn.Parameter(value) for key, value in s.items()},
        lambda s: {"args": argparse.Namespace(lr=0.1, betas=(0.9, 0.99)), "state_dict": s},
        lambda s: {key: value.double() for key, value in s.items()},
    ],
)
def test_training_states_give_their_weights(
    held, model: nn.Module, state: State, tmp_path: Path
) -> None:
    loaded = load_model(SMALL, saved(held(state), tmp_path / "w.pth"))
    assert torch.equal(logits(loaded.model), logits(model))


def test_a_dict_that_holds_itself_is_read(model: nn.Module, state: State, tmp_path: Path) -> None:
    held: dict[str, object] = {f"k{n}": None for n in range(30)}
    held.update(dict.fromkeys(held, held), weights=state)
    loaded = load_model(SMALL, saved(held, tmp_path / "w.pth"))
    assert torch.equal(logits(loaded.model), logits(model))


@pytest.mark.parametrize(
    "held",
    [
        lambda s: {"student": s, "teacher": others(s)},
        lambda s: {**under("student.", s), **under("teacher.", others(s))},
    ],
)
def test_one_of_several_models_is_not_guessed(held, state: State, tmp_path: Path) -> None:
    path = saved(held(state), tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"several models, student\.? and teacher"):
        load_model(SMALL, path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(dtype: torch.dtype, state: State, tmp_path: Path) -> None:
    half = {key: value.to(dtype) for key, value in state.items()}
    loaded = load_model(SMALL, saved(half, tmp_path / "w.pth")).model.state_dict()
    assert all(torch.equal(loaded[key], value.float()) for key, value in half.items())


@pytest.mark.parametrize("ending", ["", ".pth", ".pth.tar", ".ckpt", ".safetensors", ".PTH"])
@pytest.mark.parametrize("kind", ["zip", "old", "safetensors"])
def test_the_content_tells_the_kind_and_not_the_name(
    ending: str, kind: str, model: nn.Module, state: State, tmp_path: Path
) -> None:
    path = tmp_path / f"w{ending}"
    if kind == "safetensors":
        save_file(state, path)
    else:
        saved(state, path, _use_new_zipfile_serialization=kind == "zip")
    assert torch.equal(logits(load_model(SMALL, path).model), logits(model))


def test_what_timms_training_script_saves_loads(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimizer, args = torch.optim.AdamW(model.parameters()), argparse.Namespace(model=SMALL)
    folders = {"checkpoint_dir": str(tmp_path), "recovery_dir": str(tmp_path)}
    CheckpointSaver(model, optimizer, args, **folders).save_checkpoint(0, metric=97.0)
    best = tmp_path / "model_best.pth.tar"
    expected = timm.create_model(SMALL, num_classes=7, checkpoint_path=str(best)).eval()
    loaded = load_model(SMALL, best)
    assert torch.equal(logits(loaded.model), logits(expected))
    average = ModelEmaV3(model)
    with torch.no_grad():
        average.module.head.bias += 1
    saver = CheckpointSaver(model, optimizer, args, model_ema=average, **folders)
    saver.save_checkpoint(1, metric=98.0)
    assert torch.equal(logits(load_model(SMALL, best).model), logits(average.module))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in ("model_best.pth.tar", "~/model_best.pth.tar"):
        assert torch.equal(logits(load_model(SMALL, path).model), logits(average.module))


def old_swin(state: State) -> State:
    """The layout of Swin's authors, with the buffers that they saved too."""

    def name(key: str) -> str:
        key = re.sub(
            r"layers\.(\d+)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", key
        )
        return key.replace("head.fc.", "head.")

    return {
        **{name(key): value for key, value in state.items()},
        "layers.0.blocks.0.attn.relative_position_index": torch.zeros(49, 49, dtype=torch.int64),
        "layers.0.blocks.1.attn_mask": torch.zeros(64, 49, 49),
    }


def test_the_layout_of_swins_authors_is_turned_by_timm(tmp_path: Path) -> None:
    torch.manual_seed(2)
    model = timm.create_model("swin_tiny_patch4_window7_224", num_classes=5).eval()
    path = saved({"model": under("module.", old_swin(model.state_dict()))}, tmp_path / "w.pth")
    loaded = load_model("swin_tiny_patch4_window7_224", path)
    assert torch.equal(logits(loaded.model, 224), logits(model, 224))
    (note,) = loaded.notes
    assert re.fullmatch(r"timm renamed 11 of \d+ tensors of another layout", note)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("vit_tiny_patch16_224", {"img_size": 128}),
        ("vit_tiny_patch16_224", {"patch_size": 32}),
        ("deit_tiny_distilled_patch16_224", {"img_size": 192}),
        ("deit3_small_patch16_224", {"img_size": 192}),
        ("swin_tiny_patch4_window7_224", {"img_size": 128, "window_size": 4}),
        ("test_vit", {"img_size": 128}),
    ],
)
def test_other_image_sizes_are_resized_as_timm_does(
    name: str, made: dict[str, int], tmp_path: Path
) -> None:
    torch.manual_seed(3)
    other = timm.create_model(name, num_classes=6, **made).state_dict()
    path = saved(other, tmp_path / "w.pth")
    overlay = {"state_dict": dict(other), "num_classes": 6}
    expected = timm.create_model(
        name, pretrained=True, num_classes=6, pretrained_cfg_overlay=overlay
    ).eval()
    loaded = load_model(name, path)
    size = loaded.input_size[1]
    assert torch.equal(logits(loaded.model, size), logits(expected, size))
    assert loaded.notes[0].startswith("timm resized ")


def test_layer_scale_of_deit_iii_is_renamed(tmp_path: Path) -> None:
    name = "deit3_small_patch16_224"
    model = timm.create_model(name, num_classes=4).eval()
    old = {re.sub(r"ls(\d)\.gamma", r"gamma_\1", k): v for k, v in model.state_dict().items()}
    loaded = load_model(name, saved({"model": old}, tmp_path / "w.pth"))
    assert torch.equal(logits(loaded.model, 224), logits(model, 224))
    assert loaded.notes == (f"timm renamed 24 of {len(old)} tensors of another layout",)


def test_a_distilled_checkpoint_is_no_plain_one(tmp_path: Path) -> None:
    distilled = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=4)
    path = saved(distilled.state_dict(), tmp_path / "w.pth")
    with pytest.raises(InputError, match="does not fit deit_tiny_patch16_224"):
        load_model("deit_tiny_patch16_224", path)
    assert load_model("deit_tiny_distilled_patch16_224", path).num_classes == 4


def test_a_bundled_model_takes_other_layouts_too(tmp_path: Path) -> None:
    torch.manual_seed(4)
    model = build("digits-swin").eval()
    path = saved(old_swin(model.state_dict()), tmp_path / "w.pth")
    assert torch.equal(logits(load_model("digits-swin", path).model, 64), logits(model, 64))


def sparse(s: State) -> object:
    return {**s, "norm.weight": s["norm.weight"].to_sparse()}


def quantized(s: State) -> object:
    values = torch.quantize_per_tensor(s["norm.weight"], 0.1, 0, torch.qint8)
    return {**s, "norm.weight": values}


ODD = {
    "sparse": (sparse, "a sparse tensor as norm.weight"),
    "csr": (lambda s: {**s, "head.weight": s["head.weight"].to_sparse_csr()}, "a sparse tensor"),
    "meta": (lambda s: {**s, "norm.weight": s["norm.weight"].to("meta")}, "without data as norm"),
    "meta head": (
        lambda s: {**s, "head.weight": torch.empty(10**12, 64, device="meta")},
        "without data as head.weight",
    ),
    "quantized": (quantized, "a quantized tensor as norm.weight"),
    "complex": (lambda s: {**s, "norm.weight": s["norm.weight"] + 0j}, "a complex tensor as norm"),
    "int8": (lambda s: {k: v.to(torch.int8) for k, v in s.items()}, "holds int8 there and float"),
    "bool": (lambda s: {**s, "norm.bias": s["norm.bias"] > 0}, "norm.bias holds bool there"),
    "expanded head": (
        lambda s: {**s, "head.weight": torch.zeros(1, 64).expand(10**12, 64)},
        r"repeats a few numbers as head.weight of shape \(1000000000000, 64\)",
    ),
    "expanded embedding": (
        lambda s: {**s, "pos_embed": torch.zeros(1, 1, 64).expand(1, 10**10, 64)},
        "repeats a few numbers as pos_embed",
    ),
    "empty head": (
        lambda s: {**s, "head.weight": torch.empty(10**12, 0)},
        r"head.weight has shape \(1000000000000, 0\) there",
    ),
    "scalar head": (lambda s: {**s, "head.weight": torch.tensor(1.0)}, "does not fit"),
    "wide head": (
        lambda s: {**s, "head.weight": torch.zeros(50_000, 1)},
        r"head.weight has shape \(50000, 1\) there and \(1000, 64\)",
    ),
    "numbers": (lambda s: dict(enumerate(s.values())), "names its tensors by number"),
    "tuples": (lambda s: {(k,): v for k, v in s.items()}, "names its tensors by number"),
    "long name": (lambda s: {**s, "x" * 300: torch.ones(3)}, "the model has no x{79}… "),
    "control": (lambda s: {**s, "\x1b[31m\n": torch.ones(3)}, r"the model has no \\x1b\[31m\\n "),
    "list": (lambda s: list(s.values()), "holds no state dict"),
    "tensor": (lambda s: s["head.weight"], "holds no state dict"),
    "none": (lambda s: None, "holds no state dict"),
    "optimizer": (lambda s: {"optimizer": {"state": {0: s}}}, "holds no state dict"),
    "no tensors": (lambda s: dict.fromkeys(s, 1.0), "holds no state dict"),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("old", [False, True], ids=["zip", "old"])
def test_odd_contents_are_refused_in_words(
    kind: str, old: bool, state: State, tmp_path: Path
) -> None:
    make, words = ODD[kind]
    path = saved(make(state), tmp_path / "w.pth", _use_new_zipfile_serialization=not old)
    with pytest.raises(InputError, match=words) as caught:
        load_model(SMALL, path)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_weights_that_are_not_finite_are_refused_by_name(
    bad: float, state: State, tmp_path: Path
) -> None:
    worse = state["blocks.1.mlp.fc1.weight"].double()
    worse[3, 4] = bad
    path = saved({**state, "blocks.1.mlp.fc1.weight": worse}, tmp_path / "w.pth")
    words = r"blocks\.1\.mlp\.fc1\.weight, of layer blocks\.1\.mlp\.fc1, in w\.pth has NaN"
    with pytest.raises(InputError, match=words):
        load_model(SMALL, path)


def zipped(parts: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def torchscript() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), buffer)
    return buffer.getvalue()


def bomb() -> bytes:
    """A PyTorch file of 400 MB of zeros, packed into less than 1 MB."""
    parts = {"a/data.pkl": pickle.dumps({}), "a/data/0": bytes(400_000_000), "a/version": b"3\n"}
    return zipped(parts, zipfile.ZIP_DEFLATED)


def claiming(old: bool) -> bytes:
    """A PyTorch file whose tensor claims to have 10^11 numbers."""
    buffer = io.BytesIO()
    torch.save({"head.weight": torch.ones(16)}, buffer, _use_new_zipfile_serialization=not old)
    many = b"\x8a\x06" + (10**11).to_bytes(6, "little")  # LONG1
    if old:
        return buffer.getvalue().replace(b"K\x10", many)
    with zipfile.ZipFile(buffer) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    return zipped({k: v.replace(b"K\x10", many) for k, v in parts.items()})


FILES = {
    "empty": (b"", "is empty"),
    "text": (b"these are no weights\n" * 99, "is no checkpoint"),
    "web page": (b"\n<!DOCTYPE html><html><body>404", "is a web page"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
    "gzip": (b"\x1f\x8b\x08" + bytes(600), "is an archive: unpack it"),
    "tar": (b"x" + bytes(256) + b"ustar\x0000" + bytes(600), "is an archive: unpack it"),
    "numpy": (zipped({"w.npy": b"1"}), "is a zip archive of something else"),
    "huge header": (struct.pack("<Q", 2**60) + b"{" + bytes(99), "read as safetensors"),
    "header of zeros": (struct.pack("<Q", 90) + b"{" + bytes(99), "read as safetensors"),
    "torchscript": (torchscript(), "is a TorchScript program"),
    "bomb": (bomb(), "claims to hold more than its"),
    "claims": (claiming(False), "cannot be read|claims to hold"),
    "old claims": (claiming(True), "cannot be read|claims to hold"),
    "pickle": (pickle.dumps({"a": [1, 2]}), "cannot be read|is refused"),
    "pickle bytes": (b"\x80\x02" + bytes(300), "cannot be read|is refused"),
    "half a zip": (zipped({"a/data.pkl": bytes(900)})[:500], "cannot be read"),
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("ending", [".pth", ".safetensors", ""])
def test_files_that_are_no_checkpoint_are_refused_in_words(
    kind: str, ending: str, tmp_path: Path
) -> None:
    data, words = FILES[kind]
    path = tmp_path / f"w{ending}"
    path.write_bytes(data)
    with pytest.raises(InputError, match=words) as caught:
        load_model(SMALL, path)
    assert "\n" not in str(caught.value)


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch ran",)


@pytest.mark.parametrize("old", [False, True])
def test_no_code_in_a_file_runs(old: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace = argparse.Namespace(inner=Payload())
    path = saved(
        {"args": namespace, "state_dict": {}},
        tmp_path / "w",
        _use_new_zipfile_serialization=not old,
    )
    with pytest.raises(InputError, match=r"is refused: it holds more than weights \(\w+\.system"):
        load_model(SMALL, path)
    assert not (tmp_path / "ran").exists()


def test_flipped_bytes_give_a_model_or_an_input_error(state: State, tmp_path: Path) -> None:
    generator, outcomes = torch.Generator().manual_seed(0), set()
    for kind in (True, False):
        original = saved(state, tmp_path / "w", _use_new_zipfile_serialization=kind).read_bytes()
        for _ in range(40):
            damaged = bytearray(original)
            for place in torch.randint(0, 3000, (3,), generator=generator).tolist():
                damaged[place] ^= 0x5A
            (tmp_path / "w").write_bytes(damaged)
            try:
                outcomes.add(load_model(SMALL, tmp_path / "w").name)
            except InputError:
                outcomes.add("refused")
    assert outcomes <= {SMALL, "refused"} and "refused" in outcomes


@pytest.mark.parametrize("length", [0x80, 0x180, 0x4B50])
def test_a_safetensors_header_may_begin_with_any_byte(tmp_path: Path, length: int) -> None:
    """The first eight bytes are its length: they may look as those of a pickle or of a zip file."""
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.ljust(length)
    path = tmp_path / "weights"
    path.write_bytes(struct.pack("<Q", length) + header + struct.pack("<f", 2.5))
    assert read_content(path).held["a"].tolist() == [2.5]
