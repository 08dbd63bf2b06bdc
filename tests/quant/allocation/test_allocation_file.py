import json
import os

import pytest

from lrp.engine.layers import list_layers
from quant.allocation import allocation_file
from quant.allocation.allocation_file import (
    from_json,
    images_of,
    read_allocation,
    read_json,
    to_json,
)
from quant.allocation.budget import Limits, from_average
from quant.allocation.cost import CostModel
from quant.allocation.path import Solution
from quant.primitives.bits import LayerBits, uniform
from tests.models import SIZE, build


@pytest.fixture
def layers():
    return list_layers(build("vit"), SIZE)


def described(layers, limits=None):
    allocation = uniform(layers, 3, 6) | {"head": LayerBits(8, 2)}
    limits = limits or from_average(layers, 4)
    solution = Solution(allocation, "sensitivity", 4.0, limits, loss=2.0, bound=1.5)
    cost = CostModel(layers, 0).uniform(4)
    return json.loads(json.dumps(to_json("m", solution, cost, cost, "bitlens"), allow_nan=False))


@pytest.fixture
def payload(layers):
    return described(layers)


def test_what_is_written_is_read_back(layers, payload, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(payload))
    found = read_allocation(tmp_path / "a.json", layers)
    assert found == uniform(layers, 3, 6) | {"head": LayerBits(8, 2)}
    assert list(found) == [layer.name for layer in layers]


def test_it_says_how_the_bits_were_chosen(layers, payload):
    assert payload["schema"] == 2
    assert (payload["model"], payload["preset"]) == ("m", "bitlens")
    assert (payload["objective"], payload["average_bits"]) == ("sensitivity", 4.0)
    assert payload["limits"] == {
        "weight_bits": 4 * sum(layer.parameters for layer in layers),
        "bitops": 16 * sum(layer.macs for layer in layers),
    }
    assert (payload["loss"], payload["bound"], payload["gap"]) == (2.0, 1.5, 0.25)


def test_the_images_it_was_chosen_on_are_written_and_read(layers, payload):
    assert images_of(payload) == {} == images_of({"schema": 2})
    solution = Solution(from_json(payload, layers), "lrp", 4.0, Limits(), loss=2.0, bound=1.5)
    cost = CostModel(layers, 0).uniform(4)
    written = to_json("m", solution, cost, cost, chosen_on={"folder": (9, 2), "other": {4}})
    assert images_of(json.loads(json.dumps(written))) == {"folder": [2, 9], "other": [4]}


@pytest.mark.parametrize("wrong", [3, [1], {"folder": 3}, {"folder": ["a"]}, {"folder": [True]}])
def test_images_it_was_chosen_on_that_are_none_are_refused(payload, wrong):
    with pytest.raises(ValueError, match="must map sources of images to lists of places"):
        images_of(payload | {"chosen_on": wrong})


def test_no_limit_is_written_as_null(layers):
    assert described(layers, Limits(bitops=7))["limits"] == {"weight_bits": None, "bitops": 7}


def test_the_first_schema_is_still_read(layers, payload):
    old = payload | {"schema": 1}
    for key in ("preset", "limits", "loss", "bound"):
        del old[key]
    assert from_json(old, layers) == from_json(payload, layers)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.pop("schema"), '"schema": 2'),
        (lambda p: p.update(schema=3), "schema is 3: this version reads 1 and 2"),
        (lambda p: p.update(schema="2"), "schema is '2'"),
        (lambda p: p.pop("layers"), 'no "layers"'),
        (lambda p: p["layers"].pop("head"), "lacks the layer 'head'"),
        (lambda p: p["layers"].update(tail={}), r"another model \(m\): it has no layer 'tail'"),
        (lambda p: p["layers"].update(head=4), 'head needs "weight" and "activation"'),
        (lambda p: p["layers"]["head"].pop("weight"), 'head needs "weight"'),
        (lambda p: p["layers"]["head"].update(weight=9), "head: 9 bits"),
        (lambda p: p["layers"]["head"].update(activation="MX4"), "head: 'MX4' bits"),
        (lambda p: p["layers"]["head"].update(activation="4"), "head: '4' bits"),
    ],
)
def test_what_is_wrong_is_named(layers, payload, change, message):
    change(payload)
    with pytest.raises(ValueError, match=message):
        from_json(payload, layers)


def test_files_that_are_no_json_are_refused(layers, tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        read_allocation(tmp_path / "none.json", layers)
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        read_allocation(tmp_path / "bad.json", layers)
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(ValueError, match="no allocation"):
        read_allocation(tmp_path / "list.json", layers)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000 + "]" * 100_000, "nested too deep"),
        ('{"schema": 2, "x": ' * 50_000 + "1" + "}" * 50_000, "nested too deep"),
        ('{"schema": 2, "schema": 1}', "names 'schema' twice"),
        ('{"layers": {"head": {"weight": 4, "weight": 8}}}', "names 'weight' twice"),
        ('{"schema": NaN}', "holds NaN"),
        ('{"schema": [-Infinity]}', "holds -Infinity"),
        ('{"schema": 1' + "0" * 400 + "}", "a number of 401 digits"),
        ('{"schema": 1' + "0" * 5000 + "}", "a number of 5001 digits"),
        ("", "is not JSON"),
        ('{"schema": 2} {}', "is not JSON"),
    ],
    ids=range(10),
)
def test_json_that_says_too_much_is_refused(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_json_of_any_unicode_encoding_is_read(layers, payload, tmp_path, encoding):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(payload | {"model": "Größe"}, ensure_ascii=False), encoding)
    assert read_allocation(path, layers) == from_json(payload, layers)


def test_files_that_never_end_or_never_begin_are_refused_at_once(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", tmp_path, "nul\0", "n" * 300):
        with pytest.raises(ValueError, match="cannot be read"):
            read_json(path)
    (tmp_path / "large.json").write_text('{"schema": 2}' + " " * 100)
    monkeypatch.setattr(allocation_file, "LARGEST", 100)
    with pytest.raises(ValueError, match="is larger than"):
        read_json(tmp_path / "large.json")


@pytest.mark.parametrize("where", ["schema", "model", "layers", "chosen_on", "weight"])
def test_nested_values_are_refused_in_a_short_sentence(layers, payload, where):
    deep = []
    for _ in range(2000):
        deep = [deep]
    payload[where] = deep
    (payload["layers"]["head"] if where == "weight" else payload)[where] = deep
    if where == "model":
        payload["layers"] = {"other": {}}
    with pytest.raises(ValueError) as raised:
        images_of(payload)
        from_json(payload, layers)
    assert len(str(raised.value)) < 200
