"""All that the budget slider can show, worked out before it moves. Pure."""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

import numpy as np

from app.look import units
from quant.primitives.bits import MENU
from quant.primitives.formats import FLOAT, label
from quant.report.drawing.widths import letter, named, number
from quant.report.layers import KINDS

Band = tuple[float, float, float]  # a predicted accuracy: low, middle, high, of 1
FLOAT_BITS = "32"
TOP1 = "Accuracy (top-1)"
COLUMNS = {  # of the table of figures, and what each is
    "Size": "The model's file: weights at their bits, everything else in float32.",
    "BitOps": "Bit operations for one image: multiply-accumulates x weight bits x activation bits.",
    "Weight bits": "The average over all weights.",
    "Act. bits": "Of activations: the average over all multiply-accumulates.",
    "Gap": "The expected loss is at most this much above the least there can be.",
}


@dataclass(frozen=True, eq=False)
class Figures:
    """What one way to spend each budget costs and is predicted to give.

    Attributes:
        size: bytes, (T,).
        bitops: of one image, (T,).
        weight_bits: average over weights, (T,).
        activation_bits: average over multiply-accumulates, (T,).
        predicted: top-1 with its band, (T,); None where nothing predicts it.
    """

    size: Sequence[float]
    bitops: Sequence[float]
    weight_bits: Sequence[float]
    activation_bits: Sequence[float]
    predicted: Sequence[Band] | None = None


@dataclass(frozen=True)
class Plain:
    """The model in float: bytes, BitOps of one image, and its top-1 where that was measured."""

    size: float
    bitops: float
    top1: float | None = None


@dataclass(frozen=True)
class Actions:
    """What a slider over budgets calls.

    Attributes:
        commit: takes the row at which the slider is let go.
        move: comes once a gesture, before its `commit`: the slider is being moved.
        lock: takes the name of a layer that is to be locked, or unlocked.
        choose: takes the name of a layer that is to be the chosen one.
    """

    commit: Callable[[int], None]
    move: Callable[[], None]
    lock: Callable[[str], None]
    choose: Callable[[str], None]


class Line(NamedTuple):
    """A line of the table of figures: texts that hold for every budget, or one a budget."""

    title: str
    cells: list[str | list[str]]  # in the order of COLUMNS
    top1: str | list[str] | None  # percent: "measured" or "low predicted high"


@dataclass(frozen=True, eq=False)
class BudgetTable:
    """T budgets in a row, each spent on the same L layers.

    Attributes:
        label: what the slider is over: "Average bits".
        unit: what follows its numbers: " bit".
        digits: how many decimals they have.
        values: the numbers of the slider, (T,).
        layers: (name, label of its block, kind as in `Layer`), (L,); a block's stand together.
        weight: widths of each layer's weights at each budget, (T, L).
        activation: of its activations, (T, L).
        mixed: what these bits cost.
        uniform: what one width for all costs at the same budgets; None where there is none.
        plain: what the float model costs.
        gap: how far the row may be from the best there is, relative, (T,).
        steps: what the last step to this row bought, as a sentence, (T,).
        widths: all that may occur, by price.

    Raises:
        ValueError: lengths that differ, no budget, no layer, or widths that are not offered.
    """

    label: str
    unit: str
    digits: int
    values: Sequence[float]
    layers: Sequence[tuple[str, str, str]]
    weight: Sequence[Sequence[int]] | np.ndarray
    activation: Sequence[Sequence[int]] | np.ndarray
    mixed: Figures
    uniform: Figures | None
    plain: Plain
    gap: Sequence[float]
    steps: Sequence[str]
    widths: Sequence[int] = MENU

    def __post_init__(self) -> None:
        rows, count = len(self.values), len(self.layers)
        if not (rows and count):
            raise ValueError(f"a table of {rows} budgets and {count} layers: give one at least")
        for name in ("weight", "activation"):
            self._check(name, np.asarray(getattr(self, name)), (rows, count))
        columns = {"gap": self.gap, "steps": self.steps} | _columns("mixed", self.mixed)
        if self.uniform is not None:
            columns |= _columns("uniform", self.uniform)
        for name, column in columns.items():
            if len(column) != rows:
                raise ValueError(f"{name} has {len(column)} rows: the table has {rows} budgets")

    def _check(self, name: str, widths: np.ndarray, shape: tuple[int, int]) -> None:
        if widths.shape != shape:
            raise ValueError(f"{name} has shape {widths.shape}: use {shape}, budgets by layers")
        wrong = widths[~np.isin(widths, [*self.widths, FLOAT])]
        if wrong.size:
            offered = ", ".join(map(label, self.widths))
            raise ValueError(f"{name} has {wrong[0]} bits: use {offered}")

    @cached_property
    def shown(self) -> tuple[int, ...]:
        """The widths that may occur, and float where a lock has it."""
        used = {*_used(self.weight), *_used(self.activation)}
        return (*self.widths, *sorted(used - set(self.widths)))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the layers, in order."""
        return tuple(name for name, _, _ in self.layers)

    def text(self, row: int) -> str:
        """Return a row's budget: "4.2 bit"."""
        return f"{self.values[row]:.{self.digits}f}{self.unit}"

    @cached_property
    def wire(self) -> dict[str, object]:
        """What the browser gets: text ready to show, a letter a width; `id` tells tables apart."""
        blocks = [(b, len(list(run))) for b, run in groupby(block for _, block, _ in self.layers)]
        weight, activation = _letters(self.weight), _letters(self.activation)
        table = {
            "label": self.label,
            "values": [self.text(row) for row in range(len(self.values))],
            "layers": self.names,
            "kinds": [KINDS.get(kind, kind) for _, _, kind in self.layers],
            "blocks": blocks,
            "weight": weight,
            "activation": None if activation == weight else activation,
            "columns": [
                {"label": name, "help": text, "said": " BitOps" if name == "BitOps" else ""}
                for name, text in COLUMNS.items()
            ],
            "top1": TOP1,
            "lines": {name: line._asdict() for name, line in self._lines().items()},
            "scale": self._scale(),
            "steps": list(self.steps),
            "names": [named(_used(side)) for side in (self.weight, self.activation)],
            "tall": max(8, *map(number, self.shown)),
        }
        written = json.dumps(table).encode()
        return {"id": hashlib.sha256(written).hexdigest()[:16], **table}

    def figures(self, row: int) -> list[dict[str, str]]:
        """Return the lines of figures at a row: this budget, uniform where there is one, float."""
        rows = []
        for line in self._lines().values():
            cells = [cell if isinstance(cell, str) else cell[row] for cell in line.cells]
            top1 = line.top1[row] if isinstance(line.top1, list) else line.top1
            costs = dict(zip(COLUMNS, cells, strict=True))
            rows.append({"": line.title, **costs, TOP1: _accuracy(top1)})
        return rows

    def _lines(self) -> dict[str, Line]:
        """Return the lines that there are: "mixed", "uniform" and "plain"."""
        plain = self.plain
        costs = [units.size(plain.size), units.large(plain.bitops), FLOAT_BITS, FLOAT_BITS]
        top1 = None if plain.top1 is None else _percent(plain.top1)
        gap = [units.share(value, 2) for value in self.gap]
        lines = {"mixed": _line("this budget", self.mixed, gap)}
        if self.uniform is not None:
            lines["uniform"] = _line("uniform", self.uniform, "")
        return lines | {"plain": Line("float", [*costs, ""], top1)}

    def _scale(self) -> tuple[int, int] | None:
        """Return the ends of the track that accuracies are drawn on, in percent; None: no track."""
        accuracies = [] if self.plain.top1 is None else [self.plain.top1]
        for figures in (self.mixed, self.uniform):
            accuracies += [v for band in (figures and figures.predicted) or () for v in band]
        if not accuracies:
            return None
        low, high = 10 * math.floor(10 * min(accuracies)), 10 * math.ceil(10 * max(accuracies))
        return low, max(high, low + 10)


def _columns(owner: str, figures: Figures) -> dict[str, Sequence[object]]:
    columns = {f"{owner}.{name}": column for name, column in vars(figures).items()}
    return {name: column for name, column in columns.items() if column is not None}


def _used(widths: Sequence[Sequence[int]] | np.ndarray) -> list[int]:
    used: list[int] = np.unique(widths).tolist()
    return used


def _letters(widths: Sequence[Sequence[int]] | np.ndarray) -> list[str]:
    of = {width: letter(width) for width in _used(widths)}
    return ["".join(map(of.__getitem__, row)) for row in np.asarray(widths).tolist()]


def _line(title: str, figures: Figures, gap: str | list[str]) -> Line:
    cells: list[str | list[str]] = [
        [units.size(value) for value in figures.size],
        [units.large(value) for value in figures.bitops],
        [f"{value:.2f}" for value in figures.weight_bits],
        [f"{value:.2f}" for value in figures.activation_bits],
        gap,
    ]
    bands = figures.predicted
    top1 = None if bands is None else [" ".join(map(_percent, band)) for band in bands]
    return Line(title, cells, top1)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _accuracy(top1: str | None) -> str:
    """Return an accuracy and where it is from: "77.2 % (measured)"."""
    if top1 is None:
        return "–"
    if " " not in top1:
        return f"{top1} % (measured)"
    low, middle, high = top1.split()
    return f"{middle} % (predicted, {low} to {high} %)"
