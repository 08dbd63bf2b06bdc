"""Which layer got which bits: a strip of bars, and a table of all that is known of each layer."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from lrp.engine.layers import Layer
from lrp.engine.names import block_of, number_of
from quant.allocation.objectives import Losses
from quant.primitives.bits import Allocation
from quant.primitives.formats import BF16, FLOAT, HALF, label, price
from quant.report.drawing import svg, units
from quant.report.drawing.elements import Html, charted, join, table, tag
from quant.report.drawing.widths import letter, written
from quant.report.subject import Subject, name_of

KINDS = {"linear": "linear layer", "matmul": "attention product", "conv2d": "convolution"}
WIDE, TALLEST, A_ROW = 960.0, 60.0, 80  # of a strip, of a bar, layers in a row
GAP, LEGIBLE = 0.12, 9.0  # between bars, as a share; the least width that bears a number
HEAD, FOOT = 26.0, 26.0
HIGHEST = 10.0  # bits: what has more is drawn as high
SHORT = {HALF: "16", BF16: "16"}  # of widths that one letter does not say


class Place(NamedTuple):
    """Where a layer stands in its row of bars."""

    name: str
    x: float
    width: float


def section(subject: Subject) -> Html:
    """Return the strips of all named runs that are quantized, and the table of the run's layers."""
    parts = []
    for run in subject.named:
        allocation = run.recipe.allocation
        if allocation is None:
            continue
        if len(subject.named) > 1:
            parts.append(tag("h3", f"Run {run.id}: {name_of(run.recipe)}"))
        whole = run is subject.run
        rows = _rows(subject, allocation, subject.losses if whole else None)
        numbers = table(*rows)
        parts.append(charted(strip(allocation), spread(allocation), numbers, "Bits by layer"))
    return join(parts)


def spread(allocation: Allocation) -> str:
    """Return in words how many layers have how many bits."""
    sides = (
        ("weights", [bits.weight for bits in allocation.values()]),
        (
            "activations",
            [bits.activation for bits in allocation.values()],
        ),
    )
    said = []
    for side, bits in sides:
        counts = sorted(Counter(bits).items(), key=lambda item: price(item[0]))
        said.append(
            f"{side}: " + ", ".join(f"{units.count(n)} at {label(width)}" for width, n in counts)
        )
    return (
        f"Upwards the bits of a layer's weights (of a product, of its second operand), downwards "
        f"those of its activations. Of {len(allocation)} layers, {'; '.join(said)} bits."
    )


def strip(allocation: Allocation) -> Html:
    """Draw bars of bits: weights upwards, activations downwards, block by block."""
    names = list(allocation)
    count = -(-len(names) // A_ROW)
    size = -(-len(names) // count)
    rows = [names[start : start + size] for start in range(0, len(names), size)]
    height = HEAD + 2 * TALLEST + FOOT + 24
    # 16 bits and float are as high as the rest lets them be legible, and no higher.
    most = max(min(price(w), HIGHEST) for b in allocation.values() for w in vars(b).values())
    marks: list[Html] = []
    for number, row in enumerate(rows):
        marks += _row(allocation, row, number * height + HEAD + TALLEST, WIDE / size, most)
    return svg.picture(WIDE, height * len(rows), marks, spread(allocation))


def _row(
    allocation: Allocation, names: Sequence[str], middle: float, pitch: float, most: float
) -> list[Html]:
    places = [Place(name, (n + GAP / 2) * pitch, (1 - GAP) * pitch) for n, name in enumerate(names)]
    marks = [svg.line(0, middle, pitch * len(names), middle, "axis")]
    for place in places:
        bits = allocation[place.name]
        told = f"{place.name}: {label(bits.weight)}, activations {label(bits.activation)}"
        for width, up in ((bits.weight, True), (bits.activation, False)):
            marks += _bar(place, middle, width, up, TALLEST / most, told)
    bottom = middle + TALLEST + 16
    for block, group in groupby(places, key=lambda place: block_of(place.name)):
        inside = list(group)
        left, right = inside[0].x, inside[-1].x + inside[-1].width
        marks.append(svg.line(left, bottom + 2, right, bottom + 2, "block"))
        words = number_of(block) if block else ("" if len(inside) > 1 else _short(inside[0].name))
        marks.append(svg.label((left + right) / 2, bottom + 16, words, "tick"))
    return marks


def _short(name: str) -> str:
    """Return what a layer outside any block is called under its bar."""
    return "patch" if name.startswith("patch_embed") else name.rpartition(".")[2][:6]


def _bar(place: Place, middle: float, bits: int, up: bool, unit: float, told: str) -> list[Html]:
    height = min(price(bits), HIGHEST) * unit
    top = middle - height if up else middle
    marks = [svg.box(place.x, top, place.width, height, f"b-{letter(bits)}", told)]
    if place.width >= LEGIBLE:
        y = top - 3 if up else top + height + 11
        marks.append(svg.label(place.x + place.width / 2, y, SHORT.get(bits, letter(bits)), "bits"))
    return marks


def _rows(
    subject: Subject, allocation: Allocation, losses: Losses | None
) -> tuple[list[str], list[list[object]], int]:
    """Return the head and the rows of the table of layers, and how many columns are words."""
    known = {layer.name: layer for layer in subject.opened.layers}
    head = ["layer", *(["kind"] if known else []), "weight bits", "activation bits"]
    head += ["weights", "size", "multiply-adds"] if known else []
    head += ["loss of weights (mnat)", "loss of activations (mnat)"] if losses else []
    rows = []
    for name, bits in allocation.items():
        row: list[object] = [
            name,
            *([KINDS[known[name].kind].replace(" ", "\u00a0")] if known else []),
        ]
        row += [written(bits.weight), written(bits.activation)]
        row += _size(known[name], bits.weight) if known else []
        row += _lost(losses, name, bits.weight, bits.activation) if losses else []
        rows.append(row)
    return head, rows, 2 if known else 1


def _size(layer: Layer, weight: int) -> list[str]:
    size = units.size(layer.parameters * price(weight) / 8) if layer.parameters else ""
    return [
        units.count(layer.parameters) if layer.parameters else "",
        size,
        units.large(layer.macs),
    ]


def _lost(losses: Losses, name: str, weight: int, activation: int) -> list[str]:
    place, known = losses.names.index(name), {*losses.widths, FLOAT}
    return [
        f"{1000 * losses.of_side(side, place, width):.3g}" if width in known else "–"
        for side, width in (("weight", weight), ("activation", activation))
    ]
