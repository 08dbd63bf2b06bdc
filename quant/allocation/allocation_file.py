"""Allocations as JSON, checked on the way back in; those of all budgets at once as CSV."""

import csv
import io
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lrp.engine.layers import Layer
from quant.allocation.cost import Cost, CostModel
from quant.allocation.path import BudgetPlan, Solution
from quant.primitives.bits import Allocation, LayerBits
from quant.primitives.formats import from_plain
from quant.primitives.targets import ANY, Target

SCHEMA = 2
READABLE = (1, 2)  # 1 lacks limits, loss, bound and preset, which reading does not need
LARGEST = 64_000_000  # bytes of a file: names of layers and places of images take far less
DIGITS = 18  # of a whole number: more than any count has
COLUMNS = ("budget", "size_bytes", "bitops", "average_bits", "loss", "bound", "gap")


def to_json(
    model: str,
    solution: Solution,
    spent: Cost,
    uniform: Cost,
    preset: str | None = None,
    chosen_on: Mapping[str, Iterable[int]] | None = None,
    target: Target = ANY,
) -> dict[str, Any]:
    """Describe an allocation, its budget, its cost and that of the same budget spent uniformly.

    Args:
        preset: the quantizer whose losses the bits were chosen by, if any.
        chosen_on: the images that the bits were chosen on, which must not measure them: places in
            a source of images, by its key.
        target: what the model is to run on.
    """
    return {
        "schema": SCHEMA,
        "model": model,
        "preset": preset,
        "target": target.key,
        "objective": solution.objective,
        "average_bits": solution.average_bits,
        "limits": {name: _finite(limit) for name, limit in asdict(solution.limits).items()},
        "layers": {name: bits.plain() for name, bits in solution.allocation.items()},
        "size_bytes": spent.size_bytes,
        "file_bytes": spent.file_bytes,
        "bitops": spent.bitops,
        "uniform": {"size_bytes": uniform.size_bytes, "bitops": uniform.bitops},
        "loss": solution.loss,
        "bound": solution.bound,
        "gap": solution.gap,
        "chosen_on": {key: sorted(places) for key, places in (chosen_on or {}).items()},
    }


def _finite(limit: float) -> float | None:
    """JSON has no infinity: no limit is null."""
    return limit if math.isfinite(limit) else None


def read_allocation(path: str | Path, layers: Sequence[Layer]) -> Allocation:
    """Read the allocation of `layers` from a JSON file.

    Raises:
        ValueError: the file cannot be read, or is no allocation of this model.
    """
    return from_json(read_json(path), layers)


def read_json(path: str | Path) -> Any:
    """Return what an allocation's JSON file holds, for `from_json` and `images_of`.

    Raises:
        ValueError: the file cannot be read, is too large, or is not JSON.
    """
    try:
        if not _is_stored(path):
            raise OSError
        with Path(path).open("rb") as file:
            data = file.read(LARGEST + 1)
    except (OSError, ValueError):  # the latter for a path that no file can have
        raise ValueError(f"{path} cannot be read: give an allocation's JSON file") from None
    try:
        return decode(data)
    except ValueError as error:
        raise ValueError(f"{path} {error}: give what `quant allocate --json` wrote") from None


def _is_stored(path: str | Path) -> bool:
    """Return whether a path is a file, or a pipe of the shell's; others may never end."""
    return os.path.isfile(path) or os.path.realpath(path).startswith("/proc/")


def decode(data: bytes) -> Any:
    """Return what a JSON document holds, in UTF-8, UTF-16 or UTF-32.

    Raises:
        ValueError: it is too large, is not JSON, or says one thing twice.
    """
    if len(data) > LARGEST:
        raise ValueError(f"is larger than {LARGEST // 10**6} MB")
    try:
        text = data.decode(json.detect_encoding(data)).removeprefix("\ufeff")
        return json.loads(text, **HOOKS)
    except RecursionError:
        raise ValueError("is nested too deep") from None
    except (UnicodeError, json.JSONDecodeError):
        raise ValueError("is not JSON") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; of two values for one name none may be dropped in silence."""
    found = dict(pairs)
    if len(found) < len(pairs):
        name = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"names {name[:99]!r} twice")
    return found


def _number(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError(f"holds a number of {len(text)} digits")
    return int(text)


def _no_number(text: str) -> None:
    raise ValueError(f"holds {text}, which is no number of JSON")


HOOKS: dict[str, Any] = {
    "object_pairs_hook": _once,
    "parse_int": _number,
    "parse_constant": _no_number,
}


def from_json(payload: Any, layers: Sequence[Layer]) -> Allocation:
    """Return the allocation in a decoded JSON document.

    Raises:
        ValueError: another schema, missing or unknown layers, or widths we have not.
    """
    entries = _entries(payload)
    names = [layer.name for layer in layers]
    for name in entries:
        if name not in names:
            raise ValueError(
                f"the allocation is for another model ({_shown(payload.get('model'), str)}): "
                f"it has no layer {_shown(name)} here"
            )
    for name in names:
        if name not in entries:
            raise ValueError(f"the allocation lacks the layer {name!r}: name every layer")
    return {name: _bits(name, entries[name]) for name in names}


def images_of(payload: Mapping[str, Any]) -> dict[str, list[int]]:
    """Return the images that an allocation was chosen on, as `to_json` was told; {} where unknown.

    Raises:
        ValueError: they are not places by source.
    """
    chosen_on = payload.get("chosen_on", {})
    if not isinstance(chosen_on, dict) or not all(map(_are_places, chosen_on.values())):
        raise ValueError('"chosen_on" must map sources of images to lists of places')
    return chosen_on


def _are_places(value: Any) -> bool:
    return isinstance(value, list) and all(type(place) is int and place >= 0 for place in value)


def _entries(payload: Any) -> Mapping[str, Any]:
    if not isinstance(payload, Mapping) or "schema" not in payload:
        raise ValueError(f'this is no allocation: it must be an object with "schema": {SCHEMA}')
    if payload["schema"] not in READABLE:
        raise ValueError(
            f"the allocation's schema is {_shown(payload['schema'])}: this version reads "
            f"{' and '.join(map(str, READABLE))}"
        )
    entries = payload.get("layers")
    if not isinstance(entries, Mapping):
        raise ValueError('the allocation has no "layers": it must map layer names to bits')
    return entries


def _shown(value: Any, how: Callable[[Any], str] = repr) -> str:
    """Return a value as a message shows it: what is nested or long would fill the screen."""
    return how(value)[:99] if isinstance(value, str | int | float) else "unnamed"


def _bits(name: str, entry: Any) -> LayerBits:
    try:
        widths = entry["weight"], entry["activation"]
        if not all(isinstance(width, int | float | str) for width in widths):
            raise TypeError
        bits = LayerBits(*map(from_plain, widths))
    except (TypeError, KeyError):
        raise ValueError(f'{name} needs "weight" and "activation" bits') from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return bits


def to_csv(plan: BudgetPlan, costs: CostModel) -> str:
    """Write a plan as CSV: `COLUMNS`, then each layer's weight and activation bits.

    The budget is the greatest uniform width within its limits; `average_bits` is what a weight of
    the layers takes on average.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    bits = [f"{name} {side}" for name in plan.names for side in ("weight", "activation")]
    writer.writerow([*COLUMNS, *bits])
    for row in range(len(plan.limits)):
        solution = plan.solution(row)
        spent = costs.cost(solution.allocation)
        figures = (
            *(round(solution.average_bits, 6), spent.size_bytes, spent.bitops),
            *(round(spent.average_bits, 6), solution.loss, solution.bound, solution.gap),
        )
        pairs = [bits.plain().values() for bits in solution.allocation.values()]
        writer.writerow([*figures, *(width for pair in pairs for width in pair)])
    return text.getvalue()
