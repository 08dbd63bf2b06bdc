"""`python -m quant evaluate`: the accuracy of one configuration, as it comes, beside float's."""

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from assets.sets.telling import told
from assets.terminal import print_stages
from lrp.engine.layers import Layer
from lrp.engine.progress import Progress
from quant.allocation.allocation_file import from_json, images_of, read_json
from quant.commands.evaluations import (
    measuring,
    order_suggestion,
    precision,
    print_steps,
    variant,
)
from quant.commands.options import MEASURING, add_shared, add_subject, draw, subject
from quant.commands.text import accuracy, to_float
from quant.evaluation.answers import Evaluation
from quant.experiments.measuring import FLOAT
from quant.history.recipe import Recipe
from quant.primitives.bits import Allocation, LayerBits, uniform

SAYS = "accuracy of a quantized model beside the float one"


def add(parser: argparse.ArgumentParser) -> None:
    """Add a configuration, and how well its accuracy has to be known."""
    add_subject(parser, "the result")
    add_shared(parser, "ends", "limit")
    parser.add_argument("--weight-bits", type=int, help="bits of every layer's weights, 2 to 8")
    parser.add_argument("--activation-bits", type=int, help="bits of every layer's inputs, 2 to 8")
    parser.add_argument("--allocation", metavar="FILE", help="bits by layer, from `quant allocate`")
    add_shared(parser, "preset", *MEASURING)


def run(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Measure one configuration and the float model on the same images."""
    model = subject(options)
    name, allocation, used = _configuration(options, model.layers)
    images = replace(draw(options, model.loaded), taken=used)
    folders = told(images)
    measured = measuring(options, model, images)
    objective = "uniform" if options.allocation is None else "file"
    wanted, enough = variant(options, allocation, name, objective), precision(options)
    started = time.perf_counter()
    measured.logits(wanted, Progress(print_stages()))
    seconds = time.perf_counter() - started
    last = print_steps("evaluation", measured.measure(wanted, enough))
    count = len(last.answers)
    plain = print_steps("float", measured.measure(FLOAT, limit=count))
    known = plain.answers.part(0, count).evaluation(plain.seconds)  # it may have answered more
    payload = _report(measured.recipe(wanted), name, known, last.evaluation)
    spent = model.costs.cost(allocation)
    payload |= {"size_bytes": spent.size_bytes, "bitops": spent.bitops, "run": last.run}
    payload["seconds"] = {"calibration": seconds, **payload["seconds"]}
    payload["order_suggestion"] = order_suggestion(images.measured, last.answers)
    payload |= {"path": last.path, "notes": list(model.loaded.notes), "folders": folders}
    payload["plainer"] = dict(measured.calibrating.calibration.surveyed().plainer)
    return payload, _text(payload, known, last.evaluation)


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


def _text(payload: dict[str, Any], plain: Evaluation, quantized: Evaluation) -> str:
    named = ("float", plain), (payload["configuration"], quantized)
    sides = [f"{name:<12} {accuracy(e)}  top-5 {e.top5:.1%}\n" for name, e in named]
    images, in_all, seconds = (payload[key] for key in ("images", "images_in_all", "seconds"))
    early = "" if images == in_all else f" of {in_all}, which is enough for that precision"
    kept = "" if payload["run"] is None else f"\nkept as run {payload['run']}"
    return (
        f"{''.join(sides)}{to_float(quantized)}; {quantized.agreement:.1%} agree with float\n"
        f"on {images} images{early}, 95 % intervals\n"
        f"{payload['size_bytes'] / 1e6:.2f} MB, {payload['bitops'] / 1e9:.2f} GBitOps; "
        f"{seconds['calibration']:.1f} s calibration, {seconds['float']:.1f} s float, "
        f"{seconds['quantized']:.1f} s quantized on {payload['device']}, {payload['path']}"
        f"{kept}{_plainer(payload)}"
    )


def _plainer(payload: dict[str, Any]) -> str:
    """Say which layers the preset could not treat as it treats others."""
    lines = [f"{name}: {why}" for name, why in payload["plainer"].items()]
    return "\n".join(["\nquantized in a plainer way:", *lines]) if lines else ""
