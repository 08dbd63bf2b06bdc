"""How commands measure: with what, and what they print while it goes on."""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from assets.errors import InputError
from assets.home import home
from assets.sets.image_set import ImageSet
from assets.sets.selection import Draw
from assets.terminal import note, print_progress
from quant.calibration.presets import preset
from quant.commands.shared.options import Subject
from quant.commands.shared.text import accuracy, to_float
from quant.evaluation.answers import Answers
from quant.evaluation.label_order import better_order
from quant.evaluation.stream import Step
from quant.experiments.calibrating import Calibrating
from quant.experiments.measuring import Given, Measuring, Variant
from quant.history.database import UnwritableError
from quant.history.runs import FILE, Runs
from quant.primitives.bits import Allocation


def history(options: argparse.Namespace) -> Runs | None:
    """Open the history, unless none is wanted; ValueError where nothing can be kept there."""
    if options.no_history:
        return None
    runs = Runs(home() / FILE)
    try:
        runs.check_writable()
    except UnwritableError as error:
        raise ValueError(f"{error}, or give --no-history") from error
    return runs


def precision(options: argparse.Namespace) -> float | None:
    """Return the precision asked for, as a share."""
    points = options.precision
    if points is not None and not 0 < points < 100:
        raise ValueError(f"--precision {points:g}: use points between 0 and 100, such as 0.5")
    return None if points is None else points / 100


def given(options: argparse.Namespace) -> Given:
    """Return the weights and the images as they were named."""
    return Given(options.checkpoint, options.data, options.calibration)


def variant(
    options: argparse.Namespace, allocation: Allocation, name: str, objective: str
) -> Variant:
    """Return an allocation to measure, named with its first and last layer where they differ."""
    ends = "" if options.ends is None else f", ends {options.ends}"
    return Variant(allocation, objective, f"{name}{ends}")


def calibrating(options: argparse.Namespace, model: Subject, images: ImageSet) -> Calibrating:
    """Return how a model is calibrated; kept in the user's folder, where that is wanted."""
    keep = not getattr(options, "no_history", False)  # without, what is kept is only read
    chosen = preset(options.preset)
    return Calibrating(model.loaded, images, chosen, model.device, _home(keep), keep=keep)


def _home(needed: bool) -> Path | None:
    try:
        return home()
    except InputError:
        if needed:
            raise
        return None


def measuring(options: argparse.Namespace, model: Subject, images: Draw) -> Measuring:
    """Return what variants are measured with."""
    calibrated = calibrating(options, model, images.calibrating)
    return Measuring(calibrated, images.measured, history(options), given(options))


def order_suggestion(images: ImageSet, answers: Answers) -> dict[str, Any] | None:
    """Say on stderr where float's answers suit another order of the class folders far better.

    Return that for JSON, None where they do not.
    """
    others = {} if images.fates is None else images.fates.others
    found = better_order(answers, others)
    if found is None:
        return None
    note(f"bitlens: {found}")
    return asdict(found)


def print_steps(title: str, steps: Iterator[Step]) -> Step:
    """Print how far an evaluation is and what it says so far; return the last step."""
    report, done, note = print_progress(title), 0, ""
    for step in steps:
        if not len(step.new):  # all was known before, and took no time
            report = print_progress(title, step.start)
        evaluation = step.evaluation
        done, note = min(len(step.answers), step.wanted), accuracy(evaluation)
        if evaluation.half_width:
            note = f"{note}, {to_float(evaluation)}"
        report(done, step.wanted, note)
    report(done, done, note)  # stopped early, that is all there will be
    return step
