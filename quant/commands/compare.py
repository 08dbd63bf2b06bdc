"""`python -m quant compare`: presets at several widths, on several draws of calibration images."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict

from assets.sets.image_set import ImageSet
from assets.sets.selection import batches, pictures
from assets.terminal import add_json, markdown, print_progress, write_json
from lrp.engine.progress import Progress
from quant.calibration.calibration import calibrate
from quant.calibration.presets import PRESETS, Preset, preset
from quant.commands.options import Subject, add_images, draw, subject
from quant.evaluation.stream import Run, evaluate
from quant.experiments.preset_comparison import FLOAT, cells, summarise
from quant.model.quantized_model import QuantizedModel
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


def run(options: argparse.Namespace) -> int:
    """Measure presets at several widths on several draws of calibration images."""
    model = subject(options)
    widths = [LayerBits.read(text) for text in options.widths]
    presets = [preset(name) for name in options.presets]
    if options.draws < 1:
        raise ValueError(f"{options.draws} draws: use 1 or more")
    draws = []
    for number in range(options.draws):
        images = draw(options, model.loaded, number)
        measured = images.measured
        runs = _configurations(model, images.calibrating, presets, widths, options.ends)
        report = Progress(print_progress(f"draw {number + 1} of {options.draws}"))
        draws.append(
            evaluate(runs, batches(measured), len(measured), model.device, progress=report)
        )
    found = summarise(draws)
    named = {name: asdict(comparison) for name, comparison in found.items()}
    payload = {"model": model.loaded.name, "weights": model.loaded.key, "configurations": named}
    write_json(payload, options.json)
    if options.json != "-":
        print(markdown(cells(found)))
    return 0


def _configurations(
    subject: Subject,
    calibration: ImageSet,
    presets: Sequence[Preset],
    widths: Sequence[LayerBits],
    ends: int | None,
) -> dict[str, Run]:
    """Name every preset at every width, and float."""
    model = subject.loaded.model
    runs: dict[str, Run] = {FLOAT: model}
    for chosen in presets:
        calibrated = calibrate(model, pictures(calibration), chosen, subject.device)
        for width in widths:
            allocation = uniform(subject.layers, width.weight, width.activation, ends)
            runs[f"{chosen.name} {width}"] = QuantizedModel(model, calibrated, allocation).run
    return runs
