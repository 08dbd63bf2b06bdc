"""`python -m lrp explain`: one image explained, as a picture, arrays and JSON."""

import argparse
import io

import numpy as np

from assets.outputs import OutputFolder
from assets.pictures.uploads import open_image
from assets.sets.image_set import class_names
from assets.sets.options import add_model_arguments
from assets.terminal import write_json
from lrp.commands.options import add_rules, subject
from lrp.engine.layers import list_layers
from lrp.maps.export import arrays, description
from lrp.maps.heatmap import default_depth, heatmap
from lrp.maps.pictures import enlarge, from_model_input, overlay, scale
from lrp.propagation.relevance import relevance
from lrp.propagation.rules import preset
from lrp.propagation.trace import Trace

SAYS = "explain one image: picture, arrays, JSON"
PICTURE, ARRAYS, DESCRIPTION = FILES = ("overlay.png", "relevance.npz", "explanation.json")


def add(parser: argparse.ArgumentParser) -> None:
    """Add which image of which model is explained, and how."""
    add_model_arguments(parser)
    parser.add_argument("--image", required=True, help="PNG, JPEG or WebP file")
    parser.add_argument("--target", type=int, help="class to explain (default: the predicted one)")
    add_rules(parser, "ATTN_LRP")
    parser.add_argument("--depth", help="block whose input tokens are shown, or pixels")
    text = "where the results go"
    parser.add_argument("--out", required=True, metavar="FOLDER", help=text, type=_folder)


def run(options: argparse.Namespace) -> tuple[None, str]:
    """Write overlay.png, relevance.npz and explanation.json to a folder."""
    loaded, device = subject(options)
    rules = preset(options.rules)
    picture = open_image(options.image)
    files, picture_bytes, array_bytes = options.out.files, io.BytesIO(), io.BytesIO()
    image = loaded.transform()(picture)[None].to(device)
    trace = Trace(loaded.model, image, rules)
    found = relevance(trace, options.target)
    depth = options.depth or default_depth(trace)
    shown = heatmap(trace, found, depth)[0].cpu().numpy()
    config = loaded.data_config
    view = enlarge(from_model_input(image[0].cpu().numpy(), config["mean"], config["std"]))
    overlay(view, scale(shown)).save(picture_bytes, "PNG")
    maps = arrays(trace, found, list_layers(loaded.model, loaded.input_size))
    np.savez_compressed(array_bytes, allow_pickle=False, **maps)
    payload = description(trace, found, class_names(loaded), loaded.name, loaded.key, depth)
    payload["notes"] = list(loaded.notes)
    files[PICTURE].write(picture_bytes.getvalue())
    files[ARRAYS].write(array_bytes.getvalue())
    write_json(payload, files[DESCRIPTION])
    target = payload["target"]
    return None, f"{target['name']} ({target['probability']:.1%}): see {files[PICTURE]}"


def _folder(path: str) -> OutputFolder:
    return OutputFolder(path, FILES)
