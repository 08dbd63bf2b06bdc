"""Write a model's state as torchao's quantized tensors; check it in the model itself."""

import io
import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn
from torchao.quantization import IntxUnpackedToInt8Tensor

from quant.calibration.origins import Affine
from quant.export.check import checked, latency
from quant.export.request import Exported, Request
from quant.layers.quantized import QuantizedLinear, Rounded
from quant.primitives.bits import quantized
from quant.primitives.formats import DYNAMIC

ACTIVATIONS = "int8_asym_per_token"
# The same bits by torchao's own rounding, of other weights.
CONFIG = """\
from torchao.quantization import (
    FqnToConfig, Int8DynamicActivationIntxWeightConfig as Intx, PerAxis, quantize_
)
quantize_(model, FqnToConfig({{
{entries}
}}), filter_fn=None)
"""


def export_torchao(request: Request) -> Exported:
    """Return a file of torch.save with the state of the model, checked by running it.

    Raises:
        ValueError: torchao has no room for a layer (it is named); answers are not those of Bitlens.
    """
    require_widths(request)
    state = _state(request)
    content = _saved(state, dict(request.facts))
    model = loaded(request.model, torch.load(io.BytesIO(content), weights_only=True)["state"])
    answers = checked(model, request)
    example = torch.zeros(1, *request.input_size, device=request.calibration.images.device)
    report = {
        "float_bytes": len(_saved(request.model.state_dict(), {})),
        **answers,
        "latency": asdict(latency(torch.no_grad()(model), torch.no_grad()(request.model), example)),
        "at_run_time": {},
        "config": config(request),
        "versions": {name: version(name) for name in ("torchao", "torch", "timm")},
    }
    content = _saved(state, {**request.facts, "check": json.dumps(report)})
    return Exported(content, {"bytes": len(content), **report})


def require_widths(request: Request) -> None:
    """Check before any work that torchao has room for all layers.

    Raises:
        ValueError: it has not (the layer is named).
    """
    linear = {name for name, module in request.model.named_modules() if type(module) is nn.Linear}
    for name, bits in quantized(request.allocation).items():
        if name not in linear:
            raise ValueError(f"{name} must stay in float: torchao quantizes linear layers only")
        if bits.activation != DYNAMIC or bits.weight not in range(2, 9):
            raise ValueError(
                f"{name} is {bits.name}: torchao has weights of 2 to 8 bits with inputs of DYN8, "
                "and float; spend bits with --target torchao"
            )


def loaded(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Return a copy of a model with this state; layers that lack a bias get one."""
    copy = deepcopy(model)
    for key, value in state.items():
        owner, _, name = key.rpartition(".")
        if getattr(copy.get_submodule(owner), name, None) is None:
            parameter = nn.Parameter(value, requires_grad=False)
            copy.get_submodule(owner).register_parameter(name, parameter)
    copy.load_state_dict(state, assign=True)
    return copy


def config(request: Request) -> str:
    """Return the lines that give other weights the same bits by torchao's own rounding."""
    entry = '    "{}": Intx(weight_dtype=torch.int{}, weight_granularity=PerAxis(0)),'
    taken = quantized(request.allocation).items()
    return CONFIG.format(entries="\n".join(entry.format(n, b.weight) for n, b in taken))


def _state(request: Request) -> dict[str, Tensor]:
    """Return the model's state with what is quantized, and what was rewritten beside it."""
    calibration, allocation = request.calibration, quantized(request.allocation)
    calibration.solve_for(allocation, request.progress)
    state: dict[str, Tensor] = dict(calibration.turned.model.state_dict())
    for name, affine in calibration.untouched(allocation).items():
        _put(state, name, affine)
    for name, layer in calibration.layers(allocation).items():
        bits = allocation[name]
        assert isinstance(layer, QuantizedLinear) and isinstance(layer.weight, Rounded)
        _put(state, name, (_tensor(layer.weight, bits.weight), layer.weight.bias))
    return state


def _put(state: dict[str, Tensor], name: str, affine: Affine) -> None:
    weight, bias = affine
    known = state[f"{name}.weight"]
    state[f"{name}.weight"] = weight if weight.shape == known.shape else weight.view(known.shape)
    if f"{name}.bias" in state or bool(bias.any()):
        state[f"{name}.bias"] = bias


def _tensor(weight: Rounded, bits: int) -> IntxUnpackedToInt8Tensor:
    """Return integers (K, C) as torchao holds them: in the range of so many signed bits."""
    zero = -(2 ** (bits - 1)) - weight.codes.amin(1, keepdim=True).to(torch.int16)
    zero = zero.clamp_max(0) if bits == 8 else zero
    return IntxUnpackedToInt8Tensor(
        (weight.codes + zero).to(torch.int8),
        weight.scale[:, None].contiguous(),
        zero.to(torch.int8),
        getattr(torch, f"int{bits}"),
        (1, weight.codes.shape[1]),
        torch.float32,
        ACTIVATIONS,
    )


def _saved(state: Mapping[str, Tensor], facts: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save({"state": {k: v.cpu() for k, v in state.items()}, "facts": facts}, buffer)
    return buffer.getvalue()
