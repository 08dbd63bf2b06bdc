"""`python -m quant export`: write a quantized model for another program, checked there."""

import argparse
from dataclasses import replace
from typing import Any

from assets.outputs import Output
from assets.sets.telling import told
from assets.terminal import print_stages
from lrp.engine.progress import Progress
from quant.calibration.presets import INTEGER
from quant.commands.shared.evaluations import calibrating
from quant.commands.shared.options import (
    add_configuration,
    add_subject,
    configuration,
    draw,
    subject,
)
from quant.commands.shared.text import accuracy, to_float
from quant.evaluation.answers import Evaluation
from quant.export.formats import FORMATS
from quant.export.request import CHECKED, Request

SAYS = "write a quantized model for another program, checked there"


def add(parser: argparse.ArgumentParser) -> None:
    """Add a configuration, a format, and where the file goes."""
    add_subject(parser, "how the file compares")
    parser.add_argument("--to", required=True, choices=list(FORMATS), help=_formats())
    parser.add_argument("--out", required=True, metavar="FILE", type=Output, help="the file")
    add_configuration(parser)
    parser.add_argument("--preset", help=f"default: that of --allocation, or {INTEGER.name}")
    parser.add_argument("--opset", type=int, help="of ONNX (default: the first with these bits)")
    parser.add_argument(
        "--check-images", type=int, default=CHECKED, metavar="N", help=f"default: {CHECKED}"
    )


def _formats() -> str:
    return "; ".join(f"{name}: {format.says}" for name, format in FORMATS.items())


def run(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Export a model, check it, and write it."""
    if options.out.is_stdout:
        raise ValueError("--out - is no place for a model: name a file")
    model = subject(options)
    name, allocation, used, chosen_by = configuration(options, model.layers)
    options.limit = options.check_images
    options.preset = options.preset or chosen_by or INTEGER.name
    images = replace(draw(options, model.loaded), taken=used)
    folders = told(images)
    calibrated = calibrating(options, model, images.calibrating).calibration
    given = (model.loaded, calibrated, allocation, images.measured)
    progress = Progress(print_stages())
    request = Request.of(*given, options.check_images, options.opset, progress)
    exported = FORMATS[options.to].export(request)
    options.out.write(exported.content)
    payload = {
        **model.loaded.facts,
        "configuration": name,
        "preset": options.preset,
        "format": options.to,
        "file": str(options.out),
        "bits": {layer: str(bits) for layer, bits in allocation.items()},
        **exported.report,
        "folders": folders,
    }
    return payload, _text(payload)


def _text(payload: dict[str, Any]) -> str:
    check, size = payload["check"], payload["bytes"]
    whole = payload.get("float_bytes")
    share = "" if whole is None else f", {size / whole:.3f} of the float file's"
    lines = [
        f"{payload['file']}: {size / 1e6:.2f} MB{share}",
        f"checked on {check['images']} images: {check['equal']:.1%} of answers are Bitlens' own, "
        f"logits differ by up to {check['largest']:.2g}",
        *_accuracies(payload["accuracy"]),
        *(_speed(payload) if "latency" in payload else ()),
    ]
    extra = payload["at_run_time"]
    for what in sorted(set(extra.values())):
        named = [layer for layer, other in extra.items() if other == what]
        lines.append(f"at run time, {what} in {len(named)} layers: {', '.join(named)}")
    return "\n".join(lines)


def _accuracies(sides: dict[str, dict[str, Any]]) -> list[str]:
    """Say what the file answers, and what Bitlens does, beside float on the same images."""
    found = {name: Evaluation(**side) for name, side in sides.items()}
    return [f"{name:<9} {accuracy(one)}, {to_float(one)}" for name, one in found.items()]


def _speed(payload: dict[str, Any]) -> list[str]:
    times, products = payload["latency"], payload.get("integer_products")
    return [
        f"{times['seconds'] * 1e3:.1f} ms an image, float {times['float_seconds'] * 1e3:.1f} ms: "
        f"{times['ratio']:.2f} times as long ({times['low']:.2f} to {times['high']:.2f})",
        *([] if products is None else [f"{products} products run on integers"]),
    ]
