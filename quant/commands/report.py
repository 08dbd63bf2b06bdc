"""`python -m quant report`: runs of the history as one HTML file to hand over."""

import argparse
from dataclasses import replace
from typing import Any

from assets.errors import InputError
from assets.home import home
from assets.models.load import LoadedModel, load_model
from assets.outputs import Output
from assets.sets.image_set import ImageSet, class_names
from assets.sets.selection import Draw
from assets.terminal import print_stages
from lrp.engine.device import resolve_device
from lrp.engine.layers import list_layers
from lrp.engine.progress import Progress
from quant.calibration.presets import preset
from quant.experiments.calibrating import Calibrating
from quant.history.recipe import Recipe
from quant.history.runs import FILE, Runs
from quant.report.exported import read
from quant.report.page import write
from quant.report.subject import Opened, gather

SAYS = "write runs as one HTML file to hand over"


def add(parser: argparse.ArgumentParser) -> None:
    """Add which runs, and where the report goes."""
    text = "number of a run (`python -m quant runs` lists them); the first is told of in full"
    parser.add_argument("runs", type=int, nargs="+", metavar="RUN", help=text)
    parser.add_argument("--out", type=Output, required=True, metavar="FILE.html", help="the report")
    text = "what `quant export --json` wrote of the first run's bits"
    parser.add_argument("--exported", nargs="+", default=[], metavar="FILE.json", help=text)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")


def run(options: argparse.Namespace) -> tuple[dict[str, Any] | None, str]:
    """Write the report."""
    subject = gather(Runs(home() / FILE), options.runs)
    exports = [read(path, subject.recipe) for path in options.exported]
    opened = open_again(subject.recipe, options.device)
    written = write(replace(subject, opened=opened), exports, Progress(print_stages()))
    options.out.write(written)
    missing = "".join(f"\n{why}" for why in opened.missing)
    size = f"{len(written.encode()) / 1e6:.1f} MB"
    return None, "" if options.out.is_stdout else f"{options.out}, {size}{missing}"


def open_again(recipe: Recipe, device: str) -> Opened:
    """Open the model and the images of a recipe, as far as they are still there."""
    try:
        loaded = load_model(recipe.model, recipe.checkpoint, resolve_device(device))
        if loaded.key != recipe.model_key:
            raise InputError(f"{recipe.model} has other weights now than were measured")
        layers = list_layers(loaded.model, loaded.input_size)
    except ValueError as error:
        return Opened(missing=(f"The model is not here: {error}.",))
    opened = Opened(loaded, layers, class_names(loaded))
    try:
        measured, calibrating = _images(recipe, loaded)
    except ValueError as error:
        return replace(opened, missing=(f"The images are not here: {error}.",))
    how = Calibrating(loaded, calibrating, preset(recipe.preset), resolve_device(device), home())
    return replace(opened, images=measured, calibrating=how)


def _images(recipe: Recipe, loaded: LoadedModel) -> tuple[ImageSet, ImageSet]:
    """Return the images that were measured and those that calibrated."""
    given = (recipe.data, recipe.calibration, recipe.calibration_images, recipe.images)
    draw = Draw(loaded, *given, recipe.seed)
    found = draw.measured, draw.calibrating
    for images, key in zip(found, (recipe.images_key, recipe.calibration_key), strict=True):
        if images.key != key:
            raise InputError(f"{images.name} holds others now than were measured")
    return found
