"""`python -m quant sensitivity`: what each width of each layer costs, estimated or measured."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from assets.terminal import add_json, aligned, write_json
from quant.analysis.sensitivity import ESTIMATED, MEASURED, Sensitivity, rank_correlations
from quant.calibration.presets import preset
from quant.commands.evaluations import calibrating
from quant.commands.losses import add_how, scoring_images, sensitivity
from quant.commands.options import add_calibration, add_preset, draw, subject
from quant.experiments.calibrating import Calibrating

SAYS = "how much quantizing each layer alone moves the answer"
SHOWN = 4  # bits by which layers are listed


def add(parser: argparse.ArgumentParser) -> None:
    """Ask for a quantizer, and how sensitivities are found."""
    add_json(parser, "the sensitivities")
    add_calibration(parser)
    add_preset(parser)
    add_how(parser)
    parser.add_argument(
        "--check", action="store_true", help="find both, and say how alike they rank the layers"
    )


def run(options: argparse.Namespace) -> int:
    """Find the sensitivities of all layers at all widths, and list the layers."""
    model, chosen = subject(options), preset(options.preset)
    images = draw(options, model.loaded).calibrating
    calibrated = calibrating(model, images, chosen)
    scoring_images(options, images)  # before any work
    found = sensitivity(calibrated, options.how, options.images)
    names = {"model": model.loaded.name, "weights": model.loaded.key, "preset": chosen.name}
    payload = {**names, "calibration_images": len(images), **_described(found)}
    if options.check:
        payload["check"] = _check(calibrated, options.images)
    write_json(payload, options.json)
    if options.json != "-":
        print(_table(found))
        if options.check:
            print(_agreement(payload["check"]))
    return 0


def _described(found: Sensitivity) -> dict[str, Any]:
    rows = zip(found.names, found.weight.tolist(), found.activation.tolist(), strict=True)
    layers = {name: {"weight": w, "activation": a} for name, w, a in rows}
    facts = asdict(found)
    return {**{k: facts[k] for k in ("how", "images", "widths")}, "layers": layers}


def _check(calibrating: Calibrating, images: int | None) -> dict[str, Any]:
    """Compare estimates with what is measured of single layers."""
    estimated, measured = (sensitivity(calibrating, how, images) for how in (ESTIMATED, MEASURED))
    counts = {ESTIMATED: estimated.images, MEASURED: measured.images}
    return {"images": counts, **rank_correlations(estimated, measured)}


def _table(found: Sensitivity) -> str:
    """List the layers, those first that cost most at four bits."""
    column = found.widths.index(SHOWN)
    weight, activation = found.weight[:, column], found.activation[:, column]
    both = weight + activation
    head = ("layer", f"weights at {SHOWN} bits", f"input at {SHOWN} bits", "both, nats")
    rows = [
        (found.names[row], *(f"{v:.2e}" for v in (weight[row], activation[row], both[row])))
        for row in np.argsort(-both).tolist()
    ]
    sums = (found.weight + found.activation).sum(0)
    uniform = ", ".join(f"{w} bits {s:.3g}" for w, s in zip(found.widths, sums, strict=True))
    return (
        f"{aligned([head, *rows])}\n"
        f"{found.how} on {found.images} images; all layers together, nats: {uniform}"
    )


def _agreement(check: Mapping[str, Any]) -> str:
    """Say how alike estimates and measurements rank the layers."""
    widths = list(check["weight"])
    head = ("rank correlation", *(w if w == "pooled" else f"{w} bits" for w in widths))
    sides = {"weight": "weights", "activation": "inputs"}
    rows = [
        (name, *("–" if value is None else f"{value:.3f}" for value in check[side].values()))
        for side, name in sides.items()
    ]
    images = check["images"]
    return (
        f"{aligned([head, *rows])}\n"
        f"of estimates on {images[ESTIMATED]} images with measurements on {images[MEASURED]}"
    )
