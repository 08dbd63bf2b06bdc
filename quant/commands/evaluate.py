"""`python -m quant evaluate`: the accuracy of one configuration, as it comes, beside float's."""

import argparse
import time
from dataclasses import asdict, replace
from typing import Any

from assets.sets.telling import told
from assets.terminal import print_stages
from lrp.engine.progress import Progress
from quant.commands.shared.evaluations import (
    measuring,
    order_suggestion,
    precision,
    print_steps,
    variant,
)
from quant.commands.shared.options import (
    MEASURING,
    add_configuration,
    add_shared,
    add_subject,
    configuration,
    draw,
    subject,
)
from quant.commands.shared.text import accuracy, to_float
from quant.evaluation.answers import Evaluation
from quant.experiments.measuring import FLOAT
from quant.history.recipe import Recipe

SAYS = "accuracy of a quantized model beside the float one"


def add(parser: argparse.ArgumentParser) -> None:
    """Add a configuration, and how well its accuracy has to be known."""
    add_subject(parser, "the result")
    add_shared(parser, "limit")
    add_configuration(parser)
    add_shared(parser, "preset", *MEASURING)


def run(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Measure one configuration and the float model on the same images."""
    model = subject(options)
    name, allocation, used, _ = configuration(options, model.layers)
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
    payload |= {"size_bytes": spent.size_bytes, "file_bytes": spent.file_bytes}
    payload |= {"bitops": spent.bitops, "run": last.run}
    payload["seconds"] = {"calibration": seconds, **payload["seconds"]}
    payload["order_suggestion"] = order_suggestion(images.measured, last.answers)
    payload |= {"path": last.path, "notes": list(model.loaded.notes), "folders": folders}
    payload["plainer"] = dict(measured.calibrating.calibration.surveyed().plainer)
    return payload, _text(payload, known, last.evaluation)


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
        f"{payload['size_bytes'] / 1e6:.2f} MB ({payload['file_bytes'] / 1e6:.2f} with scales), "
        f"{payload['bitops'] / 1e9:.2f} GBitOps; "
        f"{seconds['calibration']:.1f} s calibration, {seconds['float']:.1f} s float, "
        f"{seconds['quantized']:.1f} s quantized on {payload['device']}, {payload['path']}"
        f"{kept}{_plainer(payload)}"
    )


def _plainer(payload: dict[str, Any]) -> str:
    """Say which layers the preset could not treat as it treats others."""
    lines = [f"{name}: {why}" for name, why in payload["plainer"].items()]
    return "\n".join(["\nquantized in a plainer way:", *lines]) if lines else ""
