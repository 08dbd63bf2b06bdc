"""Turn the residual streams of a model once, in its weights: layers after a norm see it turned.

LN without gain and bias keeps a mean-keeping rotation Q, LN(x Q) = LN(x) Q. So gain and bias of
the LayerNorm go into the layers that read it, Q into these and into all that writes to the stream:
nothing is turned when the model runs (QuaRot, arXiv:2404.00456, with the LayerNorm left as it is).
"""

import threading
import weakref
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from quant.calibration.origins import Affine
from quant.calibration.streams import Stream, find_streams
from quant.primitives.transforms import Restoration, gain, mean_keeping, turned_cells

TOLERANCE = 1e-4  # relative; how equal the logits must be


@dataclass(frozen=True, eq=False)
class Turned:
    """A model that answers as another does, with its streams turned.

    Attributes:
        model: a turned copy.
        reads: what a layer behind a norm of the float model sees, of what it sees here, by its
            name; a gain too small to divide by is larger than the norm's.
        writes: Q (C, C) by the name of the layer that writes to a stream.
    """

    model: nn.Module
    reads: Mapping[str, Restoration]
    writes: Mapping[str, Tensor]


_known: weakref.WeakKeyDictionary[nn.Module, Turned | None] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def turned(model: nn.Module, input_size: tuple[int, int, int]) -> Turned:
    """Return a model with the streams turned that can be; it is made once.

    A stream stays as it is where something other than a norm reads it, or where anything but
    layers and parameters writes to it.

    Args:
        input_size: of one image, (3, H, W).
    """
    with _lock:
        if model not in _known:
            _known[model] = _made(model, input_size)
        return _known[model] or unturned(model)


def unturned(model: nn.Module) -> Turned:
    """Return a model with no stream turned."""
    return Turned(model, {}, {})


@torch.no_grad()
def _made(model: nn.Module, input_size: tuple[int, int, int]) -> Turned | None:
    """Return the turned model; None where no stream can be, or answers would change."""
    parameter = next(model.parameters())
    images = torch.rand(2, *input_size, generator=torch.Generator().manual_seed(0)).to(parameter)
    streams = [stream for stream in find_streams(model, images) if _linear(model, stream)]
    if not streams:
        return None
    turning = _Turning(model)
    for stream in streams:
        turning.turn(stream)
    made, plain = turning.made, model(images)
    return made if (made.model(images) - plain).norm() <= TOLERANCE * plain.norm() else None


def _linear(model: nn.Module, stream: Stream) -> bool:
    """Return whether each reader is a linear layer behind one norm."""
    readers = [layer for norm in stream.norms.values() for layer in norm]
    linear = (type(model.get_submodule(name)) is nn.Linear for name in readers)
    return len(set(readers)) == len(readers) and all(linear)


class _Turning:
    """A copy of a model under way."""

    def __init__(self, model: nn.Module) -> None:
        self._copy = deepcopy(model)
        self._reads, self._writes = dict[str, Restoration](), dict[str, Tensor]()
        self.made = Turned(self._copy, self._reads, self._writes)

    def turn(self, stream: Stream) -> None:
        turn = mean_keeping(stream.size).to(next(self._copy.parameters()))
        for norm, names in stream.norms.items():
            self._read(self._layer(norm), sorted(names), turn)
        for name, scale in stream.writers.items():
            self._write(name, scale, turn)
        for name in stream.constants:
            constant = self._copy.get_parameter(name)
            constant.copy_(constant @ turn)

    def _layer(self, name: str) -> Any:
        return self._copy.get_submodule(name)

    def _read(self, norm: Any, names: list[str], turn: Tensor) -> None:
        """Move gain and bias of a norm into the layers that read it, and turn these."""
        for name in names:
            layer = self._layer(name)
            scale, shift = _affine(norm, layer.weight)
            safe = gain(scale, layer.weight.norm(dim=0)).to(scale)
            self._reads[name] = Restoration(turn, safe, shift)
            if bool(shift.any()):
                moved = layer.weight @ shift
                bias = moved if layer.bias is None else layer.bias + moved
                layer.bias = nn.Parameter(bias, requires_grad=False)
            layer.weight.copy_(turned_cells(layer.weight * scale, turn))
        for parameter, value in ((norm.weight, 1.0), (getattr(norm, "bias", None), 0.0)):
            if parameter is not None:
                parameter.fill_(value)

    def _write(self, name: str, scale: str, turn: Tensor) -> None:
        """Turn a layer's output, with what scales it on the way."""
        layer, factor = self._layer(name), torch.ones(len(turn)).to(turn)
        if scale:
            factor = self._copy.get_parameter(scale).clone()
            self._copy.get_parameter(scale).fill_(1.0)
        rows = layer.weight.flatten(1)
        layer.weight.copy_((turn.T @ (factor[:, None] * rows)).view_as(layer.weight))
        if layer.bias is not None:
            layer.bias.copy_((layer.bias * factor) @ turn)
        self._writes[name] = turn


def _affine(norm: nn.Module, like: Tensor) -> Affine:
    """Return gain and bias of a norm."""
    size = like.shape[1]
    parts = (getattr(norm, part, None) for part in ("weight", "bias"))
    scale, shift = (None if part is None else part.clone() for part in parts)
    scale = like.new_ones(size) if scale is None else scale
    return scale, torch.zeros_like(scale) if shift is None else shift
