"""`python -m quant compare`: presets at several widths, on several draws of calibration images."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from assets.terminal import add_json, markdown, print_stages, write_json
from lrp.engine.progress import Progress
from quant.allocation.objectives import UNIFORM
from quant.calibration.presets import PRESETS, Preset, preset
from quant.commands.evaluations import add_history, given, history, print_steps
from quant.commands.options import Subject, add_images, draw, subject
from quant.evaluation.answers import Counts
from quant.experiments.calibrating import All, Calibrating
from quant.experiments.measuring import Measuring, Shared, Variant
from quant.experiments.preset_comparison import cells, summarise
from quant.history.runs import Runs
from quant.primitives.bits import LayerBits, uniform

SAYS = "presets and widths over several draws"


def add(parser: argparse.ArgumentParser) -> None:
    """Ask for presets, widths and draws."""
    add_json(parser, "the comparison")
    add_images(parser)
    parser.add_argument(
        "--presets",
        nargs="+",
        default=list(PRESETS),
        metavar="PRESET",
        help=f"{', '.join(PRESETS)}; varied: bitlens:gelu=uniform,bias=off (default: all)",
    )
    parser.add_argument("--widths", nargs="+", default=["W4A4"], help="such as W4A8 W6A6")
    parser.add_argument("--draws", type=int, default=5, help="of calibration images (default: 5)")
    add_history(parser)


def run(options: argparse.Namespace) -> int:
    """Measure presets at several widths on several draws of calibration images."""
    model, kept = subject(options), history(options)
    widths = [LayerBits.read(text) for text in options.widths]
    presets = [preset(name) for name in options.presets]
    if options.draws < 1:
        raise ValueError(f"{options.draws} draws: use 1 or more")
    draws = [
        _measure(options, model, kept, presets, widths, number) for number in range(options.draws)
    ]
    found = summarise(draws)
    named = {name: asdict(comparison) for name, comparison in found.items()}
    payload = {"model": model.loaded.name, "weights": model.loaded.key, "configurations": named}
    write_json(payload, options.json)
    if options.json != "-":
        print(markdown(cells(found)))
    return 0


def _measure(
    options: argparse.Namespace,
    model: Subject,
    kept: Runs | None,
    presets: Sequence[Preset],
    widths: Sequence[LayerBits],
    number: int,
) -> dict[str, Counts]:
    """Measure every preset at every width on one draw; its calibrations are not kept: too many."""
    images, shared = draw(options, model.loaded, number), All[Shared]()
    measured, found = images.measured, {}
    for one in presets:
        with TemporaryDirectory() as folder:
            calibrating = Calibrating(
                model.loaded, images.calibrating, one, model.device, Path(folder)
            )
            measuring = Measuring(calibrating, measured, kept, given(options), number, shared)
            for width in widths:
                steps = measuring.measure(
                    _variant(options, model, width), progress=Progress(print_stages())
                )
                name = f"{one.name} {width}"
                last = print_steps(f"draw {number + 1} of {options.draws}, {name}", steps)
                found[name] = last.answers.counts()
    return found


def _variant(options: argparse.Namespace, model: Subject, width: LayerBits) -> Variant:
    allocation = uniform(model.layers, width.weight, width.activation, options.ends)
    ends = "" if options.ends is None else f", ends {options.ends}"
    return Variant(allocation, UNIFORM, f"{width}{ends}")
