"""`python -m lrp faithfulness`: how faithful and how costly methods' maps are."""

import argparse
import math

import numpy as np
import torch

from assets.errors import InputError
from assets.models.load import LoadedModel
from assets.pictures import digits
from assets.sets.image_set import ImageSet, load_images
from assets.sets.options import add_data_arguments, add_model_arguments
from assets.sets.selection import pictures, take
from assets.sets.telling import tell
from assets.terminal import add_json, aligned, note, print_progress
from lrp.commands.options import subject
from lrp.engine.progress import Progress
from lrp.engine.versions import versions
from lrp.maps.cells import grid
from lrp.maps.heatmap import depths
from lrp.methods.catalogue import DEFAULT, METHODS, Method, at_depth, method, suitable
from lrp.metrics.deletion import STEPS, deleted
from lrp.metrics.faithfulness import faithfulness
from lrp.metrics.localisation import Localiser
from lrp.metrics.report import figures, legend, rows
from lrp.metrics.robustness import robustness
from lrp.propagation.trace import Trace

SAYS = "how faithful and how costly each method's maps are"
SPLIT = "validation"  # of the bundled images
IMAGES = 100
MAPS, SHAKEN = "faithfulness, maps", "captum's measures, maps"  # what progress is called


def add(parser: argparse.ArgumentParser) -> None:
    """Add which methods are measured, on which images."""
    add_model_arguments(parser)
    add_data_arguments(parser)
    text = (
        f"{DEFAULT}, which is always measured, and any of {', '.join(list(METHODS)[1:])}, "
        f"{DEFAULT}@DEPTH, depths ({DEFAULT} at every depth), all (the default: all that suit)"
    )
    parser.add_argument("--methods", default="all", metavar="A,B", help=text)
    parser.add_argument("--images", type=int, help=f"how many images (default: {IMAGES})")
    text = "leave out the first ones of the seed's order, on which something was chosen"
    parser.add_argument("--skip", type=int, default=0, metavar="IMAGES", help=text)
    text = "of the images' order and of equal values' in a map (default: 0)"
    parser.add_argument("--seed", type=int, default=0, help=text)
    parser.add_argument("--batch", type=int, default=8, help="images at a time (default: 8)")
    text = f"in how many the whole image is deleted (default: {STEPS})"
    parser.add_argument("--steps", type=int, default=STEPS, help=text)
    text = "also captum's infidelity and max-sensitivity, which take several times as long"
    parser.add_argument("--captum", action="store_true", help=text)
    add_json(parser, "the figures and curves")


def run(options: argparse.Namespace) -> tuple[dict[str, object], str]:
    """Return how faithful methods are."""
    loaded, device = subject(options)
    methods = _methods(options.methods, loaded)
    images = _chosen(options, loaded)
    folders = tell({"data": images})
    cells = math.prod(grid(loaded.model, *loaded.input_size[1:]))
    deleted(cells, options.steps)  # refuses steps that do not suit before any work
    places = _masks(images) if options.data is None else None
    asked, seed = (len(images), methods, device), options.seed
    batches, progress = pictures(images, options.batch), Progress(print_progress(MAPS))
    found = faithfulness(loaded.model, batches, *asked, options.steps, progress, places, seed)
    shaken = {}
    if options.captum:
        batches, progress = pictures(images, options.batch), Progress(print_progress(SHAKEN))
        shaken = robustness(loaded.model, batches, *asked, progress, seed)
    made = figures(found, DEFAULT, places, shaken)
    head = f"{loaded.name}; images: {len(images)}; {cells} cells in {options.steps} steps"
    table = aligned(rows(made, DEFAULT), right=True)
    payload = _settings(options, loaded, images, device) | {"methods": made, "folders": folders}
    return payload, f"{head}\n\n{table}\n\n{legend(made, DEFAULT)}"


def _methods(names: str, loaded: LoadedModel) -> list[Method]:
    """Return the default method and those named: "all" that suit, "depths" of the default one."""
    asked = [name.strip() for name in names.split(",")]
    chosen = {DEFAULT: method(DEFAULT)}
    for name in asked:
        group = {"all": suitable(loaded.model), "depths": _depths(loaded)}.get(name, (name,))
        chosen |= {one: method(one) for one in group}
    for one in chosen.values():
        if not one.suits(loaded.model):
            raise InputError(f"{one.name} cannot be had for {loaded.name}: leave it out")
    left_out = [name for name in METHODS if name not in chosen]
    if left_out and "all" in asked:
        note(f"bitlens: left out, as {loaded.name} does not suit them: {', '.join(left_out)}")
    tables = [chosen.pop(name) for name in METHODS if name in chosen]
    return [*tables, *chosen.values()]


def _depths(loaded: LoadedModel) -> list[str]:
    """Name the default method at every depth of a model, the first block's first."""
    device = next(loaded.model.parameters()).device
    trace = Trace(loaded.model, torch.zeros(1, *loaded.input_size, device=device))
    return [at_depth(depth).name for depth in depths(trace)]


def _chosen(options: argparse.Namespace, loaded: LoadedModel) -> ImageSet:
    """Return the images to measure on: some of the seed's order, after those to skip."""
    if options.batch < 1:
        raise InputError(f"a batch of {options.batch} images: use 1 or more")
    shuffled = take(load_images(options.data, loaded, SPLIT), None, options.seed)
    if not 0 <= options.skip < len(shuffled):
        raise InputError(f"{options.skip} images to skip: use 0 to {len(shuffled) - 1}")
    left = shuffled.subset(range(options.skip, len(shuffled)))
    count = min(IMAGES, len(left)) if options.images is None else options.images
    if not 0 < count <= len(left):
        raise InputError(f"{count} images asked of {len(left)} left: use 1 to {len(left)}")
    return left.subset(range(count))


def _masks(images: ImageSet) -> Localiser:
    """Return what compares maps with the true masks of bundled images."""
    masks = [digits.sample(SPLIT, index).mask for index in images.indices]
    return Localiser(torch.from_numpy(np.stack(masks)))


def _settings(
    options: argparse.Namespace, loaded: LoadedModel, images: ImageSet, device: torch.device
) -> dict[str, object]:
    return {
        "default": DEFAULT,
        "images": len(images),
        **loaded.facts,
        "data": images.name,
        **{name: getattr(options, name) for name in ("skip", "seed", "batch", "steps")},
        "device": str(device),
        "versions": versions(),
    }
