"""Arguments of every command line: a model, and images for it."""

import argparse

from assets.models.architectures import RECIPES


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --model, --checkpoint and --device."""
    bundled = ", ".join(RECIPES)
    parser.add_argument("--model", required=True, help=f"{bundled}, or any timm model")
    parser.add_argument("--checkpoint", help="weights: .safetensors, .pth, .pt or .bin")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --data."""
    text = "folder with one subfolder per class (default: the bundled digits)"
    parser.add_argument("--data", metavar="FOLDER", help=text)
