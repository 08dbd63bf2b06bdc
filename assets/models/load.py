"""Load a model by name: one of the bundled three, or any of timm's."""

import difflib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
from torch import Tensor, nn

from assets.errors import InputError
from assets.models import checkpoints, manifest
from assets.models.architectures import RECIPES, build
from assets.models.download import pretrained

BUNDLED: tuple[str, ...] = tuple(RECIPES)


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model ready to run: evaluation mode, no parameter requires a gradient."""

    name: str  # as the user gave it
    model: nn.Module
    input_size: tuple[int, int, int]  # (3, H, W)
    data_config: dict[str, Any]  # timm's, for create_transform
    num_classes: int
    key: str  # "<name>-<12 hexadecimal digits of the weights' SHA-256>"

    def transform(self) -> Callable[[Image.Image], Tensor]:
        """Return timm's evaluation transform: picture -> (3, H, W)."""
        return create_transform(**self.data_config, is_training=False)


def load_model(
    name: str, checkpoint: str | Path | None = None, device: str | torch.device = "cpu"
) -> LoadedModel:
    """Load a bundled model or any timm model, with a checkpoint's weights if one is given.

    Raises InputError for an unknown name, weights that cannot be had, or a checkpoint that does
    not fit.
    """
    _check_name(name)
    if checkpoint is not None:
        model, digest = _from_checkpoint(name, Path(checkpoint))
    elif name in BUNDLED:
        model, digest = _bundled(name)
    else:
        model = pretrained(name)
        digest = _digest(model)
    return _ready(name, model, digest, torch.device(device))


def _ready(name: str, model: nn.Module, digest: str, device: torch.device) -> LoadedModel:
    """Wrap a model for use; InputError unless it classifies RGB pictures."""
    config = resolve_model_data_config(model)
    size, classes = tuple(config["input_size"]), int(getattr(model, "num_classes", 0))
    if classes < 2 or size[0] != 3:
        raise InputError(f"{name} does not classify RGB pictures: choose a model with classes")
    model = model.eval().requires_grad_(False).to(device)
    return LoadedModel(name, model, size, config, classes, f"{name}-{digest[:12]}")


def _bundled(name: str) -> tuple[nn.Module, str]:
    """Return a bundled model and its weights' SHA-256, checked against the manifest's."""
    path, entry = manifest.weights_path(name), manifest.read_manifest().get(name)
    retrain = f"train it with `python -m assets.train {name}`"
    if entry is None or not path.is_file():
        raise InputError(f"the weights of {name} are not there: {retrain}")
    if manifest.sha256_of(path) != entry.sha256:
        raise InputError(
            f"{path.name} is not the file the manifest lists: restore it, or {retrain}"
        )
    model = build(name)
    checkpoints.fill(model, checkpoints.read_state(path), name, path.name)
    return model, entry.sha256


def _from_checkpoint(name: str, path: Path) -> tuple[nn.Module, str]:
    """Return a model filled from a file, and the file's SHA-256."""
    state = checkpoints.read_state(path)
    model = build(name) if name in BUNDLED else _sized(name, state)
    checkpoints.fill(model, state, name, path.name)
    return model, manifest.sha256_of(path)


def _sized(name: str, state: dict[str, Tensor]) -> nn.Module:
    """Build a timm model with as many classes as the checkpoint's head has rows."""
    config = timm.get_pretrained_cfg(name)
    head = getattr(config, "classifier", None) or "head"
    head = head if isinstance(head, str) else head[0]
    weight = state.get(f"{head}.weight")
    rows = 0 if weight is None or weight.ndim == 0 else weight.shape[0]
    classes: dict[str, Any] = {"num_classes": rows} if rows else {}
    return timm.create_model(name, pretrained=False, **classes)


def _check_name(name: str) -> None:
    """Raise InputError, with the closest names, unless it is a bundled or a timm model's."""
    architecture, _, tag = name.partition(".")
    known = timm.is_model(architecture)
    if name in BUNDLED or (
        known and (not tag or name in timm.list_pretrained(f"{architecture}.*"))
    ):
        return
    hint = " or ".join(_closest(name, [*BUNDLED, *timm.list_models(), *timm.list_pretrained()]))
    raise InputError(f"there is no model {name!r}: give a bundled or a timm name, such as {hint}")


def _closest(name: str, known: list[str], count: int = 3) -> list[str]:
    """Return the names whose beginnings are most like a misspelt or shortened name."""

    def likeness(other: str) -> tuple[float, int]:
        beginning = other[: len(name)]
        return difflib.SequenceMatcher(None, name, beginning).ratio(), -len(other)

    return sorted(known, key=likeness, reverse=True)[:count]


def _digest(model: nn.Module) -> str:
    """Return the SHA-256 of a model's names and weights."""
    digest = hashlib.sha256()
    for key, value in model.state_dict().items():
        digest.update(key.encode())
        digest.update(value.contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
