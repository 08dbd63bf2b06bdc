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
from quant.primitives.bits import MENU
from quant.primitives.formats import label, plain
from quant.primitives.targets import Target, target

SAYS = "how much quantizing each layer alone moves the answer"
SHOWN = 4  # bits by which layers are listed


def add(parser: argparse.ArgumentParser) -> None:
    """Add a quantizer, and how sensitivities are found."""
    add_subject(parser, "the sensitivities")
    add_shared(parser, "preset", *SENSITIVITY, "target")
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
    to = target(options.target)
    losses = sensitivity(calibrated, options.how, options.images, to)
    payload = {
        **model.loaded.facts,
        "preset": calibrated.preset.name,
        "calibration_images": len(images),
        **_described(losses),
        "folders": folders,
    }
    text = _table(losses)
    if options.check:
        payload["check"] = _check(calibrated, options.images, to)
        text = f"{text}\n{_agreement(payload['check'])}"
    return payload, text


def _described(losses: Sensitivity) -> dict[str, Any]:
    rows = zip(losses.names, losses.weight.tolist(), losses.activation.tolist(), strict=True)
    layers = {name: {"weight": w, "activation": a} for name, w, a in rows}
    widths = [plain(width) for width in losses.widths]
    return {"how": losses.how, "images": losses.images, "widths": widths, "layers": layers}


def _check(calibrating: Calibrating, images: int | None, to: Target) -> dict[str, Any]:
    """Compare estimates with what is measured of single layers."""
    estimated, measured = (
        sensitivity(calibrating, how, images, to) for how in (ESTIMATED, MEASURED)
    )
    counts = {ESTIMATED: estimated.images, MEASURED: measured.images}
    return {"images": counts, **rank_correlations(estimated, measured)}


def _table(losses: Sensitivity) -> str:
    """List the layers, those first that cost most at four bits, or at the fewest there are."""
    shown = SHOWN if SHOWN in losses.widths else losses.widths[0]
    column, bits = losses.widths.index(shown), _bits(shown)
    both = losses.weight + losses.activation
    columns = [one[:, column] for one in (losses.weight, losses.activation, both)]
    head = ("layer", f"weights at {bits}", f"input at {bits}", "both, nats")
    rows = [
        (losses.names[row], *(f"{one[row]:.2e}" for one in columns))
        for row in np.argsort(-columns[2]).tolist()
    ]
    sums = zip(losses.widths, both.sum(0), strict=True)
    uniform = ", ".join(f"{_bits(width)} {loss:.3g}" for width, loss in sums)
    return (
        f"{aligned([head, *rows])}\n"
        f"{losses.how} on {losses.images} images; all layers together, nats: {uniform}"
    )


def _bits(width: int) -> str:
    return f"{width} bits" if width in MENU else label(width)


def _agreement(check: Mapping[str, Any]) -> str:
    """Return how alike estimates and measurements rank the layers."""
    widths = list(check["weight"])
    head = ("rank correlation", *(f"{w} bits" if w.isdecimal() else w for w in widths))
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
