"""`python -m quant evaluate`: the accuracy of one configuration, as it comes, beside float's."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from assets.terminal import add_json, print_stages, write_json
from lrp.engine.layers import Layer
from lrp.engine.progress import Progress
from quant.allocation.allocation_file import from_json, images_of, read_json
from quant.calibration.presets import preset
from quant.commands.evaluations import (
    add_history,
    add_precision,
    calibrating,
    given,
    history,
    precision,
    print_steps,
)
from quant.commands.options import add_images, add_preset, draw, subject
from quant.commands.text import to_float
from quant.evaluation.answers import Evaluation
from quant.experiments.measuring import FLOAT, Measuring, Variant
from quant.history.recipe import Recipe
from quant.primitives.bits import Allocation, LayerBits, uniform

SAYS = "accuracy of a quantized model beside the float one"


def add(parser: argparse.ArgumentParser) -> None:
    """Ask for a configuration, and how well its accuracy has to be known."""
    add_json(parser, "the result")
    add_images(parser)
    parser.add_argument("--weight-bits", type=int, help="bits of every layer's weights, 2 to 8")
    parser.add_argument("--activation-bits", type=int, help="bits of every layer's inputs, 2 to 8")
    parser.add_argument("--allocation", metavar="FILE", help="bits by layer, from `quant allocate`")
    add_preset(parser)
    add_precision(parser)
    add_history(parser)


def run(options: argparse.Namespace) -> int:
    """Measure one configuration and the float model on the same images."""
    model = subject(options)
    name, allocation, used = _configuration(options, model.layers)
    images = replace(draw(options, model.loaded), taken=used)
    calibrated = calibrating(model, images.calibrating, preset(options.preset))
    measuring = Measuring(calibrated, images.measured, history(options), given(options))
    variant, enough = _variant(options, name, allocation), precision(options)
    started = time.perf_counter()
    measuring.logits(variant, Progress(print_stages()))
    seconds = time.perf_counter() - started
    found = print_steps("evaluation", measuring.measure(variant, enough))
    count = len(found.answers)
    plain = print_steps("float", measuring.measure(FLOAT, limit=count))
    known = plain.answers.part(0, count).evaluation(plain.seconds)  # it may have answered more
    payload = _report(measuring.recipe(variant), name, known, found.evaluation)
    spent = model.costs.cost(allocation)
    payload |= {"size_bytes": spent.size_bytes, "bitops": spent.bitops, "run": found.run}
    payload["seconds"] = {"calibration": seconds, **payload["seconds"]}
    payload["path"] = found.path
    write_json(payload, options.json)
    if options.json != "-":
        _print(payload, found.evaluation)
    return 0


def _configuration(
    options: argparse.Namespace, layers: Sequence[Layer]
) -> tuple[str, Allocation, dict[str, list[int]]]:
    """Return a name, the bits, and the images they were chosen on."""
    widths = (options.weight_bits, options.activation_bits)
    if options.allocation is not None:
        if (*widths, options.ends) != (None, None, None):
            raise ValueError("give --allocation, or the bits of all layers, not both")
        payload = read_json(options.allocation)
        return Path(options.allocation).stem, from_json(payload, layers), images_of(payload)
    if None in widths:
        raise ValueError("give --weight-bits and --activation-bits, or --allocation")
    return str(LayerBits(*widths)), uniform(layers, *widths, options.ends), {}


def _variant(options: argparse.Namespace, name: str, allocation: Allocation) -> Variant:
    objective = "uniform" if options.allocation is None else "file"
    budget = name if options.ends is None else f"{name}, ends {options.ends}"
    return Variant(allocation, objective, budget)


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
