"""Fit what is known before a model is measured on sweeps of others, and check it on each left out.

Give a file for each model, two at least, of `python -m quant sweep ... --json FILE`.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from assets.terminal import markdown
from quant.evaluation.answers import Evaluation
from quant.evaluation.cross_validation import LeftOut, foretell, prior_of, summarised
from quant.evaluation.prediction import FIRST, Point, point_of, predict

HEAD = ["model", "predicted from", "runs", "within 10 %", "in band", "band", "top-1 off", "in band"]


def points_of(found: dict[str, Any]) -> tuple[list[Point], list[Point]]:
    """Return the points of uniform bits that are measured first, and all others."""
    first: list[Point] = []
    others: list[Point] = []
    for trial in (*found["trials"], *found["random_allocations"]):
        point = point_of(Evaluation(**trial["evaluation"]), trial["expected"])
        if point is not None:
            begins = trial["objective"] == "uniform" and trial["budget"] in FIRST
            (first if begins and trial["draw"] == 0 else others).append(point)
    return first, others


def row(name: str, known: str, left: Sequence[LeftOut]) -> list[str]:
    """Say how well a model's runs were foretold."""
    found = summarised(left)
    factor = np.median([one.divergence.high / one.divergence.predicted for one in left])
    return [
        name,
        known,
        str(found.runs),
        f"{found.near:.0%}",
        f"{found.divergence_inside:.0%}",
        f"factor {factor:.1f}",
        f"{100 * found.error:.1f} points",
        f"{found.inside:.0%}",
    ]


def main(paths: Sequence[str]) -> None:
    """Print the prior of all models, and how well each is foretold from the others' prior."""
    sweeps = [json.loads(Path(path).read_text(encoding="utf-8")) for path in paths]
    points = [points_of(one) for one in sweeps]
    print(prior_of([[*first, *others] for first, others in points]))
    rows = []
    for number, (sweep, (first, others)) in enumerate(zip(sweeps, points, strict=True)):
        apart = [[*one, *more] for at, (one, more) in enumerate(points) if at != number]
        prior, top1, name = prior_of(apart), sweep["float"]["value"], sweep["model"]
        for known in ([], first[:1], first):
            at_once = predict(known, prior)
            left = [foretell(at_once, one, top1) for one in others]
            rows.append(row(name, f"{len(known)} uniform runs", left))
        every = [*first, *others]
        rest = [predict([*every[:at], *every[at + 1 :]], prior) for at in range(len(every))]
        left = [foretell(one, run, top1) for one, run in zip(rest, every, strict=True)]
        rows.append(row(name, "all other runs", left))
    print(markdown([HEAD, *rows]))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1:])
