"""Put quantized layers where a skeleton has placeholders."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import onnx
from onnx import helper
from torch import Tensor

from quant.calibration.origins import Affine
from quant.export.graph import Graph, array
from quant.export.request import Request
from quant.export.skeleton import DOMAIN
from quant.export.transforming import Transforming
from quant.layers.quantized import QuantizedLinear, QuantizedProduct, Rounded, Weight
from quant.primitives.bits import quantized
from quant.primitives.quantizers import Quantizer

QuantizedLayer = QuantizedLinear | QuantizedProduct


@dataclass(frozen=True)
class Coded:
    """A quantized input in a graph: the value called `name`, plus `offset`, shaped as its scale."""

    name: str
    offset: Tensor | None = None


class Notation(Protocol):
    """How a format writes quantizers."""

    def input(self, graph: Graph, quantizer: Quantizer, x: str) -> Coded:
        """Write a layer's input, quantized; ValueError where the format has no such quantizer."""

    def weight(self, graph: Graph, layer: QuantizedLinear, bits: int) -> str:
        """Write a layer's weight as (C, K)."""


class Lowering:
    """A skeleton with each placeholder replaced: by a quantized layer, or by a float one.

    Args:
        opset: of ONNX.
        layers: the quantized ones, with their weights' bits.
        floats: weights and biases of others, where they are not the skeleton's own.

    Attributes:
        extra: layers whose inputs are transformed when the model runs, and by what, in words.
    """

    def __init__(
        self,
        skeleton: onnx.ModelProto,
        opset: int,
        notation: Notation | None = None,
        layers: Mapping[str, tuple[QuantizedLayer, int]] | None = None,
        floats: Mapping[str, Affine] | None = None,
    ) -> None:
        self._skeleton, self._notation = skeleton, notation
        self._graph = Graph(skeleton, opset)
        self._layers, self._floats = layers or {}, floats or {}
        self._transforming = Transforming(skeleton, self._graph)
        self.extra = self._transforming.extra

    def model(self) -> onnx.ModelProto:
        """Return the whole model.

        Raises:
            ValueError: the format has no room for a quantizer (its layer is named).
        """
        for node in self._skeleton.graph.node:
            if node.domain != DOMAIN:
                self._graph.copy(node)
                continue
            settings = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            name = settings.pop("layer").decode()
            try:
                getattr(self, f"_{node.op_type.lower()}")(node, name, **settings)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        return self._graph.model()

    def _linear(self, node: onnx.NodeProto, name: str, rows: list[int]) -> None:
        if name in self._layers:
            self._rows(node.input[0], name, rows, out=node.output[0])
        else:
            self._float_linear(node, name)

    def _float_linear(self, node: onnx.NodeProto, name: str) -> None:
        graph, (x, weight, *bias) = self._graph, node.input
        values = graph.floats(weight)
        if name in self._floats:
            rows, shift = self._floats[name]
            values, bias = array(rows), [graph.constant(array(shift))]
        turned = (
            graph.add("Transpose", weight, perm=[1, 0])
            if values is None
            else graph.constant(values.T)
        )
        product = graph.add("MatMul", x, turned, out="" if bias else node.output[0])
        if bias:
            graph.add("Add", product, *bias, out=node.output[0])

    def _rows(self, x: str, name: str, rows: list[int], out: str = "") -> str:
        """Write a quantized layer on its input (..., C), of the shape `rows`."""
        graph, (layer, bits) = self._graph, self._layers[name]
        assert isinstance(layer, QuantizedLinear) and self._notation is not None
        x, order = self._transforming.apply(name, layer.transform, x, rows)
        layer = layer if order is None else replace(layer, weight=_ordered(layer.weight, order))
        weight, bias = layer.weight, layer.weight.bias
        coded = self._notation.input(graph, layer.quantizer, x)
        if coded.offset is not None:
            bias = bias + weight.values @ coded.offset.expand(weight.values.shape[1])
        codes = self._notation.weight(graph, layer, bits)
        product = graph.add("MatMul", coded.name, codes)
        return graph.add("Add", product, graph.constant(array(bias)), out=out)

    def _product(self, node: onnx.NodeProto, name: str) -> None:
        first, second = node.input
        if name in self._layers:
            layer, _ = self._layers[name]
            assert isinstance(layer, QuantizedProduct)
            first, second = self._operand(layer.first, first), self._operand(layer.second, second)
        self._graph.add("MatMul", first, second, out=node.output[0])

    def _operand(self, quantizer: Quantizer, x: str) -> str:
        assert self._notation is not None
        coded = self._notation.input(self._graph, quantizer, x)
        if coded.offset is None:
            return coded.name
        return self._graph.add("Add", coded.name, self._graph.constant(array(coded.offset)))

    def _convolution(
        self, node: onnx.NodeProto, name: str, size: list[int], pads: list[int], **settings: Any
    ) -> None:
        graph, (x, weight, *bias) = self._graph, node.input
        if name not in self._layers:
            kernel = settings["kernel_shape"]
            if name in self._floats:
                rows, shift = self._floats[name]
                rows = rows.view(len(rows), -1, *kernel)
                weight, bias = graph.constant(array(rows)), [graph.constant(array(shift))]
            graph.add("Conv", x, weight, *bias, out=node.output[0], pads=pads, **settings)
            return
        if any(pads):  # before it is quantized, as a zero may not stay one
            edges = [0, 0, *pads[:2], 0, 0, *pads[2:]]
            x = graph.add("Pad", x, graph.constant(np.array(edges)))
        layer, _ = self._layers[name]
        assert isinstance(layer, QuantizedLinear)
        channels, columns = layer.weight.values.shape
        patches = self._patches(x, columns, size, **settings)
        y = self._rows(patches, name, [-1, math.prod(size), columns])
        turned = graph.add("Transpose", y, perm=[0, 2, 1])
        shape = graph.constant(np.array([0, channels, *size]))
        graph.add("Reshape", turned, shape, out=node.output[0])

    def _patches(
        self, x: str, columns: int, size: list[int], kernel_shape: list[int], **settings: Any
    ) -> str:
        """Cut images (B, C, H, W) into rows (B, h w, C kh kw)."""
        graph, (h, w), (kh, kw) = self._graph, size, kernel_shape
        channels = columns // (kh * kw)
        if settings["strides"] == kernel_shape and settings["dilations"] == [1, 1]:
            x = graph.add("Reshape", x, graph.constant(np.array([0, channels, h, kh, w, kw])))
            x = graph.add("Transpose", x, perm=[0, 2, 4, 1, 3, 5])
            return graph.add("Reshape", x, graph.constant(np.array([0, h * w, columns])))
        picks = np.eye(columns, dtype=np.float32).reshape(columns, channels, kh, kw)
        x = graph.add("Conv", x, graph.constant(picks), kernel_shape=kernel_shape, **settings)
        x = graph.add("Reshape", x, graph.constant(np.array([0, columns, h * w])))
        return graph.add("Transpose", x, perm=[0, 2, 1])


def _ordered(weight: Weight, order: Tensor) -> Weight:
    """Return a weight whose columns are in another order."""
    if isinstance(weight, Rounded):
        return replace(weight, codes=weight.codes[:, order])
    return replace(weight, values=weight.values[:, order])


def lowered(
    request: Request, skeleton: onnx.ModelProto, opset: int, notation: Notation
) -> Lowering:
    """Calibrate what is not calibrated yet, and return the layers asked for in the skeleton."""
    calibration, allocation = request.calibration, quantized(request.allocation)
    calibration.solve_for(allocation, request.progress)
    made = calibration.layers(allocation)
    layers = {name: (layer, allocation[name].weight) for name, layer in made.items()}
    return Lowering(skeleton, opset, notation, layers, calibration.untouched(allocation))
