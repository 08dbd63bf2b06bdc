"""`python -m quant compare`: presets at several widths, on several draws of calibration images."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from assets.sets.telling import told
from assets.terminal import markdown, print_stages
from lrp.engine.progress import Progress
from quant.allocation.objectives import UNIFORM
from quant.calibration.presets import PRESETS, Preset, preset
from quant.commands.shared.evaluations import (
    given,
    history,
    order_suggestion,
    print_steps,
    variant,
)
from quant.commands.shared.options import Subject, add_shared, add_subject, draw, subject
from quant.evaluation.answers import Answers
from quant.experiments.calibrating import All, Calibrating
from quant.experiments.measuring import Measuring, Shared
from quant.experiments.preset_comparison import cells, summarise
from quant.history.runs import Runs
from quant.primitives.bits import LayerBits, uniform

SAYS = "presets and widths over several draws"


def add(parser: argparse.ArgumentParser) -> None:
    """Add presets, widths and draws."""
    add_subject(parser, "the comparison")
    add_shared(parser, "ends", "limit")
    parser.add_argument(
        "--presets",
        nargs="+",
        default=[name for name, one in PRESETS.items() if not one.tuned],
        metavar="PRESET",
        help=f"{', '.join(PRESETS)}; varied: bitlens:gelu=uniform,bias=off (default: all but those "
        "that learn, which take minutes a width)",
    )
    parser.add_argument("--widths", nargs="+", default=["W4A4"], help="such as W4A8 W6A6")
    parser.add_argument("--draws", type=int, default=5, help="of calibration images (default: 5)")
    add_shared(parser, "no-history")


def run(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Measure presets at several widths on several draws of calibration images."""
    model, runs = subject(options), history(options)
    widths = [LayerBits.read(text) for text in options.widths]
    presets = [preset(name) for name in options.presets]
    if options.draws < 1:
        raise ValueError(f"{options.draws} draws: use 1 or more")
    first = draw(options, model.loaded)
    folders = told(first)
    found = [
        _measure(options, model, runs, presets, widths, number) for number in range(options.draws)
    ]
    comparisons = summarise([{name: a.counts() for name, a in one.items()} for one in found])
    suggested = order_suggestion(first.measured, next(iter(found[0].values())))
    named = {name: asdict(comparison) for name, comparison in comparisons.items()}
    payload = {**model.loaded.facts, "configurations": named, "folders": folders}
    payload["order_suggestion"] = suggested
    return payload, markdown(cells(comparisons))


def _measure(
    options: argparse.Namespace,
    model: Subject,
    runs: Runs | None,
    presets: Sequence[Preset],
    widths: Sequence[LayerBits],
    number: int,
) -> dict[str, Answers]:
    """Measure every preset at every width on one draw; its calibrations are not kept: too many."""
    images, shared = draw(options, model.loaded, number), All[Shared]()
    measured, found = images.measured, {}
    for one in presets:
        with TemporaryDirectory(prefix="bitlens-") as folder:
            calibrating = Calibrating(
                model.loaded, images.calibrating, one, model.device, Path(folder)
            )
            measuring = Measuring(calibrating, measured, runs, given(options), number, shared)
            for width in widths:
                allocation = uniform(model.layers, width.weight, width.activation, options.ends)
                wanted = variant(options, allocation, str(width), UNIFORM)
                steps = measuring.measure(wanted, progress=Progress(print_stages()))
                name = f"{one.name} {width}"
                last = print_steps(f"draw {number + 1} of {options.draws}, {name}", steps)
                found[name] = last.answers
    return found
