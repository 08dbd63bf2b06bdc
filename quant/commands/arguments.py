"""What several commands ask for: a model, images to calibrate on and images to measure."""

from __future__ import annotations

import argparse
from typing import NamedTuple

import torch

from assets.command_line import add_data_arguments, add_model_arguments
from assets.data import ImageSet, load_images
from assets.models import LoadedModel, load_model
from assets.selection import divide, take
from lrp.device import resolve_device
from lrp.layers import Layer, list_layers


class Subject(NamedTuple):
    """The model that a command is about."""

    loaded: LoadedModel
    layers: tuple[Layer, ...]
    device: torch.device


def add_model(parser: argparse.ArgumentParser) -> None:
    """Ask for a model and images."""
    add_model_arguments(parser)
    add_data_arguments(parser)


def subject(options: argparse.Namespace) -> Subject:
    """Load the model that was asked for."""
    device = resolve_device(options.device)
    loaded = load_model(options.model, options.checkpoint, device)
    return Subject(loaded, list_layers(loaded.model, loaded.input_size), device)


def add_images(parser: argparse.ArgumentParser) -> None:
    """Ask for a model, and which images calibrate and measure it."""
    add_model(parser)
    parser.add_argument(
        "--calibration", metavar="FOLDER", help="calibration images (default: others of --data)"
    )
    parser.add_argument("--calibration-images", type=int, default=32, help="default: 32")
    parser.add_argument("--ends", type=int, help="bits of the first and last layer, if others")
    parser.add_argument("--limit", type=int, help="how many images to measure (default: all)")


def images(
    options: argparse.Namespace, loaded: LoadedModel, seed: int = 0
) -> tuple[ImageSet, ImageSet]:
    """Choose calibration images and measured ones; no image is both."""
    data = load_images(options.data, loaded)
    if options.calibration is None and options.data is not None:
        return divide(data, options.calibration_images, options.limit, seed)
    pool = load_images(options.calibration, loaded, "calibration")
    if pool.key == data.key:
        return divide(data, options.calibration_images, options.limit, seed)
    limit = None if options.limit is None else min(options.limit, len(data))
    return take(pool, options.calibration_images, seed), take(data, limit)
