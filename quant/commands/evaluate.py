"""`python -m quant evaluate`: the accuracy of one configuration, as it comes, beside float's."""

from __future__ import annotations

import argparse
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from assets.command_line import print_progress, write_json
from assets.data import ImageSet
from assets.home import home
from assets.selection import pictures
from lrp.layers import Layer
from quant.allocation import Allocation, uniform
from quant.answers import Answers, Evaluation
from quant.calibration import calibrate, calibration_folder
from quant.commands.arguments import Subject, add_images, images, subject
from quant.commands.words import accuracy, to_float
from quant.cost import cost, other_parameters
from quant.evaluation import Step, stream
from quant.fakequant import QuantizedModel
from quant.files import read_allocation
from quant.presets import DEFAULT, PRESETS, preset
from quant.recipe import Recipe
from quant.record import Recorded, record
from quant.runs import FILE, Runs
from quant.shared import FloatLogits, Pictures

SAYS = "accuracy of a quantized model beside the float one"
SEED = 0
Steps = Callable[[Answers], Iterator[Step]]


def add(parser: argparse.ArgumentParser) -> None:
    """Ask for a configuration, and how well its accuracy has to be known."""
    add_images(parser)
    parser.add_argument("--weight-bits", type=int, help="bits of every layer's weights, 2 to 8")
    parser.add_argument("--activation-bits", type=int, help="bits of every layer's inputs, 2 to 8")
    parser.add_argument("--allocation", metavar="FILE", help="bits by layer, from `quant allocate`")
    parser.add_argument("--preset", default=DEFAULT, help=f"{', '.join(PRESETS)}")
    parser.add_argument(
        "--precision",
        type=float,
        metavar="POINTS",
        help="stop once the difference to float is known to plus or minus this (default: never)",
    )
    parser.add_argument(
        "--no-history", action="store_true", help="neither go on with a run nor keep this one"
    )


def run(options: argparse.Namespace) -> int:
    """Measure one configuration and the float model on the same images."""
    model, precision = subject(options), _precision(options.precision)
    name, allocation = _configuration(options, model.layers)
    calibration, measured = images(options, model.loaded)
    recipe = _recipe(options, model, calibration, measured, (name, allocation))
    history = None if options.no_history else Runs(home() / FILE)
    started = time.perf_counter()
    quantized = _quantized(model, calibration, recipe, allocation)
    seconds = time.perf_counter() - started
    found, plain = _measure(recipe, quantized, model, measured, history, precision)
    payload = _report(recipe, name, plain.evaluation, found.evaluation)
    spent = cost(model.layers, allocation, other_parameters(model.loaded.model, model.layers))
    payload |= {"size_bytes": spent.size_bytes, "bitops": spent.bitops, "run": found.run}
    payload["seconds"] = {"calibration": seconds, **payload["seconds"]}
    payload["path"] = str(quantized.path)
    write_json(payload, options.json)
    if options.json != "-":
        _print(payload, found.evaluation)
    return 0


def _precision(points: float | None) -> float | None:
    if points is not None and not 0 < points < 100:
        raise ValueError(f"--precision {points:g}: use points between 0 and 100, such as 0.5")
    return None if points is None else points / 100


def _configuration(options: argparse.Namespace, layers: Sequence[Layer]) -> tuple[str, Allocation]:
    widths = (options.weight_bits, options.activation_bits)
    if options.allocation is not None:
        if (*widths, options.ends) != (None, None, None):
            raise ValueError("give --allocation, or the bits of all layers, not both")
        return Path(options.allocation).stem, read_allocation(options.allocation, layers)
    if None in widths:
        raise ValueError("give --weight-bits and --activation-bits, or --allocation")
    return f"W{widths[0]}A{widths[1]}", uniform(layers, *widths, options.ends)


def _recipe(
    options: argparse.Namespace,
    model: Subject,
    calibration: ImageSet,
    measured: ImageSet,
    configuration: tuple[str, Allocation],
) -> Recipe:
    name, allocation = configuration
    folders = (options.checkpoint, options.data, options.calibration)
    checkpoint, data, others = (f if f is None else os.path.abspath(f) for f in folders)
    return Recipe(
        model=model.loaded.name,
        checkpoint=checkpoint,
        model_key=model.loaded.key,
        data=data,
        images_key=measured.key,
        images=len(measured),
        seed=SEED,
        preset=preset(options.preset).name,
        calibration_key=calibration.key,
        calibration_images=len(calibration),
        allocation=allocation,
        objective="uniform" if options.allocation is None else "file",
        budget=name if options.ends is None else f"{name}, ends {options.ends}",
        device=str(model.device),
        calibration=others,
    )


def _quantized(
    model: Subject, calibration: ImageSet, recipe: Recipe, allocation: Allocation
) -> QuantizedModel:
    chosen, keys = preset(recipe.preset), (recipe.model_key, calibration.key)
    folder = calibration_folder(home(), keys, chosen)
    batches = pictures(calibration)
    calibrated = calibrate(model.loaded.model, batches, chosen, model.device, folder)
    calibrated.solve_for(allocation, print_progress("calibration"))
    return QuantizedModel(model.loaded.model, calibrated, allocation)


def _measure(
    recipe: Recipe,
    quantized: QuantizedModel,
    model: Subject,
    measured: ImageSet,
    history: Runs | None,
    precision: float | None,
) -> tuple[Recorded, Recorded]:
    """Measure the quantized model, then float on as many images."""
    shared = Pictures(measured), FloatLogits(model.loaded.model, model.device), model.device

    def steps(known: Answers) -> Iterator[Step]:
        name = recipe.budget
        return stream(quantized.run, *shared, name=name, known=known, precision=precision)

    def plain_steps(known: Answers) -> Iterator[Step]:
        return stream(None, *shared, known=known, limit=count)

    found = _last(record(history, recipe, _shown("evaluation", len(measured), steps)))
    count = len(found.answers)
    plain = replace(recipe, allocation=None, objective="float", budget="float")
    found_plain = _last(record(history, plain, _shown("float", count, plain_steps)))
    return found, replace(found_plain, answers=found_plain.answers.part(0, count))


def _last(states: Iterator[Recorded]) -> Recorded:
    return deque(states, maxlen=1).pop()


def _shown(what: str, total: int, steps: Steps) -> Steps:
    """Print how far the steps are, and what they say so far."""

    def shown(known: Answers) -> Iterator[Step]:
        report, done, note = print_progress(what, len(known)), 0, ""
        for step in steps(known):
            found = step.answers.evaluation(0)
            done = min(len(step.answers), total)
            note = f"{accuracy(found)}, {to_float(found)}" if found.half_width else accuracy(found)
            report(done, total, note)
            yield step
        report(done, done, note)  # stopped early, that is all there will be

    return shown


def _report(recipe: Recipe, name: str, plain: Evaluation, quantized: Evaluation) -> dict[str, Any]:
    measured = asdict(quantized)
    return {
        "model": recipe.model,
        "weights": recipe.model_key,
        "configuration": name,
        "preset": recipe.preset,
        "images": quantized.images,
        "images_in_all": recipe.images,
        "float": {k: v for k, v in asdict(plain).items() if k.startswith("top")},
        "quantized": {k: v for k, v in measured.items() if k not in ("images", "seconds")},
        "seconds": {"float": plain.seconds, "quantized": quantized.seconds},
        "calibration_images": recipe.calibration_images,
        "device": recipe.device,
    }


def _print(payload: dict[str, Any], quantized: Evaluation) -> None:
    for label, found in (
        ("float", payload["float"]),
        (payload["configuration"], payload["quantized"]),
    ):
        print(
            f"{label:<12} top-1 {found['top1']:.1%} ({found['top1_low']:.1%} to "
            f"{found['top1_high']:.1%})  top-5 {found['top5']:.1%}"
        )
    images, in_all, seconds = (payload[key] for key in ("images", "images_in_all", "seconds"))
    early = "" if images == in_all else f" of {in_all}, which is enough for that precision"
    kept = "" if payload["run"] is None else f"\nkept as run {payload['run']}"
    print(
        f"{to_float(quantized)}; {quantized.agreement:.1%} agree with float\n"
        f"on {images} images{early}, 95 % intervals\n"
        f"{payload['size_bytes'] / 1e6:.2f} MB, {payload['bitops'] / 1e9:.2f} GBitOps; "
        f"{seconds['calibration']:.1f} s calibration, {seconds['float']:.1f} s float, "
        f"{seconds['quantized']:.1f} s quantized on {payload['device']}, {payload['path']}{kept}"
    )
