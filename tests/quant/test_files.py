import json

import pytest

from lrp.layers import list_layers
from quant.allocation import LayerBits, Solution, uniform
from quant.cost import uniform_cost
from quant.files import from_json, read_allocation, to_json
from tests.models import SIZE, build


@pytest.fixture
def layers():
    return list_layers(build("vit"), SIZE)


@pytest.fixture
def payload(layers):
    allocation = uniform(layers, 3, 6) | {"head": LayerBits(8, 2)}
    cost = uniform_cost(layers, 4, 0)
    return json.loads(json.dumps(to_json("m", Solution(allocation, "lrp", 4, 0.0), cost, cost)))


def test_what_is_written_is_read_back(layers, payload, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(payload))
    found = read_allocation(tmp_path / "a.json", layers)
    assert found == uniform(layers, 3, 6) | {"head": LayerBits(8, 2)}
    assert list(found) == [layer.name for layer in layers]


def broken(payload, change):
    change(payload)
    return payload


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.update(schema=2), '"schema": 1'),
        (lambda p: p.pop("layers"), 'no "layers"'),
        (lambda p: p["layers"].pop("head"), "lacks the layer 'head'"),
        (lambda p: p["layers"].update(tail={}), "no layer 'tail'"),
        (lambda p: p["layers"].update(head=4), 'head needs "weight" and "activation"'),
        (lambda p: p["layers"]["head"].pop("weight"), 'head needs "weight"'),
        (lambda p: p["layers"]["head"].update(weight=9), "head: 9 bits"),
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
