"""Command line: `python -m lrp explain`, `python -m lrp scores`, `python -m lrp faithfulness`."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import numpy as np
import torch

from assets.errors import InputError
from assets.models.load import LoadedModel, load_model
from assets.pictures import digits
from assets.pictures.uploads import open_image
from assets.sets.image_set import ImageSet, class_names, load_images
from assets.sets.options import add_data_arguments, add_model_arguments
from assets.sets.selection import pictures, take
from assets.terminal import Parser, print_progress, start, write_json
from lrp.deletion import STEPS, deleted, grid
from lrp.device import resolve_device
from lrp.export import arrays, description, versions
from lrp.faithfulness import faithfulness
from lrp.heatmap import default_depth, depths, heatmap
from lrp.layers import list_layers
from lrp.localisation import Localiser
from lrp.methods import DEFAULT, METHODS, Method, at_depth, method, suitable
from lrp.pictures import enlarge, from_model_input, overlay, scale
from lrp.relevance import relevance
from lrp.report import figures, table
from lrp.robustness import Robustness, robustness
from lrp.rules import PRESETS, preset
from lrp.scores import BATCH, STATISTICS, contribution_scores
from lrp.trace import Trace

SPLIT = "validation"  # of the bundled images, for faithfulness
IMAGES = 100  # for faithfulness


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, do what it says, return the exit code."""
    options = _parser().parse_args(arguments)
    device = resolve_device(options.device)
    loaded = load_model(options.model, options.checkpoint, device)
    return options.run(options, loaded, device)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m lrp", description="Relevance of a decision.")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_explain(commands.add_parser("explain", help="explain one image: picture, arrays, JSON"))
    _add_scores(commands.add_parser("scores", help="contribution score of every layer"))
    text = "how faithful and how costly each method's maps are"
    _add_faithfulness(commands.add_parser("faithfulness", help=text))
    return parser


def _add_explain(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=explain)
    add_model_arguments(parser)
    parser.add_argument("--image", required=True, help="PNG, JPEG or WebP file")
    parser.add_argument("--target", type=int, help="class to explain (default: the predicted one)")
    _add_rules(parser, "ATTN_LRP")
    parser.add_argument("--depth", help="block whose input tokens are shown, or pixels")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where the results go")


def _add_scores(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=scores)
    add_model_arguments(parser)
    add_data_arguments(parser)
    parser.add_argument("--images", type=int, default=32, help="how many images (default: 32)")
    _add_rules(parser, "LRP_QVIT")
    parser.add_argument("--statistic", default=STATISTICS[0], help=", ".join(STATISTICS))
    _add_json(parser, "the scores")


def _add_faithfulness(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=measure)
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
    _add_json(parser, "the figures and curves")


def _add_rules(parser: argparse.ArgumentParser, default: str) -> None:
    text = f"{', '.join(PRESETS)} (default: {default})"
    parser.add_argument("--rules", default=default, help=text)


def _add_json(parser: argparse.ArgumentParser, what: str) -> None:
    text = f"write {what} here (- is standard output)"
    parser.add_argument("--json", metavar="FILE", help=text)


def explain(options: argparse.Namespace, loaded: LoadedModel, device: torch.device) -> int:
    """Write overlay.png, relevance.npz and explanation.json to a folder."""
    rules = preset(options.rules)
    picture = open_image(options.image)
    folder = _folder(options.out)
    image = loaded.transform()(picture)[None].to(device)
    trace = Trace(loaded.model, image, rules)
    found = relevance(trace, options.target)
    depth = options.depth or default_depth(trace)
    shown = heatmap(trace, found, depth)[0].cpu().numpy()
    config = loaded.data_config
    view = enlarge(from_model_input(image[0].cpu().numpy(), config["mean"], config["std"]))
    overlay(view, scale(shown)).save(folder / "overlay.png")
    maps = arrays(trace, found, list_layers(loaded.model, loaded.input_size))
    np.savez_compressed(folder / "relevance.npz", allow_pickle=False, **maps)
    payload = description(trace, found, class_names(loaded), loaded.name, loaded.key, depth)
    write_json(payload, str(folder / "explanation.json"))
    target = payload["target"]
    print(f"{target['name']} ({target['probability']:.1%}): see {folder / 'overlay.png'}")
    return 0


def _folder(out: str) -> Path:
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out} cannot be made a folder: give another with --out") from error
    return folder


def scores(options: argparse.Namespace, loaded: LoadedModel, device: torch.device) -> int:
    """Print the contribution score of every layer, and write it as JSON if asked to."""
    images = take(load_images(options.data, loaded, "calibration"), options.images)
    found = contribution_scores(
        loaded.model,
        pictures(images, BATCH),
        len(images),
        preset(options.rules),
        options.statistic,
        device,
        print_progress("contribution scores"),
    )
    by_layer = {name: {"mean": mean, "sd": found.sd[name]} for name, mean in found.mean.items()}
    payload = {
        "model": loaded.name,
        "weights": loaded.key,
        "rules": found.rules.name,
        "statistic": found.statistic,
        "images": len(images),
        "stability": found.stability,
        "scores": by_layer,
    }
    write_json(payload, options.json)
    if options.json != "-":
        for name, entry in by_layer.items():
            print(f"{name:<40} {entry['mean']:8.5f} +- {entry['sd']:.5f}")
        if found.stability is not None:
            print(f"\nrank correlation between halves of the images: {found.stability:.3f}")
    return 0


def measure(options: argparse.Namespace, loaded: LoadedModel, device: torch.device) -> int:
    """Print how faithful methods are, and write the figures as JSON if asked to."""
    methods = _methods(options.methods, loaded)
    images = _chosen(options, loaded)
    cells = math.prod(grid(loaded.model, *loaded.input_size[1:]))
    deleted(cells, options.steps)  # refuses steps that do not suit before any work
    places = _masks(images) if options.data is None else None
    found = faithfulness(
        loaded.model,
        pictures(images, options.batch),
        len(images),
        methods,
        device,
        options.steps,
        print_progress("faithfulness, maps"),
        on_maps=places,
        seed=options.seed,
    )
    shaken = _shaken(options, loaded, images, methods, device) if options.captum else {}
    made = figures(found, DEFAULT, places, shaken)
    write_json(_settings(options, loaded, images, device) | {"methods": made}, options.json)
    if options.json != "-":
        print(f"{loaded.name}; images: {len(images)}; {cells} cells in {options.steps} steps\n")
        print(table(made, DEFAULT))
    return 0


def _shaken(
    options: argparse.Namespace,
    loaded: LoadedModel,
    images: ImageSet,
    methods: list[Method],
    device: torch.device,
) -> dict[str, Robustness]:
    return robustness(
        loaded.model,
        pictures(images, options.batch),
        len(images),
        methods,
        device,
        print_progress("captum's measures, maps"),
        seed=options.seed,
    )


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
        print(
            f"bitlens: left out, as {loaded.name} does not suit them: {', '.join(left_out)}",
            file=sys.stderr,
        )
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
        "model": loaded.name,
        "weights": loaded.key,
        "data": images.name,
        "skip": options.skip,
        "seed": options.seed,
        "batch": options.batch,
        "steps": options.steps,
        "device": str(device),
        "versions": versions(),
    }


if __name__ == "__main__":
    start(main)
