"""What several commands ask for: a model, images to calibrate on and to measure, widths."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import NamedTuple

import torch

from assets.models.load import LoadedModel, load_model
from assets.sets.options import add_data_arguments, add_model_arguments
from assets.sets.selection import Draw
from lrp.engine.device import resolve_device
from lrp.engine.layers import Layer, list_layers
from quant.allocation.budget import Choices, offer
from quant.allocation.cost import CostModel
from quant.calibration.presets import DEFAULT, PRESETS
from quant.primitives.bits import MENU, LayerBits


class Subject(NamedTuple):
    """The model that a command is about."""

    loaded: LoadedModel
    layers: tuple[Layer, ...]
    device: torch.device

    @property
    def costs(self) -> CostModel:
        """What its costs are counted from."""
        return CostModel.of(self.loaded.model, self.layers)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Ask for a model and images."""
    add_model_arguments(parser)
    add_data_arguments(parser)


def subject(options: argparse.Namespace) -> Subject:
    """Load the model that was asked for."""
    device = resolve_device(options.device)
    loaded = load_model(options.model, options.checkpoint, device)
    return Subject(loaded, list_layers(loaded.model, loaded.input_size), device)


def add_calibration(parser: argparse.ArgumentParser) -> None:
    """Ask for a model, and which images calibrate it."""
    add_model(parser)
    parser.add_argument(
        "--calibration", metavar="FOLDER", help="calibration images (default: others of --data)"
    )
    parser.add_argument("--calibration-images", type=int, default=32, help="default: 32")


def add_images(parser: argparse.ArgumentParser) -> None:
    """Ask for a model, and which images calibrate and measure it."""
    add_calibration(parser)
    parser.add_argument("--ends", type=int, help="bits of the first and last layer, if others")
    add_limit(parser)


def add_limit(parser: argparse.ArgumentParser) -> None:
    """Ask how many images are measured."""
    parser.add_argument("--limit", type=int, help="how many images to measure (default: all)")


def add_preset(parser: argparse.ArgumentParser) -> None:
    """Ask for a quantizer."""
    parser.add_argument("--preset", default=DEFAULT, help=f"{', '.join(PRESETS)}")


def add_widths(parser: argparse.ArgumentParser) -> None:
    """Ask which bits each layer may take."""
    parser.add_argument(
        "--menu", type=int, nargs="+", default=MENU, metavar="BITS", help="widths (default: 2 to 8)"
    )
    parser.add_argument(
        "--tied", action="store_true", help="a layer's weights and activations take one width"
    )
    parser.add_argument(
        "--lock",
        action="extend",
        nargs="+",
        default=[],
        metavar="LAYER=BITS",
        help="fix layers: head=8, or head=W4A8",
    )


def choices(options: argparse.Namespace, layers: Sequence[Layer], tied: bool) -> Choices:
    """Return the widths each layer may take."""
    return offer(layers, options.menu, dict(map(_lock, options.lock)), tied)


def _lock(text: str) -> tuple[str, LayerBits | int]:
    name, separator, bits = text.rpartition("=")
    if separator and bits.isdecimal():
        return name, int(bits)
    if not separator or re.match(r"[Ww]\d", bits) is None:
        raise ValueError(f"--lock {text}: use LAYER=BITS, such as head=8 or head=W4A8")
    return name, LayerBits.read(bits)


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
    )
