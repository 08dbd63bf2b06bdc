"""Read a checkpoint file into a state dict; a file that is no checkpoint is refused in words."""

import pickle
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from assets.errors import InputError

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")  # timm's order of preference
BROKEN = (
    *(SafetensorError, zipfile.BadZipFile),
    *(RuntimeError, EOFError, OSError, ValueError, KeyError),
)

State = dict[str, Tensor]


def read_state(path: Path) -> State:
    """Return the tensors of a checkpoint by name; InputError where the file holds none."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path.name} is no checkpoint: give a file in {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"there is no checkpoint at {path}: give the path of an existing file")
    state = _unwrap(_read(path))
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path.name} holds no state dict: save model.state_dict() to a file")
    return {key.removeprefix("module."): value for key, value in state.items()}


def _read(path: Path) -> object:
    """Read a safetensors or a PyTorch file; weights_only refuses pickles that would run code."""
    safe = path.suffix == ".safetensors"
    try:
        if safe:
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = "it holds more than weights, or is damaged; save model.state_dict() instead"
        raise InputError(f"{path.name} is refused: {reason}") from error
    except BROKEN as error:
        kind = "safetensors" if safe else "a PyTorch checkpoint"
        reason = "the file is damaged or of another kind"
        raise InputError(f"{path.name} cannot be read as {kind}: {reason}") from error


def _unwrap(found: object) -> State:
    """Return the state dict out of a training checkpoint, or an empty dict."""
    for wrapper in WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            return found[wrapper]
    return dict(found) if isinstance(found, dict) else {}


def fill(model: nn.Module, state: State, name: str, source: str) -> None:
    """Load a state dict that must fit exactly; InputError naming the first difference."""
    expected = model.state_dict()
    missing = [key for key in expected if key not in state]
    extra = [key for key in state if key not in expected]
    wrong = [k for k in expected if k in state and state[k].shape != expected[k].shape]
    difference = None
    if wrong:
        there, here = tuple(state[wrong[0]].shape), tuple(expected[wrong[0]].shape)
        difference = f"{wrong[0]} has shape {there} there and {here} in the model"
    elif missing:
        difference = f"{missing[0]} is missing ({len(missing)} of {len(expected)} tensors are)"
    elif extra:
        difference = f"the model has no {extra[0]} ({len(extra)} tensors are left over)"
    if difference:
        raise InputError(f"{source} does not fit {name}: {difference}; give a checkpoint of {name}")
    model.load_state_dict(state)
