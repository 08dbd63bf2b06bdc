"""What several commands ask for: a model, and rules."""

import argparse

import torch

from assets.models.load import LoadedModel
from assets.sets.options import load
from lrp.engine.device import resolve_device
from lrp.propagation.rules import PRESETS


def subject(options: argparse.Namespace) -> tuple[LoadedModel, torch.device]:
    """Load the model that was asked for, on its device."""
    device = resolve_device(options.device)
    return load(options, device), device


def add_rules(parser: argparse.ArgumentParser, default: str) -> None:
    """Add --rules."""
    text = f"{', '.join(PRESETS)} (default: {default})"
    parser.add_argument("--rules", default=default, help=text)
