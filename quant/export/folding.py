"""Scale and shift the channels of a LayerNorm's output by its own gain and bias."""

from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, helper

from quant.export.graph import Graph

MOVES = {"Gather", "Slice", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Concat", "Identity"}


class Folding:
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
