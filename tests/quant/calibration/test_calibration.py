"""Calibrations: kept in files, made once, stopped halfway, asked for by several threads."""

import shutil
import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lrp.engine.layers import list_layers
from lrp.engine.progress import Cancelled, Progress
from quant.calibration import calibration as module
from quant.calibration.calibration import (
    Calibration,
    calibrate,
    calibration_folder,
    calibration_key,
    needed,
)
from quant.calibration.passes import Pass, Solver
from quant.calibration.presets import PRESETS, preset
from quant.model.quantized_model import QuantizedModel
from quant.primitives.bits import LayerBits, uniform
from tests.models import SIZE, build, random_images

QUICK = "repq-vit"


@pytest.fixture
def passes(monkeypatch) -> list[int]:
    """The widths of the passes run, as they end."""
    done: list[int] = []

    class Counted(Solver):
        def solve(self, images: Tensor) -> Pass:
            found = super().solve(images)
            done.append(self.bits)
            return found

    monkeypatch.setattr(module, "Solver", Counted)
    return done


def fresh(folder: Path, family: str = "vit", name: str = QUICK) -> Calibration:
    return Calibration(build(family), random_images(), preset(name), folder)


def logits(calibration: Calibration, weight_bits: int, activation_bits: int) -> Tensor:
    layers = list_layers(calibration.model, SIZE)
    allocation = uniform(layers, weight_bits, activation_bits)
    return QuantizedModel(calibration, allocation).run(random_images())


def test_a_second_calibration_reads_the_file_and_runs_no_pass(tmp_path, passes):
    first = logits(fresh(tmp_path), 3, 4)
    assert passes == [4]
    assert [p.name for p in tmp_path.iterdir()] == ["a4.safetensors"]
    assert torch.equal(logits(fresh(tmp_path), 3, 4), first)
    assert passes == [4]
    again = fresh(tmp_path)
    logits(again, 8, 4)  # another weight width is in the same pass
    assert passes == [4]
    logits(again, 8, 5)
    assert passes == [4, 5]


@pytest.mark.parametrize(
    ("family", "name"), [*(("vit", name) for name in PRESETS), ("deit", "bitlens"), ("swin", QUICK)]
)
def test_calibrating_again_gives_the_same_numbers(calibrated, family, name, tmp_path):
    first = logits(calibrated(family, name), 4, 4)
    assert torch.equal(logits(fresh(tmp_path, family, name), 4, 4), first)


def test_other_images_give_other_numbers(calibrated, tmp_path):
    model = build("vit")
    other = Calibration(model, random_images(5)[2:], preset("bitlens"), tmp_path)
    assert not torch.equal(logits(other, 4, 4), logits(calibrated("vit"), 4, 4))


def test_a_calibration_without_a_folder_leaves_nothing(passes, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    calibration = Calibration(build("vit"), random_images(), preset(QUICK))
    logits(calibration, 4, 4)
    assert passes == [4]
    assert list(tmp_path.rglob("*.safetensors"))
    del calibration
    assert list(tmp_path.rglob("*.safetensors")) == []


def cut(content: bytes) -> bytes:
    return content[:-3]


def empty(content: bytes) -> bytes:
    return b""


def foreign(content: bytes) -> bytes:
    return b"hello"


def flipped(content: bytes) -> bytes:
    """One bit of the last weights is another: safetensors reads it without a word."""
    return content[:-2] + bytes([content[-2] ^ 1]) + content[-1:]


def told_otherwise(content: bytes) -> bytes:
    """The description, which says how tensors are read, is another."""
    return content.replace(b'\\"bits\\": 4', b'\\"bits\\": 3', 1)


def without_checksum(content: bytes) -> bytes:
    """As files of earlier versions are; the header keeps its length."""
    return content.replace(b'"sha256"', b'"sha257"', 1)


@pytest.mark.parametrize("spoil", [cut, empty, foreign, flipped, told_otherwise, without_checksum])
def test_a_damaged_file_is_made_again_and_said(tmp_path, spoil, passes, caplog):
    expected = logits(fresh(tmp_path), 4, 4)
    path = tmp_path / "a4.safetensors"
    whole = path.read_bytes()
    assert spoil(whole) != whole
    path.write_bytes(spoil(whole))
    again = fresh(tmp_path)
    assert torch.equal(logits(again, 4, 4), expected)
    assert passes == [4, 4]
    assert f"{path} is" in caplog.text and caplog.text.count("made again") == 1
    assert len(again.notes) == 1
    caplog.clear()
    assert torch.equal(logits(fresh(tmp_path), 4, 4), expected)
    assert (passes, caplog.text) == ([4, 4], "")
    assert [p.name for p in tmp_path.iterdir()] == ["a4.safetensors"]


def test_another_width_s_file_is_made_again(tmp_path, passes, caplog):
    expected = logits(fresh(tmp_path), 4, 4)
    logits(fresh(tmp_path), 5, 5)
    shutil.copy(tmp_path / "a5.safetensors", tmp_path / "a4.safetensors")
    assert torch.equal(logits(fresh(tmp_path), 4, 4), expected)
    assert passes == [4, 5, 4]
    assert "is of another calibration or width: it is made again" in caplog.text


def test_another_calibration_s_file_is_made_again(tmp_path, passes):
    model, images = build("vit"), random_images()
    for key in ("one", "other", "other"):
        Calibration(model, images, preset(QUICK), tmp_path, key=key).solve([4])
    assert passes == [4, 4]


@pytest.mark.parametrize("keep", [True, False])
def test_what_cannot_or_shall_not_be_kept_is_used_all_the_same(
    tmp_path, keep, passes, caplog, monkeypatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = tmp_path / "kept"
    if keep:
        folder.write_text("in the way")
    calibration = Calibration(
        build("vit"), random_images(), preset(QUICK), folder / "it", keep=keep
    )
    expected = logits(fresh(tmp_path / "other", "vit", QUICK), 4, 5)
    assert torch.equal(logits(calibration, 4, 5), expected)
    calibration.solve([4])
    assert passes == [5, 5, 4]
    assert caplog.text.count("and not kept") == keep
    assert len(list(tmp_path.glob("bitlens-*/*.safetensors"))) == 2
    assert not (folder / "it").exists()
    del calibration
    assert list(tmp_path.glob("bitlens-*")) == []


def test_progress_counts_every_layer_of_every_pass(tmp_path):
    calibration, seen = fresh(tmp_path, "swin"), []
    calibration.solve([4, 6, 4], Progress(lambda *told: seen.append(told[:2])))
    count = len(list_layers(calibration.model, SIZE))
    assert seen == [(done, 2 * count) for done in range(1, 2 * count + 1)]
    seen.clear()
    calibration.solve([4, 6], Progress(lambda *told: seen.append(told[:2])))
    assert seen == []  # nothing was left to do


@pytest.mark.parametrize("stop_at", [1, 10, 20])
def test_a_cancelled_calibration_keeps_whole_passes_only(tmp_path, stop_at):
    calibration, stop = fresh(tmp_path), threading.Event()
    count = len(list_layers(calibration.model, SIZE))

    def tell(done: int, total: int, *_: object) -> None:
        assert total == 2 * count
        if done == stop_at:
            stop.set()

    with pytest.raises(Cancelled):
        calibration.solve([3, 5], Progress(tell, stop.is_set))
    kept = {path.name for path in tmp_path.iterdir()}  # passes may run side by side
    assert kept <= {"a3.safetensors", "a5.safetensors"} and len(kept) <= (stop_at > count)
    expected = logits(fresh(tmp_path / "other"), 4, 5)
    assert torch.equal(logits(calibration, 4, 5), expected)  # it can go on


def test_cancelled_before_it_starts(tmp_path, passes):
    with pytest.raises(Cancelled):
        fresh(tmp_path).solve([4], Progress(stopped=lambda: True))
    assert passes == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["bitlens", QUICK])
def test_threads_that_need_the_same_pass_make_it_once(tmp_path, passes, name, calibrated):
    calibration = fresh(tmp_path, "vit", name)
    found: dict[int, Tensor] = {}
    start = threading.Barrier(3)

    def work(weight_bits: int) -> None:
        start.wait()
        found[weight_bits] = logits(calibration, weight_bits, 4)

    threads = [threading.Thread(target=work, args=(bits,)) for bits in (2, 4, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert passes == [4]
    assert sorted(found) == [2, 4, 8]
    for bits, one in found.items():
        assert torch.equal(one, logits(calibrated("vit", name), bits, 4))


def test_two_calibrations_of_one_folder_at_once(tmp_path):
    found: list[Tensor] = []
    start = threading.Barrier(2)

    def work(calibration: Calibration) -> None:
        start.wait()
        found.append(logits(calibration, 4, 4))

    both = [fresh(tmp_path) for _ in range(2)]
    threads = [threading.Thread(target=work, args=(one,)) for one in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.equal(*found)
    assert [p.name for p in tmp_path.iterdir()] == ["a4.safetensors"]


def test_layers_are_shared_and_kept(calibrated):
    calibration = calibrated("vit")
    bits = LayerBits(4, 4)
    first = calibration.layer("head", bits)
    assert calibration.layer("head", bits) is first
    assert calibration.layer("head", LayerBits(8, 4)) is not first


def test_a_product_takes_its_second_operand_from_the_pass_of_its_second_width():
    linear, product = {"head": LayerBits(2, 4)}, {"blocks.0.attn.matmul1": LayerBits(3, 5)}
    assert needed(linear) == {4}
    assert needed(product) == {3, 5}
    assert needed(linear | product) == {3, 4, 5}
    assert needed({}) == set()


@pytest.mark.parametrize("width", [1, 9, 0, 4.0, "4", None])
def test_widths_we_have_not_are_refused_before_any_work(tmp_path, passes, width):
    with pytest.raises(ValueError, match="use a whole number from 2 to 8"):
        fresh(tmp_path).solve([4, width] if isinstance(width, int) else [width])
    assert passes == []


def test_no_images_are_refused():
    with pytest.raises(ValueError, match="no images"):
        Calibration(build("vit"), torch.empty(0, *SIZE), preset(QUICK))
    with pytest.raises(ValueError, match="no images"):
        calibrate(build("vit"), [], preset(QUICK))


def test_batches_are_one_calibration(tmp_path, calibrated):
    batches = random_images().split(2)
    found = calibrate(build("vit"), batches, preset(QUICK), "cpu", tmp_path)
    assert torch.equal(logits(found, 4, 4), logits(calibrated("vit", QUICK), 4, 4))


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="no preset 'best': choose from bitlens"):
        preset("best")


def test_folders_are_one_a_model_data_and_preset(tmp_path):
    keys = [("vit", "data"), ("vit", "other"), ("vitd", "ata"), ("deit", "data")]
    named = {calibration_key(key, preset(name)) for key in keys for name in PRESETS}
    folders = {calibration_folder(tmp_path, one) for one in named}
    assert len(folders) == len(keys) * len(PRESETS)
    assert all(folder.is_relative_to(tmp_path) for folder in folders)
    again = calibration_folder(tmp_path, calibration_key(keys[0], preset("bitlens")))
    assert again in folders
