"""A pass in a file: all of it comes back, and what is no pass is refused by name."""

import json
import threading
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from quant.calibration.calibration import Calibration
from quant.calibration.linear_solver import SolvedLinear
from quant.calibration.passes import Pass
from quant.calibration.presets import PRESETS
from quant.calibration.store import SCHEMA, DamagedError, Stored, save_pass
from quant.layers.quantized import Rounded
from quant.primitives.qparams import QParams
from quant.primitives.quantizers import Codebook, Logarithmic, Scaled, Uniform, codebook
from quant.primitives.transforms import Rescaling, Rotation

CPU = torch.device("cpu")


def parts(thing: object) -> dict[str, object]:
    """The fields of a dataclass, those inside it too."""
    found: dict[str, object] = {"": type(thing)}
    for field in fields(thing):  # type: ignore[arg-type]
        value = getattr(thing, field.name)
        inner = parts(value) if is_dataclass(value) else {"": value}
        found |= {f"{field.name}.{k}": v for k, v in inner.items()}
    return found


def same(first: object, second: object) -> bool:
    a, b = parts(first), parts(second)
    return a.keys() == b.keys() and all(
        torch.equal(v, b[k]) if isinstance(v, Tensor) else v == b[k] for k, v in a.items()
    )


def rounded(width: int, seed: int) -> Rounded:
    generator = torch.Generator().manual_seed(100 * seed + width)
    codes = torch.randint(-(2 ** (width - 1)), 2 ** (width - 1), (3, 5), generator=generator)
    scale, bias = torch.rand(2, 3, generator=generator)
    return Rounded(codes.to(torch.int8), scale, bias)


@pytest.fixture
def found() -> Pass:
    """A pass with one layer of every kind; some tensors are shared or lie scattered."""
    shared = torch.rand(2, 5).T[:, 0]
    whole = Uniform(QParams(torch.tensor(0.1), torch.tensor(7.0), 4))
    heads = Uniform(QParams(torch.rand(2, 1, 1), torch.ones(2, 1, 1), 4))
    book = codebook(torch.tensor([0.0, 4.0, 9.0, 200.0]), 0.01, 4, 4)
    weights = [{w: rounded(w, i) for w in (2, 4, 8)} for i in range(5)]
    return Pass(
        4,
        {
            "plain": SolvedLinear(whole, None, weights[0]),
            "turned": SolvedLinear(book, Rotation(shared, shared), weights[1]),
            "scaled": SolvedLinear(Scaled(book), None, weights[3]),
            "scaled too": SolvedLinear(Scaled(whole), Rescaling(shared, shared), weights[4]),
            "moved": SolvedLinear(whole, Rescaling(shared, shared + 1), weights[2]),
        },
        {"matmul1": (heads, whole), "matmul2": (Logarithmic(0.5, 1.4, 4, 0.17), book)},
    )


@pytest.fixture
def path(tmp_path: Path, found: Pass) -> Path:
    place = tmp_path / "deeper" / "still" / "a4.safetensors"
    save_pass(found, place)
    return place


def test_everything_comes_back(found: Pass, path: Path) -> None:
    stored = Stored(path, CPU)
    for name, solved in found.linear.items():
        assert name in stored
        for width in (2, 4, 8):
            read = stored.solved(name, width)
            assert list(read.weights) == [width]
            assert same(read.weights[width], solved.weights[width])
            assert read.weights[width].codes.dtype == torch.int8
            assert same(read.quantizer, solved.quantizer)
            if solved.transform is None:
                assert read.transform is None
            else:
                assert same(read.transform, solved.transform)
    for name, pair in found.products.items():
        assert name in stored
        assert all(same(stored.operand(name, side), q) for side, q in enumerate(pair))
    assert "nowhere" not in stored
    assert isinstance(stored.operand("matmul2", 1), Codebook)


@pytest.mark.parametrize("name", PRESETS)
def test_a_real_pass_reads_as_it_was_solved(name: str, calibrated, monkeypatch, tmp_path) -> None:
    from quant.calibration import files as module

    kept: list[Pass] = []

    def keep(found: Pass, path: Path, key: str) -> None:
        kept.append(found)
        save_pass(found, path)

    plain = calibrated("vit", name)
    monkeypatch.setattr(module, "save_pass", keep)
    again = Calibration(plain.model, plain.images, plain.preset, tmp_path)
    again.solve([3])
    (solved,), stored = kept, Stored(next(tmp_path.iterdir()), CPU)
    for layer, one in solved.linear.items():
        for width in one.weights:
            read = stored.solved(layer, width)
            assert same(read.weights[width], one.weights[width])
            assert same(read.quantizer, one.quantizer)
    assert all(
        same(stored.operand(layer, side), q)
        for layer, pair in solved.products.items()
        for side, q in enumerate(pair)
    )


def test_only_the_file_is_left(path: Path) -> None:
    assert [p.name for p in path.parent.iterdir()] == ["a4.safetensors"]


def test_writing_again_replaces_and_an_open_file_still_reads(found: Pass, path: Path) -> None:
    before = Stored(path, CPU)
    found.linear["plain"].weights[2] = rounded(2, 77)
    save_pass(found, path)
    assert same(Stored(path, CPU).solved("plain", 2).weights[2], rounded(2, 77))
    assert same(before.solved("plain", 2).weights[2], rounded(2, 0))


@pytest.mark.parametrize("keep", [0, 1, 7, 100, 1000, -1])
def test_a_file_cut_short_is_refused_by_name(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=rf"{path.name} is no calibration"):
        Stored(path, CPU)


FOREIGN = [
    None,
    {"other": "{}"},
    {"bitlens": "{"},
    {"bitlens": "[]"},
    {"bitlens": "4"},
    {"bitlens": "{}"},
    {"bitlens": json.dumps({"schema": 1})},
]


@pytest.mark.parametrize("metadata", FOREIGN)
def test_somebody_elses_safetensors_is_refused_by_name(tmp_path: Path, metadata) -> None:
    path = tmp_path / "a4.safetensors"
    save_file({"x": torch.ones(2)}, path, metadata)
    with pytest.raises(ValueError, match=r"a4\.safetensors is no calibration"):
        Stored(path, CPU)


def test_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a4.safetensors"
    described = {"schema": 999, "linear": {}, "products": {}}
    save_file({"x": torch.ones(2)}, path, {"bitlens": json.dumps(described)})
    with pytest.raises(ValueError, match=r"a4\.safetensors is a calibration of another version"):
        Stored(path, CPU)


def test_a_file_without_a_tensor_it_lists_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a4.safetensors"
    layer = {"quantizer": {"kind": "uniform", "bits": 4}, "transform": "", "widths": [4]}
    described = {"schema": SCHEMA, "linear": {"head": layer}, "products": {}}
    save_file({"x": torch.ones(2)}, path, {"bitlens": json.dumps(described)})
    with pytest.raises(ValueError, match=r"a4\.safetensors is damaged"):
        Stored(path, CPU).solved("head", 4)


@pytest.mark.parametrize("width", [1, 9, 0])
def test_a_width_we_have_not_is_refused(path: Path, width: int) -> None:
    with pytest.raises(ValueError, match=f"{width} bits: use a whole number from 2 to 8"):
        Stored(path, CPU).solved("plain", width)


def test_a_folder_that_cannot_be_written_is_named_and_nothing_is_left(
    tmp_path: Path, found: Pass
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match=r"a4\.safetensors cannot be written"):
        save_pass(found, tmp_path / "file" / "a4.safetensors")
    (tmp_path / "a4.safetensors").mkdir()
    with pytest.raises(ValueError, match=r"a4\.safetensors cannot be written"):
        save_pass(found, tmp_path / "a4.safetensors")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a4.safetensors", "file"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a5\.safetensors is no calibration"):
        Stored(tmp_path / "a5.safetensors", CPU)


def test_threads_read_one_file(found: Pass, path: Path) -> None:
    stored, wrong = Stored(path, CPU), []

    def work() -> None:
        for _ in range(50):
            for name, solved in found.linear.items():
                if not same(stored.solved(name, 4).weights[4], solved.weights[4]):
                    wrong.append(name)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_each_bit_counts(found: Pass, path: Path) -> None:
    whole, generator = path.read_bytes(), torch.Generator().manual_seed(0)
    length = int.from_bytes(whole[:8], "little")
    data = torch.randint(8 * (8 + length), 8 * len(whole), (20,), generator=generator).tolist()
    header = torch.randint(8 * (8 + length), (20,), generator=generator).tolist()
    for place in [*data, *header]:
        spoilt = bytearray(whole)
        spoilt[place // 8] ^= 1 << place % 8
        path.write_bytes(spoilt)
        if place in header and json.loads(whole[8 : 8 + length]) == _header(bytes(spoilt)):
            continue  # a space became another: nothing is said otherwise
        with pytest.raises(DamagedError, match=path.name):
            Stored(path, CPU, "", 4)


def _header(content: bytes) -> object:
    try:
        return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except ValueError:
        return None


def test_a_file_is_tied_to_its_calibration_and_width(found: Pass, tmp_path: Path) -> None:
    path = tmp_path / "a4.safetensors"
    save_pass(found, path, "mine")
    Stored(path, CPU, "mine", 4)
    for key, bits in (("other", 4), ("mine", 5), ("", 4)):
        with pytest.raises(DamagedError, match="another calibration or width"):
            Stored(path, CPU, key, bits)
