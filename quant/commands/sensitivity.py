"""`python -m quant sensitivity`: what each width of each layer costs, estimated or measured."""

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np

from assets.sets.telling import told
from assets.terminal import aligned
from quant.analysis.sensitivity import ESTIMATED, MEASURED, Sensitivity, rank_correlations
from quant.commands.shared.evaluations import calibrating
from quant.commands.shared.losses import scoring_images, sensitivity
from quant.commands.shared.options import SENSITIVITY, add_shared, add_subject, draw, subject
from quant.experiments.calibrating import Calibrating

SAYS = "how much quantizing each layer alone moves the answer"
SHOWN = 4  # bits by which layers are listed


def add(parser: argparse.ArgumentParser) -> None:
    """Add a quantizer, and how sensitivities are found."""
    add_subject(parser, "the sensitivities")
    add_shared(parser, "preset", *SENSITIVITY)
    parser.add_argument(
        "--check", action="store_true", help="find both, and say how alike they rank the layers"
    )


def run(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Find the sensitivities of all layers at all widths, and list the layers."""
    model = subject(options)
    drawn = draw(options, model.loaded)
    folders, images = told(drawn, measures=False), drawn.calibrating
    calibrated = calibrating(options, model, images)
    scoring_images(options, images)  # before any work
    losses = sensitivity(calibrated, options.how, options.images)
    payload = {
        **model.loaded.facts,
        "preset": calibrated.preset.name,
        "calibration_images": len(images),
        **_described(losses),
        "folders": folders,
    }
    text = _table(losses)
    if options.check:
        payload["check"] = _check(calibrated, options.images)
        text = f"{text}\n{_agreement(payload['check'])}"
    return payload, text


def _described(losses: Sensitivity) -> dict[str, Any]:
    rows = zip(losses.names, losses.weight.tolist(), losses.activation.tolist(), strict=True)
    layers = {name: {"weight": w, "activation": a} for name, w, a in rows}
    return {"how": losses.how, "images": losses.images, "widths": losses.widths, "layers": layers}


def _check(calibrating: Calibrating, images: int | None) -> dict[str, Any]:
    """Compare estimates with what is measured of single layers."""
    estimated, measured = (sensitivity(calibrating, how, images) for how in (ESTIMATED, MEASURED))
    counts = {ESTIMATED: estimated.images, MEASURED: measured.images}
    return {"images": counts, **rank_correlations(estimated, measured)}


def _table(losses: Sensitivity) -> str:
    """List the layers, those first that cost most at four bits."""
    column = losses.widths.index(SHOWN)
    both = losses.weight + losses.activation
    columns = [one[:, column] for one in (losses.weight, losses.activation, both)]
    head = ("layer", f"weights at {SHOWN} bits", f"input at {SHOWN} bits", "both, nats")
    rows = [
        (losses.names[row], *(f"{one[row]:.2e}" for one in columns))
        for row in np.argsort(-columns[2]).tolist()
    ]
    sums = zip(losses.widths, both.sum(0), strict=True)
    uniform = ", ".join(f"{width} bits {loss:.3g}" for width, loss in sums)
    return (
        f"{aligned([head, *rows])}\n"
        f"{losses.how} on {losses.images} images; all layers together, nats: {uniform}"
    )


def _agreement(check: Mapping[str, Any]) -> str:
    """Return how alike estimates and measurements rank the layers."""
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
