"""Skeletons of models, each traced once: torch's exporter takes seconds."""

import hashlib

import onnx
from torch import nn

from quant.export.skeleton import skeleton

Size = tuple[int, int, int]
_skeletons: dict[bytes, onnx.ModelProto] = {}


def traced(model: nn.Module, input_size: Size) -> onnx.ModelProto:
    """Return the skeleton of these weights."""
    key = hashlib.sha256(str(model).encode())
    for name, tensor in model.state_dict().items():
        key.update(name.encode() + tensor.cpu().numpy().tobytes())
    found = _skeletons.get(key.digest())
    if found is None:
        found = _skeletons[key.digest()] = skeleton(model, input_size)
    return found
