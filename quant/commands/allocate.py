"""`python -m quant allocate`: spend a bit budget over the layers."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from assets.command_line import print_progress, write_json
from assets.data import load_images
from assets.selection import pictures, take
from lrp.rules import LRP_QVIT, PRESETS, preset
from lrp.scores import STATISTICS, contribution_scores
from quant.allocation import OBJECTIVES, allocate, check_budget
from quant.commands.arguments import Subject, add_model, subject
from quant.cost import cost, other_parameters, uniform_cost
from quant.files import to_json

SAYS = "spend a bit budget over the layers"


def add(parser: argparse.ArgumentParser) -> None:
    """Ask for a budget, and how layers are scored."""
    add_model(parser)
    parser.add_argument("--average-bits", type=float, required=True, help="the budget, 2 to 8")
    parser.add_argument("--objective", default="lrp", choices=OBJECTIVES, help="default: lrp")
    parser.add_argument(
        "--statistic", default=STATISTICS[0], choices=STATISTICS, help="of relevance"
    )
    parser.add_argument("--rules", default=LRP_QVIT.name, help=f"{', '.join(PRESETS)}")
    parser.add_argument("--images", type=int, default=32, help="images to score on (default: 32)")
    parser.add_argument(
        "--lock", action="extend", nargs="+", default=[], metavar="LAYER=BITS", help="fix layers"
    )


def run(options: argparse.Namespace) -> int:
    """Score the layers, spend the budget, and write the allocation."""
    model = subject(options)
    layers, locks = model.layers, _locks(options.lock)
    check_budget(layers, options.average_bits, locks=locks)
    solution = allocate(layers, _scores(options, model), options.average_bits, locks=locks)
    others = other_parameters(model.loaded.model, layers)
    spent = cost(layers, solution.allocation, others)
    reference = uniform_cost(layers, options.average_bits, others)
    payload = to_json(model.loaded.name, solution, spent, reference)
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


def _scores(options: argparse.Namespace, model: Subject) -> dict[str, float]:
    images = take(load_images(options.data, model.loaded, "calibration"), options.images)
    return contribution_scores(
        model.loaded.model,
        pictures(images, 8),
        len(images),
        preset(options.rules),
        options.statistic,
        model.device,
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
