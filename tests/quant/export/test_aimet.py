"""AIMET's encodings: what they say of tensors is what Bitlens measured, re-derived in numpy."""

import io
import json
import zipfile

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lrp.engine.layers import list_layers
from quant.primitives.bits import LayerBits, uniform
from tests.models import SIZE, SMALL, build
from tests.quant.export_requests import asked

module = pytest.importorskip("quant.export.aimet_encodings")
pytestmark = pytest.mark.usefixtures("traced_once")


@pytest.mark.parametrize(("family", "bits"), list(zip(SMALL, (8, 5, 4), strict=True)))
def test_encodings_are_the_quantizers_that_were_measured(family: str, bits: int) -> None:
    layers = list_layers(build(family), SIZE)
    request = asked(family, uniform(layers, bits, bits), "integer")
    exported = module.export_aimet(request)
    with zipfile.ZipFile(io.BytesIO(exported.content)) as zipped:
        model = onnx.load_from_string(zipped.read("model.onnx"))
        encodings = json.loads(zipped.read("model.encodings"))
    assert encodings["version"] == "1.0.0"
    inputs, weights = encodings["activation_encodings"], encodings["param_encodings"]
    assert len(inputs) == sum(2 if layer.is_product else 1 for layer in layers)
    assert {one["bw"] for one in (*inputs, *weights)} == {bits}
    tensors = {name for node in model.graph.node for name in node.output}
    assert {one["name"] for one in inputs} <= tensors
    kept = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    for one in weights:  # weights lie on their grids already
        values, scale = kept[one["name"]], np.array(one["scale"])
        codes = values / scale - np.array(one["offset"])
        np.testing.assert_allclose(codes, codes.round(), atol=1e-3)
        assert codes.round().min() >= 0 and codes.round().max() <= 2**bits - 1
    found = {
        (round(s, 7), o) for one in inputs for s, o in zip(one["scale"], one["offset"], strict=True)
    }
    for layer in layers:
        quantized = request.calibration.quantized(layer.name, LayerBits(bits, bits))
        sides = (quantized.first, quantized.second) if layer.is_product else (quantized.quantizer,)
        for q in (side.qparams for side in sides):
            assert (round(float(q.scale), 7), -int(q.zero_point)) in found


@pytest.mark.parametrize("name", ["bitlens", "bitlens-dynamic", "repq-vit"])
def test_other_quantizers_are_refused_with_what_can_be_had(name: str) -> None:
    layers = list_layers(build("vit"), SIZE)
    with pytest.raises(ValueError, match="use the preset integer"):
        module.export_aimet(asked("vit", uniform(layers, 8, 8), name))
