"""Precompute the example that the first screen shows: `python -m app.example`.

It needs the bundled weights only; run it again whenever they change. A test compares.
"""

import json
import sys
from dataclasses import asdict

import torch
from PIL import Image

from app.first_screen import EXAMPLE_PAIR, FOLDER, Example
from app.look import heatmaps
from assets.models.load import BUNDLED, load_model
from assets.models.manifest import read_manifest
from assets.pictures import digits
from assets.sets.image_set import class_names
from lrp.maps.heatmap import default_depth
from lrp.maps.pictures import enlarge, from_model_input, overlay
from lrp.propagation.relevance import relevance
from lrp.propagation.rules import ATTN_LRP
from lrp.propagation.trace import Trace

TOP = 3
OPACITY = 0.85


def compute() -> tuple[Example, dict[str, Image.Image]]:
    """Explain both digits of a picture; return the facts and the pictures by file name."""
    loaded = load_model(BUNDLED[0])
    drawn = digits.pair("validation", EXAMPLE_PAIR)
    images = loaded.transform()(drawn.image)[None]
    trace = Trace(loaded.model, images, ATTN_LRP)
    shares = torch.softmax(trace.logits[0].detach(), 0)
    depth = default_depth(trace)
    config = loaded.data_config
    seen = enlarge(from_model_input(images[0].numpy(), config["mean"], config["std"]))
    files = {"picture.png": seen}
    for label in drawn.labels:
        values = heatmaps.scaled(heatmaps.at_depth(trace, relevance(trace, label), depth))
        files[f"class-{label}.png"] = overlay(seen, values, OPACITY)
    names = class_names(loaded)
    top = shares.topk(TOP).indices.tolist()
    example = Example(
        model=loaded.name,
        model_sha256=read_manifest()[loaded.name].sha256,
        rules=ATTN_LRP.name,
        block=depth,
        pair=EXAMPLE_PAIR,
        labels=drawn.labels,
        top=tuple((names[k], round(float(shares[k]), 4)) for k in top),
    )
    return example, files


def main() -> None:
    """Write the example into its folder."""
    example, files = compute()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.png"):
        old.unlink()
    for name, picture in files.items():
        picture.save(FOLDER / name, optimize=True)
    text = json.dumps(asdict(example), indent=2) + "\n"
    (FOLDER / "example.json").write_text(text, encoding="utf-8")
    print(f"wrote {len(files) + 1} files to {FOLDER}", file=sys.stderr)


if __name__ == "__main__":
    main()
