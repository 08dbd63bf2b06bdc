"""What was exported of a run, and how it compared with what Bitlens measured."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

from quant.allocation.allocation_file import read_json
from quant.evaluation.answers import Evaluation
from quant.history.recipe import Recipe
from quant.report.drawing import units
from quant.report.drawing.elements import Html, join, table, tag


class Exported(NamedTuple):
    """A file for another program: its name, and facts of it."""

    name: str
    facts: Sequence[tuple[str, str]]


def read(path: str, recipe: Recipe) -> Exported:
    """Read what `quant export --json` wrote of a run's bits.

    Raises:
        ValueError: the file cannot be read, is no such file, or is of other weights or bits.
    """
    try:
        payload = read_json(path)
        weights, bits, facts = payload["weights"], payload["bits"], facts_of(payload)
        name = PurePath(str(payload["file"])).name
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
        raise ValueError(
            f"{path} cannot be read, or is not what `quant export --json` writes: give that"
        ) from None
    own = {layer: str(pair) for layer, pair in (recipe.allocation or {}).items()}
    if (weights, payload["preset"]) != (recipe.model_key, recipe.preset) or bits != own:
        raise ValueError(
            f"{path} is of other weights, bits or another quantizer than the run: export the run's"
        )
    return Exported(name, facts)


def facts_of(payload: Any) -> list[tuple[str, str]]:
    """Return in words what an export's check found, with what each number is of."""
    check, size = payload["check"], units.size(payload["bytes"])
    if "float_bytes" in payload:
        size += f", {payload['bytes'] / payload['float_bytes']:.2f} of the float file's"
    versions = ", ".join(f"{name} {number}" for name, number in payload["versions"].items())
    extra = [
        f"{what}: {_among(names)}"
        for what, names in _by_what(payload.get("at_run_time", {})).items()
    ]
    opset = f", opset {payload['opset']}" if "opset" in payload else ""
    return [
        ("format", f"{payload['format']}{opset}"),
        ("file", size),
        ("same answers as Bitlens", f"{units.share(check['equal'])} of {check['images']} images"),
        ("largest difference of logits", f"{check['largest']:.2g}"),
        *_accuracies(payload.get("accuracy", {})),
        *(_speed(payload) if "latency" in payload else ()),
        ("computed at run time besides", "; ".join(extra) or "nothing"),
        ("versions", versions),
    ]


def _accuracies(sides: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """Return what the file answers, and what Bitlens does on the same images, beside float."""
    whose = {"exported": "top-1 of the file", "bitlens": "top-1 of Bitlens"}
    found = [(words, Evaluation(**sides[side])) for side, words in whose.items() if side in sides]
    return [
        (
            words,
            f"{units.share(e.top1)} ({units.interval(e.top1_low, e.top1_high)}), to float "
            f"{units.points(e.difference)} points "
            f"({units.points_between(e.difference_low, e.difference_high)})",
        )
        for words, e in found
    ]


def _speed(payload: Any) -> list[tuple[str, str]]:
    time = payload["latency"]
    takes = (
        f"{units.time(time['seconds'])}, float {units.time(time['float_seconds'])}: "
        f"{time['ratio']:.2f} times as long ({time['low']:.2f} to {time['high']:.2f})"
    )
    products = payload.get("integer_products")  # of formats that tell
    told = [] if products is None else [("products on integers", f"{products}")]
    return [("an image takes", takes), *told]


def _by_what(at_run_time: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for layer, what in at_run_time.items():
        found.setdefault(str(what), []).append(layer)
    return found


def _among(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} layers"


def section(files: Sequence[Exported]) -> Html:
    """Return what was exported: a table a file."""
    if not files:
        how = tag("code", "python -m quant export")
        more = (
            " writes a model for other programs; its --json can be told of here, and so can what "
        )
        more += "the page exports."
        return tag("p", "Nothing that was exported is told of. ", how, more, class_="note")
    return join(
        join([tag("h3", one.name), table(["what", "found"], one.facts, words=2)]) for one in files
    )
