"""Write an ONNX graph node by node; constants that are equal are held once."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, TypeVar

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import helper, numpy_helper
from torch import Tensor

from quant.export.request import Exported


class Graph:
    """A copy of an ONNX graph with other nodes.

    Args:
        skeleton: whose inputs, outputs and constants it takes.
        opset: its version of ONNX's own operators.
    """

    def __init__(self, skeleton: onnx.ModelProto, opset: int) -> None:
        self._skeleton, self.opset = skeleton, opset
        self.constants = {one.name: _bare(one) for one in skeleton.graph.initializer}
        self.nodes: list[onnx.NodeProto] = []
        self._named: dict[tuple[Any, ...], str] = {}
        self._domains: set[str] = set()

    def constant(self, values: ArrayLike) -> str:
        """Return the name of a constant; those of 4 and 2 bits are packed."""
        array = np.asarray(values, order="C")
        key = str(array.dtype), array.shape, array.tobytes()
        if key not in self._named:
            name = f"constant_{len(self._named)}"
            self.constants[name] = numpy_helper.from_array(array, name)
            self._named[key] = name
        return self._named[key]

    def floats(self, name: str) -> np.ndarray | None:
        """Return the values of a constant; None where the graph computes them."""
        found = self.constants.get(name)
        return None if found is None else numpy_helper.to_array(found)

    def add(
        self, operator: str, *inputs: str, out: str = "", domain: str = "", **settings: Any
    ) -> str:
        """Add a node with one output, and return what that is called."""
        name = out or f"value_{len(self.nodes)}"
        made = helper.make_node(operator, inputs, [name], domain=domain, **settings)
        made.name = f"{operator}_{len(self.nodes)}"
        self.nodes.append(made)
        self._domains.add(domain)
        return name

    def copy(self, node: onnx.NodeProto) -> None:
        """Add a node as it is."""
        self.nodes.append(_bare(node))
        self._domains.add(node.domain)

    def model(self) -> onnx.ModelProto:
        """Return the graph as a model, without nodes and constants that nothing reads."""
        graph, nodes = self._skeleton.graph, self._read()
        wanted = {name for node in nodes for name in node.input}
        kept = [one for name, one in self.constants.items() if name in wanted]
        first, last = ([_bare(one) for one in side] for side in (graph.input, graph.output))
        whole = helper.make_graph(nodes, "bitlens", first, last, kept)
        versions = [("", self.opset), *((d, 1) for d in sorted(self._domains - {""}))]
        opsets = [helper.make_opsetid(*one) for one in versions]
        made = helper.make_model(whole, opset_imports=opsets, producer_name="Bitlens")
        made.ir_version = helper.find_min_ir_version_for(opsets[:1])
        return made

    def _read(self) -> list[onnx.NodeProto]:
        """Return the nodes that an output depends on."""
        wanted = {one.name for one in self._skeleton.graph.output}
        kept = []
        for node in reversed(self.nodes):
            if wanted & set(node.output):
                wanted |= set(node.input)
                kept.append(node)
        return kept[::-1]


T = TypeVar("T", onnx.NodeProto, onnx.TensorProto, onnx.ValueInfoProto)


def _bare(one: T) -> T:
    """Return a part of a graph without what its exporter noted on it, which can be half a file."""
    copied = type(one)()
    copied.CopyFrom(one)
    del copied.metadata_props[:]
    copied.doc_string = ""
    return copied


def array(values: Tensor) -> np.ndarray:
    """Return a tensor's values, as floats of 32 bits."""
    return values.detach().cpu().float().contiguous().numpy()


def described(
    model: onnx.ModelProto,
    facts: Mapping[str, str],
    report: dict[str, Any],
    runtime: str,
) -> Exported:
    """Return a model as a file that says of itself what it is and how it was checked."""
    packages = (runtime, "onnx", "torch", "timm")
    report = report | {"versions": {name: version(name) for name in packages}}
    helper.set_model_props(model, {**facts, "check": json.dumps(report)})
    content = model.SerializeToString()
    return Exported(content, {"bytes": len(content), **report})
