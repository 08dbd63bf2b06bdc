"""How commands measure: what they ask for, and what they print while it goes on."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from assets.home import home
from assets.sets.image_set import ImageSet
from assets.terminal import print_progress
from quant.calibration.presets import Preset
from quant.commands.options import Subject
from quant.commands.text import accuracy, to_float
from quant.evaluation.stream import Step
from quant.experiments.calibrating import Calibrating
from quant.experiments.measuring import Given
from quant.history.runs import FILE, Runs


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Add how well accuracies have to be known."""
    parser.add_argument(
        "--precision",
        type=float,
        metavar="POINTS",
        help="stop once the difference to float is known to plus or minus this (default: never)",
    )


def add_history(parser: argparse.ArgumentParser) -> None:
    """Add whether accuracies are kept."""
    parser.add_argument(
        "--no-history", action="store_true", help="neither go on with a run nor keep this one"
    )


def history(options: argparse.Namespace) -> Runs | None:
    """Open the history, unless none is wanted."""
    return None if options.no_history else Runs(home() / FILE)


def precision(options: argparse.Namespace) -> float | None:
    """Return the precision asked for, as a share."""
    points = options.precision
    if points is not None and not 0 < points < 100:
        raise ValueError(f"--precision {points:g}: use points between 0 and 100, such as 0.5")
    return None if points is None else points / 100


def given(options: argparse.Namespace) -> Given:
    """Return the weights and the images as they were named."""
    return Given(options.checkpoint, options.data, options.calibration)


def calibrating(model: Subject, images: ImageSet, preset: Preset) -> Calibrating:
    """Return how a model is calibrated, and kept in the user's folder."""
    return Calibrating(model.loaded, images, preset, model.device, home())


def print_steps(title: str, steps: Iterator[Step]) -> Step:
    """Print how far an evaluation is and what it says so far; return the last step."""
    report, done, note = print_progress(title), 0, ""
    for step in steps:
        if not len(step.new):  # all was known before, and took no time
            report = print_progress(title, step.start)
        found = step.evaluation
        done = min(len(step.answers), step.wanted)
        note = f"{accuracy(found)}, {to_float(found)}" if found.half_width else accuracy(found)
        report(done, step.wanted, note)
    report(done, done, note)  # stopped early, that is all there will be
    return step
