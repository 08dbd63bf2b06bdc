"""Made-up checkpoints: the model's weights as the file holds them, finite, or one sentence.

Files of three kinds (PyTorch's zip, its older pickle, safetensors) are damaged byte by byte; their
dicts, headers and pickled programs are changed piece by piece.
"""

import copy
import io
import json
import pickletools
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import event, given
from hypothesis import strategies as st
from torch import Tensor, nn

from assets.errors import InputError
from assets.models.fitting import check_finite, fill
from assets.models.reading import read_content
from tests.fuzz.guard import cases, outcome
from tests.fuzz.mutations import NUMBERS, damaged
from tests.models import build

MODEL = build("vit")
STATE = MODEL.state_dict()
KEYS = list(STATE)
PARTS = ("model", "module.", "_orig_mod.", "state_dict", "state_dict_ema", "ema.", "\n", "é", ".")
RUNNERS = (
    *("os system", "posix system", "builtins eval", "builtins exec", "builtins getattr"),
    *("subprocess Popen", "torch load", "torch.hub load", "shutil rmtree", "builtins __import__"),
    *("torch FloatStorage", "torch._utils _rebuild_tensor_v2", "collections OrderedDict"),
    *("argparse Namespace", "torch.nn.modules.linear Linear", "numpy.core.multiarray scalar"),
)
DTYPES = ("F32", "F64", "F16", "BF16", "I64", "I8", "U8", "BOOL", "F8_E4M3", "F4", "C64", "", "F99")


def zipped(held: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(held, buffer)
    return buffer.getvalue()


def pickled(held: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(held, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


SMALL = OrderedDict((key, STATE[key]) for key in KEYS[-6:])
ORIGINALS = [
    *(form(held) for form in (zipped, pickled) for held in (STATE, SMALL, {"model": SMALL})),
    safetensors.torch.save(STATE),
    safetensors.torch.save(dict(SMALL), {"format": "pt"}),
]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints") / "a.pth"


def check(data: bytes, file: Path) -> None:
    file.write_bytes(data)
    model = copy.deepcopy(MODEL)
    if outcome(lambda: filled(model, file), InputError) is None:
        return
    event("read")
    assert all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())
    held = list(tensors(read_content(file).held))
    for key, value in model.state_dict().items():
        named = [one for name, one in held if name.endswith(key)]
        assert any(same(value, one) for one in named), key


def filled(model: nn.Module, file: Path) -> nn.Module:
    fill(model, read_content(file), "a small model", resize=True)
    check_finite(model, file.name)
    return model


def same(value: Tensor, other: Tensor) -> bool:
    return value.shape == other.shape and torch.equal(value, other.to(value.dtype))


def tensors(held: object, place: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    """All tensors in dicts in dicts, by the way to them; wrappers' names are taken out."""
    if isinstance(held, Tensor):
        yield place.replace("_orig_mod.", "").replace("module.", ""), held
    elif isinstance(held, dict) and depth < 9:
        for key, one in held.items():
            yield from tensors(one, f"{place}|{key}", depth + 1)


@given(damaged(ORIGINALS))
@cases(150)
def test_damaged_checkpoints(file: Path, data: bytes) -> None:
    check(data, file)


def odd(value: Tensor) -> dict[str, object]:
    """What may stand in the place of a tensor."""
    scales = torch.ones(len(value)) if value.ndim else torch.ones(1)
    return {
        "integers": value.to(torch.int8),
        "half": value.half(),
        "double": value.double(),
        "eight bits": value.to(torch.float8_e4m3fn),
        "complex": value.to(torch.complex64),
        "sparse": value.to_sparse(),
        "meta": value.to("meta"),
        "quantized": torch.quantize_per_tensor(value, 0.1, 0, torch.qint8),
        "by channel": torch.quantize_per_channel(
            value.reshape(len(scales), -1), scales, scales.long() * 0, 0, torch.qint8
        ),
        "expanded": torch.zeros(1).expand(value.shape),
        "without end": torch.zeros(1).expand(10**12),
        "nested": torch.nested.nested_tensor([value.flatten(), torch.ones(2)]),
        "parameter": nn.Parameter(value),
        "transposed": value.T if value.ndim == 2 else value,
        "more": torch.cat([value, value]) if value.ndim else value,
        "empty": value.new_empty(0),
        "one": torch.tensor(3.0),
        "not a number": torch.full_like(value, torch.nan),
        "infinite": value * torch.inf,
        "huge": value.double() * 1e300,
        "none": None,
        "number": 3,
        "text": "weights",
        "list": [value, value],
        "dict": {"weight": value},
        "bytes": b"w",
    }


@st.composite
def states(draw) -> object:
    """A state dict changed here and there, in dicts of any kind."""
    state: dict[object, object] = dict(STATE)
    for _ in range(draw(st.integers(0, 3))):
        key = draw(st.sampled_from(KEYS))
        way = draw(st.sampled_from(("drop", "odd", "rename", "add", "prefix")))
        if way in ("drop", "rename"):
            state.pop(key, None)
        if way == "odd":
            options = odd(STATE[key])
            state[key] = options[draw(st.sampled_from(sorted(options)))]
        elif way == "prefix":
            prefix = draw(st.sampled_from(PARTS)) * draw(st.integers(1, 3))
            state = {f"{prefix}{name}": value for name, value in state.items()}
        elif way in ("add", "rename"):
            state[draw(names)] = STATE[key]
    held: object = state
    for _ in range(draw(st.integers(0, 3))):
        held = {draw(names): held, draw(names): draw(st.sampled_from((3, None, state, STATE)))}
    return held


names: st.SearchStrategy[object] = st.one_of(
    st.sampled_from((*PARTS, *KEYS[:3], "a" * 5000, "." * 300)),
    st.text(max_size=9),
    st.integers(),
    st.none(),
    st.tuples(st.integers(), st.text(max_size=3)),
)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of PyTorch's odd tensors
@given(states(), st.sampled_from((zipped, pickled)))
@cases(200)
def test_dicts_of_other_things(file: Path, held: object, form) -> None:
    try:
        data = form(held)
    except Exception:  # what PyTorch cannot write no file holds
        return
    check(data, file)


def test_the_model_itself_is_read(file: Path) -> None:
    for form in (zipped, pickled, safetensors.torch.save):
        file.write_bytes(form(STATE))
        assert outcome(lambda: filled(copy.deepcopy(MODEL), file), InputError) is not None


@st.composite
def headers(draw) -> bytes:
    """A safetensors file whose header says something else."""
    data = ORIGINALS[-2]
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    for _ in range(draw(st.integers(1, 3))):
        key = draw(st.sampled_from(sorted(header)))
        entry = header[key] if isinstance(header[key], dict) else {}
        shape, places = entry.get("shape", [1]), entry.get("data_offsets", [0, 4])
        number = st.sampled_from((*NUMBERS, -1, 1.5, None, "4", [4]))
        header[key] = draw(
            st.sampled_from(
                (
                    entry | {"dtype": draw(st.sampled_from(DTYPES))},
                    entry | {"shape": [*shape[:-1], draw(number)]},
                    entry | {"shape": shape[::-1]},
                    entry | {"shape": [1] * draw(st.integers(0, 99)) + shape},
                    entry | {"data_offsets": [draw(number), places[1]]},
                    entry | {"data_offsets": [places[0], draw(number)]},
                    entry | {"more": 1},
                    {},
                    draw(st.none() | st.integers() | st.text(max_size=9)),
                )
            )
        )
        header[draw(st.one_of(st.sampled_from(KEYS), st.text(max_size=9)))] = header[key]
    text = json.dumps(header).encode()
    claimed = draw(st.one_of(st.just(len(text)), st.sampled_from(NUMBERS)))
    return struct.pack("<Q", claimed) + text + data[8 + size :]


@given(headers())
@cases(150)
def test_headers_that_say_something_else(file: Path, data: bytes) -> None:
    check(data, file)


def opcodes(program: bytes) -> list[bytes]:
    places = [place for _, _, place in pickletools.genops(program)]
    return [program[a:b] for a, b in zip(places, [*places[1:], len(program)], strict=True)]


def program_of(archive: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(archive)) as parts:
        return parts.read(next(name for name in parts.namelist() if name.endswith("data.pkl")))


def with_program(archive: bytes, program: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(buffer, "w") as new:
        for part in old.namelist():
            new.writestr(part, program if part.endswith("data.pkl") else old.read(part))
    return buffer.getvalue()


ZIPPED = zipped(STATE)
PROGRAM = opcodes(program_of(ZIPPED))
PIECES: st.SearchStrategy[bytes] = st.one_of(
    st.sampled_from(PROGRAM),
    st.sampled_from(RUNNERS).map(lambda name: b"c%b\n%b\n" % tuple(name.encode().split())),
    st.sampled_from([b"R", b"b", b"\x81", b"Q", b"o", b"i", b"t", b"(", b"}", b"]", b"0", b"2"]),
    st.sampled_from([b"\x93", b"s", b"u", b"a", b"e", b"d", b"l", b".", b"\x92", b"\x85", b"N"]),
    st.text(max_size=30).map(
        lambda text: b"X%b%b" % (struct.pack("<I", len(text.encode())), text.encode())
    ),
    st.sampled_from(NUMBERS).map(lambda n: b"\x8e" + struct.pack("<Q", n) + b"abc"),  # BINBYTES8
    st.sampled_from(NUMBERS).map(lambda n: b"\x8b" + struct.pack("<I", n % 2**32)),  # LONG4
    st.sampled_from(NUMBERS).map(lambda n: b"J" + struct.pack("<I", n % 2**32)),
    st.sampled_from(NUMBERS).map(lambda n: b"\x8a\x09" + struct.pack("<Q", n) + b"\0"),  # LONG1
    st.sampled_from(NUMBERS).map(lambda n: b"r" + struct.pack("<I", n % 2**32)),  # LONG_BINPUT
)


@st.composite
def programs(draw) -> bytes:
    """A pickled program with pieces dropped, repeated, or put in, some of which would run code."""
    program = list(PROGRAM)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(program)))
        gone = draw(st.integers(0, 3))
        program[at : at + gone] = draw(st.lists(PIECES, max_size=6))
    return b"".join(program)


@given(programs(), st.booleans())
@cases(300)
def test_programs_in_pickles(file: Path, program: bytes, alone: bool) -> None:
    check(program if alone else with_program(ZIPPED, program), file)
