"""`python -m quant damage`: a configuration's divergence from float, shared out among layers."""

import argparse
from typing import Any

import numpy as np

from assets.sets.telling import told
from assets.terminal import aligned, print_stages
from lrp.engine.progress import Progress
from quant.analysis.damage import Damage, damage
from quant.commands.shared.evaluations import calibrating
from quant.commands.shared.options import (
    add_configuration,
    add_shared,
    add_subject,
    configuration,
    draw,
    subject,
)

SAYS = "what each layer of a configuration adds to its divergence from float"


def add(parser: argparse.ArgumentParser) -> None:
    """Add a configuration; the images that calibrate it are those that damage is shared out on."""
    add_subject(parser, "what layers add")
    add_configuration(parser)
    add_shared(parser, "preset")


def run(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Share out a configuration's divergence from float, and list the layers."""
    model = subject(options)
    name, allocation, _, _ = configuration(options, model.layers)
    drawn = draw(options, model.loaded)
    folders, calibrated = (
        told(drawn, measures=False),
        calibrating(options, model, drawn.calibrating),
    )
    progress = Progress(print_stages()).of("damage, image")
    found = damage(calibrated.calibration, allocation, progress=progress)
    rows = zip(found.names, found.weight.tolist(), found.activation.tolist(), strict=True)
    payload = {
        **model.loaded.facts,
        "configuration": name,
        "preset": calibrated.preset.name,
        "images": found.images,
        "sum": found.total,
        "measured": found.measured,
        "layers": {layer: {"weight": w, "activation": a} for layer, w, a in rows},
        "folders": folders,
    }
    return payload, _table(found)


def _table(found: Damage) -> str:
    """List the layers, those first that add most."""
    both = found.weight + found.activation
    rows = [
        (
            found.names[row],
            *(f"{side[row]:+.4f}" for side in (found.weight, found.activation, both)),
            f"{both[row] / found.total:.1%}",
        )
        for row in np.argsort(-both).tolist()
    ]
    head = ("layer", "weights", "input", "both, nats", "of all")
    sums = f"{found.weight.sum():.4f} weights, {found.activation.sum():.4f} inputs"
    return (
        f"{aligned([head, *rows])}\n"
        f"all layers {found.total:.4f} nats ({sums}); measured {found.measured:.4f} on "
        f"{found.images} images that calibrate"
    )
