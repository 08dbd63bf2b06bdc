"""Command line: `python -m lrp explain` and `python -m lrp scores`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from assets.command_line import (
    Parser,
    add_data_arguments,
    add_model_arguments,
    print_progress,
    start,
    write_json,
)
from assets.data import class_names, load_images
from assets.errors import InputError
from assets.models import LoadedModel, load_model
from assets.selection import pictures, take
from assets.uploads import open_image
from lrp.device import resolve_device
from lrp.heatmap import heatmap
from lrp.layers import list_layers
from lrp.maps import layer_map
from lrp.pictures import enlarge, from_model_input, overlay, scale
from lrp.relevance import Relevance, relevance
from lrp.rules import PRESETS, preset
from lrp.scores import STATISTICS, contribution_scores, image_scores
from lrp.trace import Trace


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, do what it says, return the exit code."""
    options = _parser().parse_args(arguments)
    device = resolve_device(options.device)
    loaded = load_model(options.model, options.checkpoint, device)
    if options.command == "explain":
        return explain(options, loaded, device)
    return scores(options, loaded, device)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m lrp", description="Relevance of a decision.")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("explain", help="explain one image: pictures, arrays and JSON")
    add_model_arguments(one)
    one.add_argument("--image", required=True, help="PNG, JPEG or WebP file")
    one.add_argument("--target", type=int, help="class to explain (default: the predicted one)")
    one.add_argument(
        "--rules", default="ATTN_LRP", help=f"{', '.join(PRESETS)} (default: ATTN_LRP)"
    )
    one.add_argument("--depth", help="block whose input tokens are shown, or pixels")
    one.add_argument("--out", required=True, metavar="FOLDER", help="where the results go")
    many = commands.add_parser("scores", help="contribution score of every layer")
    add_model_arguments(many)
    add_data_arguments(many)
    many.add_argument("--images", type=int, default=32, help="how many images (default: 32)")
    many.add_argument(
        "--rules", default="LRP_QVIT", help=f"{', '.join(PRESETS)} (default: LRP_QVIT)"
    )
    many.add_argument("--statistic", default=STATISTICS[0], help=", ".join(STATISTICS))
    many.add_argument("--json", metavar="FILE", help="write the scores here (- is standard output)")
    return parser


def explain(options: argparse.Namespace, loaded: LoadedModel, device: torch.device) -> int:
    """Write overlay.png, relevance.npz and explanation.json to a folder."""
    rules = preset(options.rules)
    picture = open_image(options.image)
    folder = _folder(options.out)
    image = loaded.transform()(picture)[None].to(device)
    trace = Trace(loaded.model, image, rules)
    found = relevance(trace, options.target)
    shown = heatmap(trace, found, options.depth)[0].cpu().numpy()
    config = loaded.data_config
    view = enlarge(from_model_input(image[0].cpu().numpy(), config["mean"], config["std"]))
    overlay(view, scale(shown)).save(folder / "overlay.png")
    maps = _maps(trace, found, loaded)
    np.savez_compressed(folder / "relevance.npz", allow_pickle=False, **maps)
    payload = _explanation(loaded, trace, found)
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


def _maps(trace: Trace, found: Relevance, loaded: LoadedModel) -> dict[str, np.ndarray]:
    """Return a map (h, w) for every layer that has one, and for the pixels."""
    maps = {"pixels": found.pixels.sum(1)[0].cpu().numpy()}
    for layer in list_layers(loaded.model, loaded.input_size):
        grid = layer_map(trace, found, layer)
        if grid is not None:
            maps[layer.name] = grid[0].cpu().numpy()
    return maps


def _explanation(loaded: LoadedModel, trace: Trace, found: Relevance) -> dict[str, Any]:
    names = class_names(loaded)
    probabilities = trace.logits[0].detach().softmax(0)
    sums = {name: sum(float(r.sum()) for r in parts) for name, parts in found.layers.items()}
    share = image_scores(found)[0].tolist()

    def described(index: int) -> dict[str, Any]:
        return {
            "class": index,
            "name": names[index],
            "probability": float(probabilities[index]),
            "logit": float(trace.logits[0, index].detach()),
        }

    return {
        "model": loaded.name,
        "weights": loaded.key,
        "rules": found.rules.name,
        "target": described(int(found.target[0])),
        "top5": [described(int(i)) for i in probabilities.topk(min(5, len(names))).indices],
        "start": float(found.start[0]),
        "layers": {
            name: {"sum": sums[name], "contribution": c}
            for name, c in zip(sums, share, strict=True)
        },
    }


def scores(options: argparse.Namespace, loaded: LoadedModel, device: torch.device) -> int:
    """Print the contribution score of every layer, and write it as JSON if asked to."""
    images = take(load_images(options.data, loaded, "calibration"), options.images)
    found = contribution_scores(
        loaded.model,
        pictures(images, 8),
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
        "scores": by_layer,
    }
    write_json(payload, options.json)
    if options.json != "-":
        for name, entry in by_layer.items():
            print(f"{name:<40} {entry['mean']:8.5f} +- {entry['sd']:.5f}")
    return 0


if __name__ == "__main__":
    start(main)
