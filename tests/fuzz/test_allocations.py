"""Made-up allocation files: an allocation of the model as the text says it, or one sentence."""

import codecs
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from lrp.engine.layers import list_layers
from quant.allocation.allocation_file import from_json, images_of, read_json
from quant.primitives.bits import MENU, LayerBits
from tests.fuzz.guard import cases, outcome
from tests.fuzz.mutations import damaged
from tests.models import SIZE, build

LAYERS = list_layers(build("vit"), SIZE)
NAMES = [layer.name for layer in LAYERS]
# Words of JSON, and what others write in their place.
TOKENS = (
    *("null", "true", "false", "NaN", "-Infinity", "1e999", "-0", "4.0", "2", "8", "9", "1"),
    *("0x4", "04", "+4", "1_0", "4.", '"4"', '""', '"\\ud800"', '"\\u0000"', "'a'", "undefined"),
    *("9" * 20, "9" * 5000, "0." + "1" * 5000, '"' + "x" * 5000 + '"', "[" * 2000, '{"a":' * 2000),
    *("[" * 500 + "]" * 500, "[" + "1, " * 999 + "1]"),
)
KEYS = ("schema", "model", "layers", "weight", "activation", "chosen_on", "limits", *NAMES[:2])
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "latin-1", "utf-7")


class Raw(str):
    """A piece of text that stands in a document as it is."""


class Pairs(list):
    """An object, whose names may come twice."""


def document() -> Pairs:
    """A right allocation file, as pairs."""
    bits = [[name, Pairs([["weight", 4], ["activation", 8]])] for name in NAMES]
    return Pairs(
        [
            ["schema", 2],
            ["model", "vit"],
            ["layers", Pairs(bits)],
            ["chosen_on", Pairs([["digits", [1, 2, 3]]])],
        ]
    )


def written(value: Any) -> str:
    """A document as text; an ASCII one but for names and texts drawn."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, Pairs):
        inner = (f"{json.dumps(name, ensure_ascii=False)}: {written(one)}" for name, one in value)
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


SCALARS = st.one_of(
    st.sampled_from(TOKENS).map(Raw), st.integers(), st.floats(), st.text(max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(
            st.tuples(st.sampled_from(KEYS) | st.text(max_size=9), inner).map(list), max_size=4
        ).map(Pairs),
    ),
    max_leaves=8,
)


@st.composite
def changed(draw) -> str:
    """A file in which values and names were dropped, repeated, renamed or swapped for others."""
    whole = document()
    for _ in range(draw(st.integers(0, 3))):
        here: list = whole
        while True:
            at = draw(st.integers(0, len(here) - 1))
            inner = here[at][1] if isinstance(here, Pairs) else here[at]
            if not isinstance(inner, list) or not inner or draw(st.booleans()):
                break
            here = inner
        change(draw, here, at)
        if not whole:
            break
    return written(whole)


def change(draw, here: list, at: int) -> None:
    way = draw(st.sampled_from(("drop", "repeat", "rename", "value", "value")))
    if way == "drop":
        del here[at]
    elif way == "repeat":
        here.insert(at, here[at])
    elif isinstance(here, Pairs):
        new = [draw(st.sampled_from(KEYS)), here[at][1]]
        here[at] = new if way == "rename" else [here[at][0], draw(SCALARS | VALUES)]
    else:
        here[at] = draw(SCALARS | VALUES)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("allocations") / "a.json"


def check(data: bytes, file: Path) -> None:
    file.write_bytes(data)
    payload = outcome(lambda: [read_json(file)], ValueError)
    if payload is None:
        return
    read = outcome(lambda: (from_json(payload[0], LAYERS), images_of(payload[0])), ValueError)
    if read is None:
        return
    event("read")
    allocation, images = read
    text = data.decode(json.detect_encoding(data)).removeprefix("\ufeff")  # a second mark
    said = json.loads(text)  # as Python reads it by itself
    assert said["schema"] in (1, 2)
    assert list(allocation) == NAMES and set(said["layers"]) == set(NAMES)
    for name, bits in allocation.items():
        assert {type(bits.weight), type(bits.activation)} == {int}
        assert bits.weight in MENU and bits.activation in MENU
        pair = said["layers"][name]
        assert bits == LayerBits(pair["weight"], pair["activation"])
    assert images == said.get("chosen_on", {})


def test_the_document_that_is_changed_is_right(file: Path) -> None:
    file.write_text(written(document()), encoding="utf-8")
    assert from_json(read_json(file), LAYERS)["head"] == LayerBits(4, 8)


@given(changed(), st.sampled_from(ENCODINGS))
@cases(400)
def test_changed_allocations(file: Path, text: str, encoding: str) -> None:
    check(codecs.encode(text, encoding, "replace"), file)


@given(VALUES)
@cases(200)
def test_any_json(file: Path, value: object) -> None:
    check(written(value).encode("utf-8", "surrogatepass"), file)


@given(damaged([written(document()).encode(), written(document()).encode("utf-16")]))
@cases(300)
def test_damaged_bytes(file: Path, data: bytes) -> None:
    check(data, file)
