"""Write what transforms make of layers' inputs: into the LayerNorm before, or as nodes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import NodeProto, helper
from torch import Tensor

from quant.export.graph import Graph, array
from quant.primitives.transforms import (
    Equalisation,
    Rescaling,
    Rotation,
    Transform,
    cosines,
    orthogonal,
)

MOVES = {"Gather", "Slice", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Concat", "Identity"}


class Transforming:
    """Writes transforms of layers' inputs into a graph.

    Attributes:
        extra: what is computed for it when the model runs, in words, by layer name.
    """

    def __init__(self, skeleton: onnx.ModelProto, graph: Graph) -> None:
        self._graph, self._folding = graph, _Folding(skeleton, graph)
        self.extra: dict[str, str] = {}

    def apply(
        self, name: str, transform: Transform | None, x: str, rows: Sequence[int]
    ) -> tuple[str, Tensor | None]:
        """Write the transformed input of a layer.

        Args:
            x: its input, of the shape `rows` (..., C), -1 where that depends on the images.

        Returns:
            what stands for it, and in which order it has the channels (None leaves them).
        """
        if transform is None:
            return x, None
        if isinstance(transform, Equalisation):
            self.extra[name] = "two rotations"
            return self._equalised(transform, x, rows), None
        if isinstance(transform, Rescaling):
            return self._scaled(
                name, x, 1 / transform.factor, transform.shift / transform.factor
            ), None
        assert isinstance(transform, Rotation)  # small floats alone are taken back from a stream
        x = self._scaled(name, x, transform.diagonal, -transform.centre * transform.diagonal)
        self.extra[name] = "a rotation"
        return self._rotated(x, rows)

    def _scaled(self, name: str, x: str, scale: Tensor, shift: Tensor) -> str:
        folded = self._folding.fold(x, array(scale), array(shift))
        if folded is not None:
            return folded
        self.extra[name] = "a scale and a shift"
        return self._affine(x, array(scale), array(shift))

    def _affine(self, x: str, scale: np.ndarray, shift: np.ndarray) -> str:
        x = self._graph.add("Mul", x, self._graph.constant(scale))
        return self._graph.add("Add", x, self._graph.constant(shift))

    def _rotated(self, x: str, rows: Sequence[int]) -> tuple[str, Tensor]:
        """Multiply by H = kron(A, B), one after the other; channels end up column by column."""
        outer, inner = orthogonal(rows[-1])
        sizes = len(outer), len(inner)
        x = self._cells(x, rows, *sizes)
        x = self._turned(self._turned(x, rows, inner), rows, outer, exchange=True)
        return self._whole(x, rows), by_columns(*sizes)

    def _equalised(self, transform: Rotation, x: str, rows: Sequence[int]) -> str:
        shift = self._graph.constant(array(-transform.centre))
        x = self._kronecker(self._graph.add("Add", x, shift), rows, *cosines(rows[-1]))
        x = self._graph.add("Mul", x, self._graph.constant(array(transform.diagonal)))
        return self._kronecker(x, rows, *orthogonal(rows[-1]))

    def _kronecker(self, x: str, rows: Sequence[int], outer: Tensor, inner: Tensor) -> str:
        """Multiply by kron(outer, inner); channels stay in their order."""
        x = self._cells(x, rows, len(outer), len(inner))
        for factor in (outer, inner):
            x = self._turned(x, rows, factor, exchange=True)
        return self._whole(x, rows)

    def _cells(self, x: str, rows: Sequence[int], outer: int, inner: int) -> str:
        shape = self._graph.constant(np.array([*rows[:-1], outer, inner]))
        return self._graph.add("Reshape", x, shape)

    def _whole(self, x: str, rows: Sequence[int]) -> str:
        return self._graph.add("Reshape", x, self._graph.constant(np.array(rows)))

    def _turned(self, x: str, rows: Sequence[int], by: Tensor, exchange: bool = False) -> str:
        """Multiply the last axis, once it is exchanged with the one before if that is wanted."""
        if exchange:
            last = len(rows)
            x = self._graph.add("Transpose", x, perm=[*range(last - 1), last, last - 1])
        return self._graph.add("MatMul", x, self._graph.constant(array(by)))


def by_columns(rows: int, columns: int) -> Tensor:
    """Return the places of a matrix, written row by row, in the order of its columns."""
    return torch.arange(rows * columns).view(rows, columns).T.flatten()


class _Folding:
    """Folds what a layer's input (..., C) is scaled and shifted by into the LayerNorm before.

    Between the two there may be what moves whole rows. The LayerNorm itself is left for those that
    read it as it was.
    """

    def __init__(self, skeleton: onnx.ModelProto, graph: Graph) -> None:
        self._graph = graph
        self._makers = {name: node for node in skeleton.graph.node for name in node.output}
        infos = skeleton.graph.value_info
        self._shapes = {one.name: one.type.tensor_type.shape.dim for one in infos}
        self._made: dict[tuple[str, bytes, bytes], str] = {}

    def fold(self, x: str, scale: np.ndarray, shift: np.ndarray) -> str | None:
        """Return what stands for x scale + shift; None where no LayerNorm makes x's rows."""
        key = x, scale.tobytes(), shift.tobytes()
        maker = self._makers.get(x)
        if key in self._made or maker is None:
            return self._made.get(key)
        if maker.op_type == "LayerNormalization":
            made = self._norm(maker, scale, shift)
        else:
            made = self._moved(maker, scale, shift) if self._moves_rows(maker) else None
        if made is not None:
            self._made[key] = made
        return made

    def _norm(self, node: NodeProto, scale: np.ndarray, shift: np.ndarray) -> str | None:
        gain, *bias = (self._graph.floats(name) for name in node.input[1:] if name)
        if gain is None or any(one is None for one in bias):
            return None
        shift = sum((one * scale for one in bias), shift)
        names = (self._graph.constant(one.astype(np.float32)) for one in (gain * scale, shift))
        return self._graph.add(node.op_type, node.input[0], *names, **_settings(node))

    def _moved(self, node: NodeProto, scale: np.ndarray, shift: np.ndarray) -> str | None:
        count = len(node.input) if node.op_type == "Concat" else 1
        parts = [self.fold(name, scale, shift) for name in node.input[:count]]
        if None in parts:
            return None
        inputs = (str(part) for part in parts)
        return self._graph.add(node.op_type, *inputs, *node.input[count:], **_settings(node))

    def _moves_rows(self, node: NodeProto) -> bool:
        """Return whether a node leaves the last axis of its input as it is."""
        if node.op_type == "Pad":  # by nothing, as windows fit
            pads = self._graph.floats(node.input[1])
            return pads is not None and not pads.any()
        before, after = (self._shapes.get(name) for name in (node.input[0], node.output[0]))
        if node.op_type not in MOVES or not before or not after:
            return False
        settings, last = _settings(node), len(before) - 1
        if node.op_type == "Transpose":
            return settings["perm"][-1] == last
        if node.op_type == "Slice":
            axes = self._graph.floats(node.input[3]) if len(node.input) > 3 else None
            return axes is not None and not {-1, last} & set(axes.tolist())
        kept = before[last].dim_value == after[len(after) - 1].dim_value > 1
        return kept and settings.get("axis", 0) not in (-1, last)


def _settings(node: NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}
