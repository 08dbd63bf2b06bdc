"""Write a float model as ONNX and its quantizers as AIMET's encodings 1.0.0, in one zip file."""

import io
import json
import zipfile
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from quant.export.check import checked
from quant.export.graph import Graph, array, described
from quant.export.lowering import Coded, lowered
from quant.export.onnx_runtime import session
from quant.export.request import Exported, Request
from quant.export.skeleton import OPSET, skeleton
from quant.layers.quantized import QuantizedLinear, Rounded
from quant.primitives.bits import MENU
from quant.primitives.formats import FLOAT
from quant.primitives.quantizers import Quantizer, Uniform

MODEL, ENCODINGS = "model.onnx", "model.encodings"
REFUSED = "a quantizer that is not one uniform range a tensor: use the preset integer"
Encodings = list[dict[str, Any]]


class AIMET:
    """Quantizers beside the graph, by the names of tensors: x ~ scale * (q + offset)."""

    def __init__(self) -> None:
        self.inputs: Encodings = []
        self.weights: Encodings = []

    def input(self, graph: Graph, quantizer: Quantizer, x: str) -> Coded:
        if not (isinstance(quantizer, Uniform) and quantizer.qparams.scale.dim() == 0):
            raise ValueError(REFUSED)
        q = quantizer.qparams
        # Who else reads the tensor does not see it quantized.
        name = graph.add("Identity", x)
        self.inputs.append(_encoding(name, q.bits, array(q.scale), -array(q.zero_point)))
        return Coded(name)

    def weight(self, graph: Graph, layer: QuantizedLinear, bits: int) -> str:
        weight = layer.weight
        assert isinstance(weight, Rounded)  # as all of 2 to 8 bits are
        name = graph.constant(array(weight.values).T)
        lowest = weight.codes.amin(1).clamp_max(0).float()
        self.weights.append(_encoding(name, bits, array(weight.scale), array(lowest)))
        return name


def _encoding(name: str, bits: int, scale: np.ndarray, offset: np.ndarray) -> dict[str, Any]:
    return {
        "name": name,
        "dtype": "INT",
        "bw": bits,
        "enc_type": "PER_CHANNEL" if scale.ndim else "PER_TENSOR",
        "is_sym": False,
        "scale": np.atleast_1d(scale).tolist(),
        "offset": np.atleast_1d(offset).astype(int).tolist(),
    }


def export_aimet(request: Request) -> Exported:
    """Return a zip file of `model.onnx` and `model.encodings`.

    AIMET itself is not run: the encodings are read back and put on the graph by their names, as it
    does, and ONNX Runtime runs that.

    Raises:
        ValueError: AIMET has no room for a layer (it is named); answers are not those of Bitlens.
    """
    request.require_widths({*MENU, FLOAT}, "AIMET")
    opset, notation = request.opset_from(OPSET), AIMET()
    plain = skeleton(request.calibration.turned.model, request.input_size)
    lowering = lowered(request, plain, opset, notation)
    model = lowering.model()
    encodings = {
        "version": "1.0.0",
        "activation_encodings": notation.inputs,
        "param_encodings": notation.weights,
    }
    text = json.dumps(encodings)
    run, _ = session(simulated(model, json.loads(text)).SerializeToString())
    report = {"opset": opset, **checked(run, request), "at_run_time": lowering.extra}
    told = described(model, request.facts, report, "onnxruntime")
    content = _zipped({MODEL: told.content, ENCODINGS: text.encode()})
    return Exported(content, told.report | {"bytes": len(content)})


def simulated(model: onnx.ModelProto, encodings: dict[str, Any]) -> onnx.ModelProto:
    """Return a graph whose tensors are quantized as encodings say, in plain operators."""
    graph = Graph(model, model.opset_import[0].version)
    for one in encodings["param_encodings"]:
        values = numpy_helper.to_array(graph.constants[one["name"]])
        scale, offset = (np.array(one[key], np.float32) for key in ("scale", "offset"))
        codes = np.clip(np.round(values / scale) - offset, 0, 2 ** one["bw"] - 1) + offset
        kept = (codes * scale).astype(np.float32)
        graph.constants[one["name"]] = numpy_helper.from_array(kept, one["name"])
    inputs = {one["name"]: one for one in encodings["activation_encodings"]}
    for number, node in enumerate(model.graph.node):
        graph.copy(node)
        graph.nodes[-1].name = f"copied_{number}"  # others are called by their place
        if node.output[0] in inputs:
            graph.nodes[-1].output[0] = f"{node.output[0]}_float"
            _quantize(graph, inputs[node.output[0]])
    return graph.model()


def _quantize(graph: Graph, one: dict[str, Any]) -> None:
    name, (scale,), (offset,) = one["name"], one["scale"], one["offset"]
    values = {"step": scale, "low": offset, "high": offset + 2 ** one["bw"] - 1}
    for end, value in values.items():  # names that the graph has not
        graph.constants[f"{name}_{end}"] = numpy_helper.from_array(
            np.array(value, np.float32), f"{name}_{end}"
        )
    step, low, high = (f"{name}_{end}" for end in values)
    steps = graph.add("Div", f"{name}_float", step, out=f"{name}_steps")
    whole = graph.add("Round", steps, out=f"{name}_whole")
    codes = graph.add("Clip", whole, low, high, out=f"{name}_codes")
    graph.add("Mul", codes, step, out=name)


def _zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in files.items():
            zipped.writestr(name, content)
    return buffer.getvalue()
