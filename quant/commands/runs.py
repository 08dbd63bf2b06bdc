"""`python -m quant runs`: the history of evaluations, one of them, or two beside each other."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from assets.home import home
from assets.outputs import Output
from assets.terminal import add_json, aligned
from quant.allocation.allocation_file import SCHEMA
from quant.commands.shared.text import accuracy, by_layer, points, to_float
from quant.evaluation.comparison import Change, ClassAccuracy, by_class, changed, paired
from quant.history.recipe import Recipe
from quant.history.runs import FILE, Run, Runs, unread

SAYS = "list, show and compare the evaluations there were"
WORST = 5  # classes shown
COLUMNS = ("run", "when", "state", "model", "configuration", "preset", "images", "accuracy", "")


def add(parser: argparse.ArgumentParser) -> None:
    """Add which runs; without a word, all."""
    add_json(parser, "the runs")
    parser.add_argument("--model", help="list the runs of this model only")
    parser.set_defaults(ask=_list)
    actions = parser.add_subparsers(dest="action")
    one = actions.add_parser("show", help="one run: what it takes to repeat it, what it found")
    one.add_argument("id", type=int, metavar="ID")
    one.set_defaults(ask=_show)
    two = actions.add_parser("compare", help="two runs on the same images, image by image")
    two.add_argument("ids", type=int, nargs=2, metavar="ID")
    two.set_defaults(ask=_compare)
    for action in (one, two):  # suppressed, or it would forget what stood before the action
        action.add_argument("--json", metavar="FILE", type=Output, default=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """List, show or compare runs."""
    payload, text = options.ask(options, Runs(home() / FILE))
    return payload, text


def _list(options: argparse.Namespace, history: Runs) -> tuple[dict[str, Any], str]:
    there, unreadable = history.sorted_out()
    runs = [run for run in there if options.model in (None, run.recipe.model)]
    rows = [COLUMNS, *map(_cells, runs)]
    text = aligned(rows) if runs else f"there are no runs yet in {history.path}"
    if unreadable:
        text = f"{text}\n{unread(unreadable)}"
    return {"runs": [_described(run) for run in runs], "unreadable": unreadable}, text


def _cells(run: Run) -> tuple[str, ...]:
    recipe, evaluation = run.recipe, run.evaluation
    quantized = recipe.allocation is not None
    return (
        f"{run.id}{'*' if run.pinned else ''}",
        f"{run.created.astimezone():%Y-%m-%d %H:%M}",
        run.state,
        recipe.model,
        _configuration(recipe),
        recipe.preset if quantized else "",
        f"{run.counts.images} of {recipe.images}",
        accuracy(evaluation) if evaluation else "",
        to_float(evaluation) if evaluation and quantized else "",
    )


def _configuration(recipe: Recipe) -> str:
    if recipe.objective in ("uniform", "float"):
        return recipe.budget
    return f"{recipe.objective} {recipe.budget}"


def _described(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "created": run.created.isoformat(timespec="seconds"),
        "state": run.state,
        "pinned": run.pinned,
        "note": run.note,
        "recipe": json.loads(run.recipe.to_json()),
        "evaluation": asdict(run.evaluation) if run.evaluation else None,
    }


def _show(options: argparse.Namespace, history: Runs) -> tuple[dict[str, Any], str]:
    run = history.get(options.id)
    described, recipe, evaluation = _described(run), run.recipe, run.evaluation
    facts = {
        name: value
        for name, value in described["recipe"].items()
        if name != "allocation" and value not in (None, "")
    }
    layers = recipe.allocation or {}
    head = f"run {run.id}, {run.state}: {recipe.model}, {_configuration(recipe)}"
    lines = [head, *([run.note] if run.note else [])]
    if evaluation:
        lines += [
            f"{accuracy(evaluation)}, top-5 {evaluation.top5:.1%}",
            f"{to_float(evaluation)}, {evaluation.agreement:.1%} agree with it, on "
            f"{evaluation.images} of {recipe.images} images in {run.seconds:.1f} s",
        ]
    lines += [f"{name:<20} {value}" for name, value in facts.items()]
    lines += by_layer(layers)
    if layers:  # so that `quant evaluate --allocation` reads it
        described |= {"schema": SCHEMA, "layers": {k: bits.plain() for k, bits in layers.items()}}
    described["classes"] = [asdict(c) for c in by_class(run.answers)]
    return described, "\n".join(lines)


def _compare(options: argparse.Namespace, history: Runs) -> tuple[dict[str, Any], str]:
    one, other = (history.get(number) for number in options.ids)
    if one.recipe.images_key != other.recipe.images_key:
        raise ValueError(
            f"runs {one.id} and {other.id} measured different images: compare runs on the same"
        )
    difference, low, high = paired(one.answers, other.answers)
    changes = changed(one.answers, other.answers)
    classes = by_class(one.answers, other.answers)
    payload = {
        "one": one.id,
        "other": other.id,
        "images": sum(c.images for c in classes),
        "difference": difference,
        "difference_low": low,
        "difference_high": high,
        "changed": [asdict(change) for change in changes],
        "classes": [asdict(c) for c in classes],
    }
    return payload, "\n".join(
        [
            *(f"run {r.id}: {r.recipe.model}, {_configuration(r.recipe)}" for r in (one, other)),
            f"run {one.id} less run {other.id}: {points(difference, low, high)} "
            f"on the same {payload['images']} images",
            f"{len(changes)} images changed their answer: {_sides(one.id, other.id, changes)}",
            *_worst(one.id, other.id, classes),
        ]
    )


def _sides(one: int, other: int, changes: Sequence[Change]) -> str:
    mine = sum(change.one == change.label for change in changes)
    others = sum(change.other == change.label for change in changes)
    return f"{mine} right in run {one} only, {others} in run {other} only"


def _worst(one: int, other: int, classes: Sequence[ClassAccuracy]) -> list[str]:
    """Return in which classes the first loses most against the second."""
    lost = sorted((c.top1 - (c.other or 0.0), c.label, c) for c in classes)
    return [
        f"class {c.label}: {c.top1:.1%} in run {one}, {c.other:.1%} in run {other}, "
        f"of {c.images} images"
        for difference, _, c in lost[:WORST]
        if difference < 0
    ]
