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

from assets.errors import InputError, shown
from assets.models import fitting, manifest
from assets.models.architectures import RECIPES, build
from assets.models.download import pretrained
from assets.models.reading import read_content
from assets.pictures.uploads import check_resized

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
    notes: tuple[str, ...] = ()  # what was done to a checkpoint so that it fits

    @property
    def facts(self) -> dict[str, Any]:
        """What a report in JSON says of the model."""
        return {"model": self.name, "weights": self.key, "notes": list(self.notes)}

    def transform(self) -> Callable[[Image.Image], Tensor]:
        """Return timm's evaluation transform: picture -> (3, H, W).

        It raises InputError for a picture so thin that resizing would make too many pixels of it.
        """
        prepare = create_transform(**self.data_config, is_training=False)
        if self.data_config["crop_mode"] != "center":  # others fit the longer side
            return prepare
        height, width = (side / self.data_config["crop_pct"] for side in self.input_size[1:])

        def checked(picture: Image.Image) -> Tensor:
            check_resized(picture, height, width)
            return prepare(picture)

        return checked


def load_model(
    name: str,
    checkpoint: str | Path | None = None,
    device: str | torch.device = "cpu",
    download: bool = False,
) -> LoadedModel:
    """Load a bundled model or any timm model, with a checkpoint's weights if one is given.

    Nothing is asked of the network unless `download` is set; timm's own weights that were
    downloaded before need none.  Raises InputError for an unknown name, weights that cannot be had
    or are not finite, or a checkpoint that does not fit.
    """
    _check_name(name)
    try:
        model, digest, notes = _filled(name, checkpoint, download)
    except (MemoryError, RuntimeError) as error:  # PyTorch has no error of its own for it
        if isinstance(error, MemoryError) or "memory" in str(error):
            raise InputError(
                f"{name} needs more memory than there is: use a smaller one"
            ) from error
        raise
    fitting.check_finite(model, shown(Path(checkpoint or name).name))
    return _ready(name, model, digest, torch.device(device), notes)


def _filled(
    name: str, checkpoint: str | Path | None, download: bool
) -> tuple[nn.Module, str, tuple[str, ...]]:
    """Return a model with its weights, what identifies them, and what is to be said of them."""
    if checkpoint is not None:
        return _from_checkpoint(name, checkpoint)
    if name in BUNDLED:
        return *_bundled(name), ()
    model = pretrained(name, download)
    return model, _digest(model), ()


def _ready(
    name: str, model: nn.Module, digest: str, device: torch.device, notes: tuple[str, ...] = ()
) -> LoadedModel:
    """Wrap a model for use; InputError unless it classifies RGB pictures."""
    config = resolve_model_data_config(model)
    size, classes = tuple(config["input_size"]), int(getattr(model, "num_classes", 0))
    if classes < 2 or size[0] != 3:
        raise InputError(f"{name} does not classify RGB pictures: choose a model with classes")
    model = model.eval().requires_grad_(False).to(device)
    return LoadedModel(name, model, size, config, classes, f"{name}-{digest[:12]}", notes)


def _bundled(name: str) -> tuple[nn.Module, str]:
    """Return a bundled model and its weights' SHA-256, checked against the manifest's."""
    path, entry = manifest.weights_path(name), manifest.read_manifest().get(name)
    retrain = f"train it with `python -m assets.train {name}`"
    if entry is None or not path.is_file():
        raise InputError(f"the weights of {name} are not there: {retrain}")
    content = read_content(path)
    if content.sha256 != entry.sha256:
        raise InputError(
            f"{path.name} is not the file the manifest lists: restore it, or {retrain}"
        )
    model = build(name)
    fitting.fill(model, content, name, resize=False)
    return model, entry.sha256


def _from_checkpoint(name: str, path: str | Path) -> tuple[nn.Module, str, tuple[str, ...]]:
    """Return a model filled from a file, the file's SHA-256, and what is to be said of it."""
    content = read_content(path)
    bundled = name in BUNDLED
    model = build(name) if bundled else timm.create_model(name, pretrained=False)
    notes = fitting.fill(model, content, name, resize=not bundled)
    return model, content.sha256, notes


def _check_name(name: str) -> None:
    """Raise InputError, with the closest names, unless it is a bundled or a timm model's."""
    architecture, dot, _ = name.partition(".")
    known = timm.is_model(architecture)
    if name in BUNDLED or (
        known and (not dot or name in timm.list_pretrained(f"{architecture}.*"))
    ):
        return
    given = shown(name, 80)
    hint = " or ".join(_closest(given, [*BUNDLED, *timm.list_models(), *timm.list_pretrained()]))
    raise InputError(f"there is no model '{given}': give a bundled or a timm name, such as {hint}")


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
