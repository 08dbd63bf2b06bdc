"""Arguments of every command line: a model, and images for it."""

import argparse

import torch

from assets import terminal
from assets.models.architectures import RECIPES
from assets.models.load import LoadedModel, load_model


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --model, --checkpoint, --download and --device."""
    bundled = ", ".join(RECIPES)
    parser.add_argument("--model", required=True, help=f"{bundled}, or any timm model")
    parser.add_argument("--checkpoint", metavar="FILE", help="weights: safetensors or PyTorch")
    text = "fetch timm's weights from the network, where they are not on this machine"
    parser.add_argument("--download", action="store_true", help=text)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")


def load(options: argparse.Namespace, device: torch.device) -> LoadedModel:
    """Load the model that was asked for, and print what was done to its checkpoint to fit."""
    loaded = load_model(options.model, options.checkpoint, device, options.download)
    for note in loaded.notes:
        terminal.note(f"bitlens: {note}")
    return loaded


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --data."""
    text = "folder with one subfolder per class (default: the bundled digits)"
    parser.add_argument("--data", metavar="FOLDER", help=text)
