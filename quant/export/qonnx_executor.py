"""Write a model as QONNX, whose `Quant` nodes hold any width; check it by qonnx' own executor."""

import time
import warnings
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
import torch
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes
from torch import Tensor

from quant.calibration.presets import Preset
from quant.export.check import Run, checked
from quant.export.graph import Graph, array, described
from quant.export.lowering import Coded, lowered
from quant.export.request import Exported, Request
from quant.export.skeleton import OPSET, skeleton
from quant.layers.quantized import QuantizedLinear, Rounded
from quant.primitives.bits import MENU
from quant.primitives.formats import FLOAT
from quant.primitives.quantizers import Quantizer, Uniform

DOMAIN = "qonnx.custom_op.general"
REFUSED = "quantizers other than fixed uniform ones, which QONNX has not: use the preset integer"
UNIFORM = {"uniform", "rotated"}


class QONNX:
    """Quantizers as `Quant` nodes: x is rounded to integers of so many bits, and scaled back."""

    def input(self, graph: Graph, quantizer: Quantizer, x: str) -> Coded:
        if not isinstance(quantizer, Uniform):
            raise ValueError(REFUSED)
        q = quantizer.qparams
        return Coded(_quant(graph, x, array(q.scale), array(q.zero_point), q.bits, False))

    def weight(self, graph: Graph, layer: QuantizedLinear, bits: int) -> str:
        weight = layer.weight
        assert isinstance(weight, Rounded)  # as all of 2 to 8 bits are
        codes, scale = weight.codes.cpu().numpy(), array(weight.scale)
        largest, zero = 2 ** (bits - 1), np.zeros_like(scale)
        signed = bool(codes.min() >= -largest and codes.max() < largest)
        if not signed:
            zero = -np.minimum(codes.min(1), 0).astype(np.float32)
        values = graph.constant(array(weight.values).T)
        return _quant(graph, values, scale, zero, bits, signed)


def _quant(
    graph: Graph, x: str, scale: np.ndarray, zero: np.ndarray, bits: int, signed: bool
) -> str:
    names = (graph.constant(one) for one in (scale, zero, np.float32(bits)))
    settings: dict[str, Any] = {"signed": int(signed), "narrow": 0, "rounding_mode": "ROUND"}
    return graph.add("Quant", x, *names, domain=DOMAIN, **settings)


def export_qonnx(request: Request) -> Exported:
    """Return a file of `Quant` nodes, checked by qonnx' executor.

    Raises:
        ValueError: QONNX has no room for a layer or an operation (it is named); answers are not
            those of Bitlens.
    """
    check_preset(request.calibration.preset)
    request.require_widths({*MENU, FLOAT}, "QONNX")
    opset = request.opset_from(OPSET)
    plain = skeleton(request.calibration.turned.model, request.input_size)
    lowering = lowered(request, plain, opset, QONNX())
    model = lowering.model()
    started = time.perf_counter()
    answers = checked(executor(model), request)
    report = {
        "opset": opset,
        **answers,
        "check_seconds": time.perf_counter() - started,
        "at_run_time": lowering.extra,
    }
    return described(model, request.facts, report, "qonnx")


def check_preset(preset: Preset) -> None:
    """Check before any work that QONNX has room for a preset's quantizers.

    Raises:
        ValueError: it has not.
    """
    if preset.tokens == "scaled" or not {preset.gelu, preset.softmax} <= UNIFORM:
        raise ValueError(f"{preset.name} has {REFUSED}")


def executor(model: onnx.ModelProto) -> Run:
    """Return how qonnx runs a model, node by node."""

    @lru_cache(maxsize=2)
    def sized(count: int) -> ModelWrapper:
        copied = onnx.ModelProto()
        copied.CopyFrom(model)
        for end in (*copied.graph.input, *copied.graph.output):
            end.type.tensor_type.shape.dim[0].dim_value = count
        return ModelWrapper(copied).transform(InferShapes())

    def run(images: Tensor) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that shapes it did not infer are others
            found = execute_onnx(sized(len(images)), {"images": images.cpu().numpy()})
        return torch.from_numpy(found["logits"])

    return run
