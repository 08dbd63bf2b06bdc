"""Put a checkpoint's weights into a model; what timm can convert is converted, and said."""

import inspect
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import timm
import torch
from torch import Tensor, nn

from assets.errors import InputError, shown
from assets.models.checkpoints import State, find
from assets.models.reading import Content


def fill(model: nn.Module, content: Content, name: str, resize: bool) -> tuple[str, ...]:
    """Fill a model with a file's weights, all of them, and return what is to be said of them.

    Where they do not fit, timm's own filter for the model's family is tried: it turns weights of
    other layouts and image sizes into the model's.

    Args:
        resize: the model gets as many classes as the head in the file has.

    Raises:
        InputError: naming the first difference, or a weight that is no number.
    """
    state, notes = find(content, model.state_dict())
    converted = None
    difference = _difference(model, state, resize)
    if difference is not None:
        converted = _converted(model, state)
        if converted is None or _difference(model, converted, resize) is not None:
            what = f"{content.name} does not fit {name}: {difference}"
            raise InputError(f"{what}; give a checkpoint of {name}")
        notes += tuple(_changes(state, converted))
    fitting = converted or state
    expected = model.state_dict()
    model.load_state_dict({key: value for key, value in fitting.items() if key in expected})
    return notes


def check_finite(model: nn.Module, source: str) -> None:
    """Raise InputError, naming tensor and layer, where a weight is NaN or infinite."""
    for key, value in model.state_dict().items():
        bad = int((~torch.isfinite(value)).sum())
        if bad:
            layer = key.rpartition(".")[0]
            where = f"{key}, of layer {layer}," if layer else key
            raise InputError(
                f"{where} in {source} has NaN or infinite values ({bad:,} of {value.numel():,}): "
                "give weights from before the training diverged"
            )


def _difference(model: nn.Module, state: State, resize: bool) -> str | None:
    """Return the first difference between a state dict and a model's, None where it fits."""
    if resize:
        _resize_head(model, state)
    expected = model.state_dict()
    missing = [key for key in expected if key not in state]
    extra = [key for key in state if key not in expected and state[key].is_floating_point()]
    there = [key for key in expected if key in state]
    wrong = [key for key in there if state[key].shape != expected[key].shape]
    kinds = [key for key in there if _whole(state[key]) and not _whole(expected[key])]
    if wrong:
        shapes = f"{tuple(state[wrong[0]].shape)} there and {tuple(expected[wrong[0]].shape)}"
        return f"{wrong[0]} has shape {shapes} in the model"
    if missing:
        return f"{missing[0]} is missing ({len(missing)} of {len(expected)} tensors are)"
    if kinds:
        return f"{kinds[0]} holds {_dtype(state[kinds[0]])} there and floating point in the model"
    if extra:
        return f"the model has no {shown(extra[0], 80)} ({len(extra)} tensors are left over)"
    return None


def _whole(value: Tensor) -> bool:
    return not value.is_floating_point()


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _resize_head(model: nn.Module, state: State) -> None:
    """Give a model as many classes as the head's weight (classes, width) in a state dict has."""
    names = _config(model)["classifier"]
    weight = state.get(f"{names if isinstance(names, str) else names[0]}.weight")
    if weight is None or weight.ndim != 2 or weight.numel() == 0:
        return
    rows, width = weight.shape
    # Other widths do not fit, and a head of 10^9 such rows must not be made to find that out.
    if rows != model.num_classes and width == model.head_hidden_size:
        model.reset_classifier(rows)  # type: ignore[operator]


def _config(model: nn.Module) -> dict[str, Any]:
    return cast(dict[str, Any], model.pretrained_cfg)


def _converted(model: nn.Module, state: State) -> State | None:
    """Return what timm's filter for pretrained weights makes of a state dict, None for nothing."""
    convert = _filter(model)
    if convert is None:
        return None
    try:
        return dict(convert(dict(state), model))
    except Exception:  # timm's filters fail in any way over weights that are not meant for them
        return None


def _filter(model: nn.Module) -> Callable[..., Any] | None:
    """Return the filter by which timm's builder reads pretrained weights of a model.

    Of FlexiViT and RADIO only the builder knows the filter's arguments: None.
    """
    architecture = _config(model)["architecture"]
    if "flexi" in architecture or "radio" in architecture:
        return None
    module = sys.modules[timm.model_entrypoint(architecture).__module__]
    convert = getattr(module, "checkpoint_filter_fn", None)
    if convert is not None and "adapt_layer_scale" in inspect.signature(convert).parameters:
        return partial(convert, adapt_layer_scale=True)  # as DeiT's builder has it
    return convert


def _changes(state: State, converted: State) -> list[str]:
    """Say what a conversion changed."""
    names = {id(value): key for key, value in state.items()}
    renamed = sum(names.get(id(value), key) != key for key, value in converted.items())
    resized = [
        f"{key} from {_shape(state[key])} to {_shape(value)}"
        for key, value in converted.items()
        if id(value) not in names and key in state and state[key].shape != value.shape
    ]
    notes = []
    if renamed:
        notes.append(f"timm renamed {renamed} of {len(converted)} tensors of another layout")
    if resized:
        more = f" and {len(resized) - 1} more" if len(resized) > 1 else ""
        notes.append(f"timm resized {resized[0]}{more}")
    return notes


def _shape(value: Tensor) -> str:
    return "×".join(map(str, value.shape))
