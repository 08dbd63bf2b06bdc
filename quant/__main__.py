"""Command line: `python -m quant evaluate`, `compare` and `allocate`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from assets.command_line import (
    Parser,
    add_data_arguments,
    add_model_arguments,
    print_progress,
    start,
    write_json,
)
from assets.data import ImageSet, load_images
from assets.home import home
from assets.models import LoadedModel, load_model
from assets.selection import batches, divide, pictures, take
from lrp.device import resolve_device
from lrp.layers import Layer, list_layers
from lrp.rules import LRP_QVIT, PRESETS, preset
from lrp.scores import STATISTICS, contribution_scores
from quant.allocation import OBJECTIVES, Allocation, allocate, check_budget, uniform
from quant.calibration import calibrate, calibration_folder
from quant.compare import FLOAT, read_width, summarise, table
from quant.cost import cost, other_parameters, uniform_cost
from quant.evaluation import Evaluation, Run, evaluate
from quant.fakequant import QuantizedModel
from quant.files import read_allocation, to_json
from quant.presets import DEFAULT
from quant.presets import PRESETS as QUANTIZERS
from quant.presets import preset as quantizer


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, do what it says, return the exit code."""
    options = _parser().parse_args(arguments)
    device = resolve_device(options.device)
    loaded = load_model(options.model, options.checkpoint, device)
    layers = list_layers(loaded.model, loaded.input_size)
    run = {
        "evaluate": evaluate_command,
        "compare": compare_command,
        "allocate": allocate_command,
    }[options.command]
    return run(options, loaded, layers, device)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m quant", description="Quantize and measure.")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("evaluate", help="accuracy of a quantized model beside the float one")
    _add_images(one)
    one.add_argument("--weight-bits", type=int, help="bits of every layer's weights, 2 to 8")
    one.add_argument("--activation-bits", type=int, help="bits of every layer's inputs, 2 to 8")
    one.add_argument("--allocation", metavar="FILE", help="bits by layer, from `quant allocate`")
    one.add_argument("--preset", default=DEFAULT, help=f"{', '.join(QUANTIZERS)}")
    _add_comparison(commands.add_parser("compare", help="presets and widths over several draws"))
    two = commands.add_parser("allocate", help="spend a bit budget over the layers")
    add_model_arguments(two)
    add_data_arguments(two)
    two.add_argument("--average-bits", type=float, required=True, help="the budget, 2 to 8")
    two.add_argument("--objective", default="lrp", choices=OBJECTIVES, help="default: lrp")
    two.add_argument("--statistic", default=STATISTICS[0], choices=STATISTICS, help="of relevance")
    two.add_argument("--rules", default=LRP_QVIT.name, help=f"{', '.join(PRESETS)}")
    two.add_argument("--images", type=int, default=32, help="images to score on (default: 32)")
    two.add_argument(
        "--lock", action="extend", nargs="+", default=[], metavar="LAYER=BITS", help="fix layers"
    )
    for command in commands.choices.values():
        command.add_argument("--json", metavar="FILE", help="write here (- is standard output)")
    return parser


def _add_images(command: argparse.ArgumentParser) -> None:
    add_model_arguments(command)
    add_data_arguments(command)
    command.add_argument(
        "--calibration", metavar="FOLDER", help="calibration images (default: others of --data)"
    )
    command.add_argument("--calibration-images", type=int, default=32, help="default: 32")
    command.add_argument("--ends", type=int, help="bits of the first and last layer, if others")
    command.add_argument("--limit", type=int, help="how many images to measure (default: all)")


def _add_comparison(command: argparse.ArgumentParser) -> None:
    _add_images(command)
    command.add_argument(
        "--presets",
        nargs="+",
        default=list(QUANTIZERS),
        metavar="PRESET",
        help=f"{', '.join(QUANTIZERS)}; varied: bitlens:gelu=uniform,bias=off (default: all)",
    )
    command.add_argument("--widths", nargs="+", default=["W4A4"], help="such as W4A8 W6A6")
    command.add_argument("--draws", type=int, default=5, help="of calibration images (default: 5)")


def evaluate_command(
    options: argparse.Namespace,
    loaded: LoadedModel,
    layers: Sequence[Layer],
    device: torch.device,
) -> int:
    """Measure one configuration and the float model on the same images."""
    name, allocation = _configuration(options, layers)
    chosen = quantizer(options.preset)
    calibration, measured = _images(options, loaded)
    started = time.perf_counter()
    calibrated = calibrate(
        loaded.model,
        pictures(calibration),
        chosen,
        device,
        calibration_folder(home(), (loaded.key, calibration.key), chosen),
    )
    calibrated.solve_for(allocation, print_progress("calibration"))
    quantized = QuantizedModel(loaded.model, calibrated, allocation)
    seconds = time.perf_counter() - started
    found = evaluate(
        {"float": loaded.model, name: quantized.run},
        batches(measured),
        len(measured),
        device,
        progress=print_progress("evaluation"),
    )
    spent = cost(layers, allocation, other_parameters(loaded.model, layers))
    payload = _report(loaded, name, chosen.name, found["float"], found[name])
    payload["size_bytes"], payload["bitops"] = spent.size_bytes, spent.bitops
    payload["seconds"] = {"calibration": seconds, **payload["seconds"]}
    payload |= {"calibration_images": len(calibration), "device": str(device)}
    payload["path"] = str(quantized.path)
    write_json(payload, options.json)
    if options.json != "-":
        _print_evaluation(payload)
    return 0


def compare_command(
    options: argparse.Namespace,
    loaded: LoadedModel,
    layers: Sequence[Layer],
    device: torch.device,
) -> int:
    """Measure presets at several widths on several draws of calibration images."""
    widths = [read_width(text) for text in options.widths]
    presets = [quantizer(name) for name in options.presets]
    if options.draws < 1:
        raise ValueError(f"{options.draws} draws: use 1 or more")
    draws = []
    for draw in range(options.draws):
        images, measured = _images(options, loaded, draw)
        runs: dict[str, Run] = {FLOAT: loaded.model}
        for chosen in presets:
            calibrated = calibrate(loaded.model, pictures(images), chosen, device)
            for width in widths:
                allocation = uniform(layers, width.weight, width.activation, options.ends)
                quantized = QuantizedModel(loaded.model, calibrated, allocation)
                runs[f"{chosen.name} {width}"] = quantized.run
        report = print_progress(f"draw {draw + 1} of {options.draws}")
        draws.append(evaluate(runs, batches(measured), len(measured), device, progress=report))
    found = summarise(draws)
    named = {name: asdict(comparison) for name, comparison in found.items()}
    payload = {"model": loaded.name, "weights": loaded.key, "configurations": named}
    write_json(payload, options.json)
    if options.json != "-":
        print(table(found))
    return 0


def _configuration(options: argparse.Namespace, layers: Sequence[Layer]) -> tuple[str, Allocation]:
    widths = (options.weight_bits, options.activation_bits)
    if options.allocation is not None:
        if (*widths, options.ends) != (None, None, None):
            raise ValueError("give --allocation, or the bits of all layers, not both")
        return Path(options.allocation).stem, read_allocation(options.allocation, layers)
    if None in widths:
        raise ValueError("give --weight-bits and --activation-bits, or --allocation")
    return f"W{widths[0]}A{widths[1]}", uniform(layers, *widths, options.ends)


def _images(
    options: argparse.Namespace, loaded: LoadedModel, seed: int = 0
) -> tuple[ImageSet, ImageSet]:
    """Choose calibration images and measured ones; no image is both."""
    data = load_images(options.data, loaded)
    if options.calibration is None and options.data is not None:
        return divide(data, options.calibration_images, options.limit, seed)
    pool = load_images(options.calibration, loaded, "calibration")
    if pool.key == data.key:
        return divide(data, options.calibration_images, options.limit, seed)
    limit = None if options.limit is None else min(options.limit, len(data))
    return take(pool, options.calibration_images, seed), take(data, limit)


def _report(
    loaded: LoadedModel, name: str, preset_name: str, plain: Evaluation, quantized: Evaluation
) -> dict[str, Any]:
    measured = asdict(quantized)
    return {
        "model": loaded.name,
        "weights": loaded.key,
        "configuration": name,
        "preset": preset_name,
        "images": quantized.images,
        "float": {k: v for k, v in asdict(plain).items() if k.startswith("top")},
        "quantized": {k: v for k, v in measured.items() if k not in ("images", "seconds")},
        "seconds": {"float": plain.seconds, "quantized": quantized.seconds},
    }


def _print_evaluation(payload: dict[str, Any]) -> None:
    for label, found in (
        ("float", payload["float"]),
        (payload["configuration"], payload["quantized"]),
    ):
        print(
            f"{label:<12} top-1 {found['top1']:.1%} ({found['top1_low']:.1%} to "
            f"{found['top1_high']:.1%})  top-5 {found['top5']:.1%}"
        )
    seconds = payload["seconds"]
    print(
        f"on {payload['images']} images, 95 % intervals; {payload['quantized']['agreement']:.1%} "
        f"agree with float\n{payload['size_bytes'] / 1e6:.2f} MB, {payload['bitops'] / 1e9:.2f} "
        f"GBitOps; {seconds['calibration']:.1f} s calibration, {seconds['float']:.1f} s float, "
        f"{seconds['quantized']:.1f} s quantized on {payload['device']}, {payload['path']}"
    )


def allocate_command(
    options: argparse.Namespace,
    loaded: LoadedModel,
    layers: Sequence[Layer],
    device: torch.device,
) -> int:
    """Score the layers, spend the budget, and write the allocation."""
    locks = _locks(options.lock)
    check_budget(layers, options.average_bits, locks=locks)
    scores = _scores(options, loaded, device)
    solution = allocate(layers, scores, options.average_bits, locks=locks)
    others = other_parameters(loaded.model, layers)
    spent = cost(layers, solution.allocation, others)
    reference = uniform_cost(layers, options.average_bits, others)
    payload = to_json(loaded.name, solution, spent, reference)
    write_json(payload, options.json)
    if options.json != "-":
        for name, bits in solution.allocation.items():
            print(f"{name:<40} W{bits.weight} A{bits.activation}")
        print(
            f"{spent.size_bytes / 1e6:.3f} MB and {spent.bitops / 1e9:.3f} GBitOps; uniform "
            f"{reference.size_bytes / 1e6:.3f} MB and {reference.bitops / 1e9:.3f} GBitOps; "
            f"gap {solution.gap:.2%}"
        )
    return 0


def _scores(
    options: argparse.Namespace, loaded: LoadedModel, device: torch.device
) -> dict[str, float]:
    images = take(load_images(options.data, loaded, "calibration"), options.images)
    return contribution_scores(
        loaded.model,
        pictures(images, 8),
        len(images),
        preset(options.rules),
        options.statistic,
        device,
        print_progress("contribution scores"),
    ).mean


def _locks(texts: Sequence[str]) -> dict[str, int]:
    locks: dict[str, int] = {}
    for text in texts:
        name, separator, bits = text.rpartition("=")
        if not separator or not bits.isdecimal():
            raise ValueError(f"--lock {text}: use LAYER=BITS, such as head=8")
        locks[name] = int(bits)
    return locks


if __name__ == "__main__":
    start(main)
