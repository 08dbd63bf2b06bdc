"""`python -m lrp scores`: the contribution score of every layer."""

import argparse

from assets.sets.options import add_data_arguments, add_model_arguments
from assets.sets.selection import Draw
from assets.sets.telling import told
from assets.terminal import add_json, print_progress
from lrp.commands.options import add_rules, subject
from lrp.engine.progress import Progress
from lrp.propagation.rules import preset
from lrp.propagation.scores import STATISTICS, Scoring

SAYS = "contribution score of every layer"


def add(parser: argparse.ArgumentParser) -> None:
    """Add on which images layers are scored, and how."""
    add_model_arguments(parser)
    add_data_arguments(parser)
    parser.add_argument("--images", type=int, default=32, help="how many images (default: 32)")
    add_rules(parser, "LRP_QVIT")
    parser.add_argument("--statistic", default=STATISTICS[0], help=", ".join(STATISTICS))
    add_json(parser, "the scores")


def run(options: argparse.Namespace) -> tuple[dict[str, object], str]:
    """Return the contribution score of every layer."""
    loaded, device = subject(options)
    draw = Draw(loaded, options.data, None, options.images)
    folders, images = told(draw, measures=False), draw.calibrating
    scoring = Scoring(loaded, images, preset(options.rules).name, options.statistic, device)
    found = scoring.scores(Progress(print_progress("contribution scores")))
    by_layer = {name: {"mean": mean, "sd": found.sd[name]} for name, mean in found.mean.items()}
    payload = {
        **loaded.facts,
        "rules": found.rules.name,
        "statistic": found.statistic,
        "images": len(images),
        "stability": found.stability,
        "scores": by_layer,
        "folders": folders,
    }
    lines = [f"{name:<40} {s['mean']:8.5f} +- {s['sd']:.5f}" for name, s in by_layer.items()]
    if found.stability is not None:
        lines += ["", f"rank correlation between halves of the images: {found.stability:.3f}"]
    return payload, "\n".join(lines)
