"""Quantizers as ONNX Runtime runs them: pairs of QuantizeLinear and DequantizeLinear."""

from collections.abc import Collection
from typing import Any

import ml_dtypes
import numpy as np
import torch
from onnx import TensorProto, helper
from torch import Tensor

from quant.calibration.presets import Preset
from quant.export.graph import Graph, array
from quant.export.lowering import Coded
from quant.export.skeleton import OPSET
from quant.layers.quantized import FloatWeight, QuantizedLinear
from quant.primitives.bits import MENU, LayerBits
from quant.primitives.floats import Cast
from quant.primitives.formats import BF16, FLOAT, HALF
from quant.primitives.qparams import QParams
from quant.primitives.quantizers import Codebook, Quantizer, Scaled, Uniform

# The narrowest container of so many bits, unsigned and signed, and ONNX's first opset with it.
CONTAINERS = {
    2: (ml_dtypes.uint2, ml_dtypes.int2, 25),
    4: (ml_dtypes.uint4, ml_dtypes.int4, 21),
    8: (np.uint8, np.int8, OPSET),
}
CASTS = {HALF: TensorProto.FLOAT16, BF16: TensorProto.BFLOAT16}
WIDTHS = {*MENU, *CASTS, FLOAT}
LOGARITHMIC = {"adalog", "log-sqrt2"}
NO_LOGARITHMS = "logarithmic quantizers, which ONNX has not: use the preset integer"
NO_SCALES = "scales a token, which no export finds as it runs yet: use the preset integer"
NARROWEST = 4  # of inputs: ONNX Runtime 1.32 moves 2 bits to where it cannot run them


def container(bits: int, least: int = 2) -> int:
    """Return how many bits, at least `least`, hold `bits` in ONNX."""
    return min(size for size in CONTAINERS if size >= max(bits, least))


def least_opset(bits: Collection[LayerBits]) -> int:
    """Return the first of ONNX's opsets that holds all bits."""
    weights, inputs = ({getattr(b, side) for b in bits} for side in ("weight", "activation"))
    sizes = {container(w) for w in weights & set(MENU)}
    sizes |= {container(a, NARROWEST) for a in inputs & set(MENU)}
    return max((CONTAINERS[size][2] for size in sizes), default=OPSET)


def check_preset(preset: Preset) -> None:
    """Check before any work that ONNX has room for a preset's quantizers.

    Raises:
        ValueError: it has not.
    """
    if {preset.gelu, preset.softmax} & LOGARITHMIC:
        raise ValueError(f"{preset.name} has {NO_LOGARITHMS}")
    if preset.tokens == "scaled":
        raise ValueError(f"{preset.name} has {NO_SCALES}")


class QDQ:
    """Integers in ONNX's own types, the next larger one with a narrowed range."""

    def input(self, graph: Graph, quantizer: Quantizer, x: str) -> Coded:
        if isinstance(quantizer, Uniform):
            return _uniform(graph, quantizer.qparams, x)
        if isinstance(quantizer, Codebook):
            return _codebook(graph, quantizer, x)
        if isinstance(quantizer, Cast):
            return Coded(_cast(graph, x, quantizer.bits))
        raise ValueError(NO_SCALES if isinstance(quantizer, Scaled) else NO_LOGARITHMS)

    def weight(self, graph: Graph, layer: QuantizedLinear, bits: int) -> str:
        weight = layer.weight
        if isinstance(weight, FloatWeight):
            return _float_weight(graph, array(weight.values.T), bits)
        unsigned, kind, _ = CONTAINERS[container(bits)]
        codes, zeros = weight.codes.cpu().numpy(), []
        info = ml_dtypes.iinfo(kind)
        if codes.min() < info.min or codes.max() > info.max:
            lowest = np.minimum(codes.min(1), 0).astype(np.int16)
            codes, kind = codes - lowest[:, None], unsigned
            zeros = [graph.constant((-lowest).astype(unsigned))]
        names = [graph.constant(codes.T.astype(kind)), graph.constant(array(weight.scale)), *zeros]
        if isinstance(layer.quantizer, Cast):
            return _scaled(graph, *names)
        return graph.add("DequantizeLinear", *names, axis=1)


def _scaled(graph: Graph, codes: str, scale: str, zeros: str = "") -> str:
    """Write integers times their scales, which a runtime folds as it loads the file.

    Where inputs are in float, ONNX Runtime 1.32 makes of DequantizeLinear and MatMul a product that
    rounds them to 8 bits (MatMulNBits).
    """
    values = graph.add("Cast", codes, to=TensorProto.FLOAT)
    if zeros:
        values = graph.add("Sub", values, graph.add("Cast", zeros, to=TensorProto.FLOAT))
    return graph.add("Mul", values, scale)


def _float_weight(graph: Graph, values: np.ndarray, bits: int) -> str:
    if bits == FLOAT:
        return graph.constant(values)
    kept = values.astype(helper.tensor_dtype_to_np_dtype(CASTS[bits]))
    return graph.add("Cast", graph.constant(kept), to=TensorProto.FLOAT)


def _cast(graph: Graph, x: str, bits: int) -> str:
    """Round to 16 bits and back."""
    if bits == FLOAT:
        return x
    narrow = graph.add("Cast", x, to=CASTS[bits])
    return graph.add("Cast", narrow, to=TensorProto.FLOAT)


def _uniform(graph: Graph, q: QParams, x: str) -> Coded:
    """Quantize and dequantize; a zero point that no container holds becomes an offset."""
    axis, zero = _axis(q.scale), q.zero_point.clamp(0, q.levels)
    # ONNX Runtime 1.32 makes an integer product of what has several scales, and cannot run it:
    # an offset, though it be 0, keeps the two apart.
    offset = None if axis is None else torch.zeros_like(zero)
    if not bool((zero == q.zero_point).all()):
        offset = q.scale * (zero - q.zero_point)
        x = graph.add("Sub", x, graph.constant(array(offset)))
    size = container(q.bits, NARROWEST)
    if size != q.bits:
        x = _clipped(graph, x, -q.scale * zero, q.scale * (q.levels - zero))
    settings: dict[str, Any] = {} if axis is None else {"axis": axis}
    kind = CONTAINERS[size][0]
    shape = () if axis is None else (-1,)
    zeros = zero.detach().cpu().numpy().reshape(shape).astype(kind)
    names = graph.constant(array(q.scale).reshape(shape)), graph.constant(zeros)
    codes = graph.add("QuantizeLinear", x, *names, **settings)
    return Coded(graph.add("DequantizeLinear", codes, *names, **settings), offset)


def _clipped(graph: Graph, x: str, low: Tensor, high: Tensor) -> str:
    """Narrow a range; by Clip ONNX Runtime 1.32 does not load models with 4-bit inputs."""
    x = graph.add("Max", x, graph.constant(array(low)))
    return graph.add("Min", x, graph.constant(array(high)))


def _axis(scale: Tensor) -> int | None:
    """Return along which axis from the end scales lie; None for a single one."""
    long = [axis for axis in range(-scale.dim(), 0) if scale.shape[axis] > 1]
    if len(long) > 1:
        raise ValueError("scales along more than one axis have no place in ONNX")
    return long[0] if long else None


def _codebook(graph: Graph, book: Codebook, x: str) -> Coded:
    """Quantize to the 8-bit grid, look the level up, dequantize."""
    zero = min(max(book.zero_point, 0), 255)
    offset = None
    if zero != book.zero_point:
        offset = book.table.new_tensor(book.step * (zero - book.zero_point))
        x = graph.add("Sub", x, graph.constant(array(offset)))
    names = graph.constant(np.float32(book.step)), graph.constant(np.uint8(zero))
    codes, table = graph.add("QuantizeLinear", x, *names), book.table.cpu().numpy()
    if not np.array_equal(table, np.arange(256)):
        cells = graph.add("Cast", codes, to=TensorProto.INT32)
        codes = graph.add("Gather", graph.constant(table.astype(np.uint8)), cells, axis=0)
    return Coded(graph.add("DequantizeLinear", codes, *names), offset)
