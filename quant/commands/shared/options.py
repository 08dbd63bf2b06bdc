"""What several commands ask for: a model, images to calibrate on and to measure, and how."""

import argparse
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from assets.models.load import LoadedModel
from assets.sets.image_set import ImageSet, load_images
from assets.sets.options import add_data_arguments, add_model_arguments, load
from assets.sets.selection import Draw
from assets.terminal import add_json
from lrp.engine.device import resolve_device
from lrp.engine.layers import Layer, list_layers
from lrp.propagation import rules
from lrp.propagation.scores import STATISTICS
from quant.allocation.allocation_file import from_json, images_of, read_json
from quant.allocation.budget import Choices, offer
from quant.allocation.cost import CostModel
from quant.analysis.sensitivity import HOW
from quant.calibration.presets import DEFAULT, PRESETS
from quant.primitives.bits import Allocation, LayerBits, uniform
from quant.primitives.formats import read_width
from quant.primitives.targets import ANY, TARGETS, target

# Their help, and what else `add_argument` takes.
SHARED: dict[str, tuple[str, dict[str, Any]]] = {
    "calibration": ("calibration images (default: others of --data)", {"metavar": "FOLDER"}),
    "calibration-images": ("default: 32", {"type": int, "default": 32}),
    "ends": ("bits of the first and last layer, if others", {"type": int}),
    "limit": ("how many images to measure (default: all)", {"type": int}),
    "preset": (", ".join(PRESETS), {"default": DEFAULT}),
    "how": (f"default: {HOW[0]}", {"default": HOW[0], "choices": HOW}),
    "images": (
        "calibration images that layers are scored on (default: all; 16 to measure)",
        {"type": int, "metavar": "N"},
    ),
    "statistic": ("of relevance", {"default": STATISTICS[0], "choices": STATISTICS}),
    "rules": (", ".join(rules.PRESETS), {"default": rules.LRP_QVIT.name}),
    "target": (
        f"what it is to run on (default: {ANY.key}): {', '.join(TARGETS)}",
        {"default": ANY.key, "metavar": "TARGET"},
    ),
    "menu": (
        "widths, of the target's (default: all)",
        {"nargs": "+", "metavar": "BITS"},
    ),
    "tied": ("a layer's weights and activations take one width", {"action": "store_true"}),
    "lock": (
        "fix layers: head=8, head=W4A8 or head=float",
        {"action": "extend", "nargs": "+", "default": [], "metavar": "LAYER=BITS"},
    ),
    "precision": (
        "stop once the difference to float is known to plus or minus this (default: never)",
        {"type": float, "metavar": "POINTS"},
    ),
    "no-history": ("neither go on with a run nor keep this one", {"action": "store_true"}),
}
SENSITIVITY = ("how", "images")
SCORING = (*SENSITIVITY, "statistic", "rules")
WIDTHS = ("target", "menu", "tied", "lock")
MEASURING = ("precision", "no-history")


class Subject(NamedTuple):
    """The model that a command is about."""

    loaded: LoadedModel
    layers: tuple[Layer, ...]
    device: torch.device

    @property
    def costs(self) -> CostModel:
        """What its costs are counted from."""
        return CostModel.of(self.loaded.model, self.layers)


def add_subject(parser: argparse.ArgumentParser, output: str) -> None:
    """Add where the output goes as JSON, a model, its images, and which of them calibrate it."""
    add_json(parser, output)
    add_model_arguments(parser)
    add_data_arguments(parser)
    add_shared(parser, "calibration", "calibration-images")


def add_shared(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add options that several commands have."""
    for name in names:
        text, settings = SHARED[name]
        parser.add_argument(f"--{name}", help=text, **settings)


def subject(options: argparse.Namespace) -> Subject:
    """Load the model that was asked for."""
    device = resolve_device(options.device)
    loaded = load(options, device)
    return Subject(loaded, list_layers(loaded.model, loaded.input_size), device)


def add_configuration(parser: argparse.ArgumentParser) -> None:
    """Add the bits of every layer, for `configuration`."""
    widths = "2 to 8, 16, or a format"
    parser.add_argument("--weight-bits", help=f"of every layer's weights: {widths}")
    parser.add_argument("--activation-bits", help=f"of every layer's inputs: {widths}")
    parser.add_argument("--allocation", metavar="FILE", help="bits by layer, from `quant allocate`")
    add_shared(parser, "ends")


class Configuration(NamedTuple):
    """Bits of layers.

    Attributes:
        used: images that they were chosen on: places in a source, by its key.
        preset: the quantizer that they were chosen by, if any.
    """

    name: str
    allocation: Allocation
    used: dict[str, list[int]]
    preset: str | None = None


def configuration(options: argparse.Namespace, layers: Sequence[Layer]) -> Configuration:
    """Return the bits that were asked for."""
    widths = (options.weight_bits, options.activation_bits)
    if options.allocation is not None:
        if (*widths, options.ends) != (None, None, None):
            raise ValueError("give --allocation, or the bits of all layers, not both")
        payload = read_json(options.allocation)
        allocation, name = from_json(payload, layers), Path(options.allocation).stem
        chosen_by = str(payload.get("preset") or "") or None
        return Configuration(name, allocation, images_of(payload), chosen_by)
    if None in widths:
        raise ValueError("give --weight-bits and --activation-bits, or --allocation")
    bits = LayerBits(*map(read_width, widths))
    allocation = uniform(layers, bits.weight, bits.activation, options.ends)
    return Configuration(str(bits), allocation, {})


def choices(options: argparse.Namespace, layers: Sequence[Layer], tied: bool) -> Choices:
    """Return the widths each layer may take."""
    locks = [_lock(text) for text in options.lock]
    twice = [name for name, count in Counter(name for name, _ in locks).items() if count > 1]
    if twice:
        raise ValueError(f"{twice[0]} is locked more than once: give each layer one --lock")
    menu = None if options.menu is None else list(map(read_width, options.menu))
    return offer(layers, menu, dict(locks), tied, target(options.target))


def _lock(text: str) -> tuple[str, LayerBits | int]:
    name, separator, bits = text.rpartition("=")
    if separator and bits.isdecimal():
        return name, int(bits)
    if not (separator and bits[:1].isalpha()):
        raise ValueError(f"--lock {text}: use LAYER=BITS, such as head=8 or head=W4A8")
    return name, LayerBits.read(bits)


@lru_cache(maxsize=2)
def _opened(folder: str | None, loaded: LoadedModel, split: str) -> ImageSet:
    """Open images once for all draws."""
    return load_images(folder, loaded, split)


def draw(
    options: argparse.Namespace,
    loaded: LoadedModel,
    seed: int = 0,
    measured_seed: int | None = None,
) -> Draw:
    """Return the images that were asked for: those that calibrate, and others to measure."""
    return Draw(
        loaded,
        options.data,
        options.calibration,
        options.calibration_images,
        getattr(options, "limit", None),  # not all commands measure
        seed,
        measured_seed,
        getattr(options, "skip", 0),
        open=_opened,
    )
