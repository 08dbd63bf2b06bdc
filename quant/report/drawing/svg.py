"""Charts as SVG that stands in the HTML: a few shapes, and axes that say what they count.

Colours and fonts come from the style sheet, by class, so that charts follow the theme.
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from quant.report.drawing.elements import Html, tag

STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
DECADE = (1, 2, 3, 5, 7)
TICKS = 5


@dataclass(frozen=True)
class Scale:
    """From values to places: low to high lies between `start` and `stop`.

    Attributes:
        log: equal ratios take equal room.
    """

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        low, high, value = (self._laid(v) for v in (self.low, self.high, value))
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.stop - self.start)

    def _laid(self, value: float) -> float:
        return math.log(max(value, 1e-300)) if self.log else value

    @property
    def ticks(self) -> list[float]:
        """Round values to write at the axis."""
        return log_ticks(self.low, self.high) if self.log else linear_ticks(self.low, self.high)


def linear_ticks(low: float, high: float) -> list[float]:
    """Return up to six round values from low to high."""
    if high <= low:
        return [low]
    rough = (high - low) / TICKS
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * one for one in STEPS if power * one >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return round values from low to high: of many decades the powers of ten."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    digits = DECADE if len(powers) <= 3 else (1, 3) if len(powers) <= 5 else (1,)
    return [d * 10.0**p for p in powers for d in digits if low <= d * 10.0**p <= high]


def picture(width: float, height: float, marks: Iterable[Html], label: str) -> Html:
    """Return a drawing; `label` says in words what it shows."""
    return tag(
        "svg",
        *marks,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label=label,
        style=f"max-width:{width:g}px",
    )


def label(x: float, y: float, words: object, kind: str = "", anchor: str = "middle") -> Html:
    """Return a text that stands on (x, y)."""
    return tag("text", words, x=_n(x), y=_n(y), class_=kind or None, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Html:
    """Return a straight line."""
    return tag("line", x1=_n(x1), y1=_n(y1), x2=_n(x2), y2=_n(y2), class_=kind)


def box(x: float, y: float, width: float, height: float, kind: str, told: str = "") -> Html:
    """Return a rectangle; `told` is read when the mouse rests on it."""
    inside = [tag("title", told)] if told else []
    size = {"width": _n(max(width, 0)), "height": _n(max(height, 0))}
    return tag("rect", *inside, x=_n(x), y=_n(y), **size, class_=kind)


def trail(points: Sequence[tuple[float, float]], kind: str) -> Html:
    """Return lines from point to point."""
    steps = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
    return tag("path", d=f"M{steps}", class_=kind)


def symbol(x: float, y: float, name: str, size: float, kind: str, told: str = "") -> Html:
    """Return a mark: a symbol by its name in Plotly, or a circle."""
    inside = [tag("title", told)] if told else []
    corners = SHAPES.get(name)
    if corners is None:
        return tag("circle", *inside, cx=_n(x), cy=_n(y), r=_n(size), class_=kind)
    points = " ".join(f"{_n(x + size * a)},{_n(y + size * b)}" for a, b in corners)
    return tag("polygon", *inside, points=points, class_=kind)


def axes(
    across: Scale,
    up: Scale,
    titles: tuple[str, str],
    writes: tuple[Callable[[float], str], Callable[[float], str]],
) -> list[Html]:
    """Return both axes: fine lines across, values below and on the left, titles beside them."""
    left, right, bottom, top = across.start, across.stop, up.start, up.stop
    marks = [line(left, up(value), right, up(value), "grid") for value in up.ticks]
    marks += [label(left - 6, up(value) + 4, writes[1](value), "tick", "end") for value in up.ticks]
    for value in across.ticks:
        marks.append(line(across(value), bottom, across(value), bottom + 4, "axis"))
        marks.append(label(across(value), bottom + 17, writes[0](value), "tick"))
    marks.append(line(left, bottom, right, bottom, "axis"))
    marks.append(label(right, bottom + 34, titles[0], "name", "end"))
    marks.append(label(left - 6, top - 10, titles[1], "name", "start"))
    return marks


def short(written: str) -> str:
    """Return a written quantity without zeros after its point: "10.0 G" -> "10 G"."""
    return re.sub(r"(\.\d*?)0+(?= )", r"\1", written).replace(". ", " ")


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _cross(turn: float) -> list[tuple[float, float]]:
    """Return the corners of a plus, or of an x where it is turned by an eighth."""
    half = [(0.35, -1.0), (0.35, -0.35), (1.0, -0.35)]
    corners = [
        (x * c - y * s, x * s + y * c)
        for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))
        for x, y in half
    ]
    c, s = math.cos(turn), math.sin(turn)
    return [(x * c - y * s, x * s + y * c) for x, y in corners]


def _star() -> list[tuple[float, float]]:
    angles = [(math.pi * place / 5, 1.3 if place % 2 == 0 else 0.55) for place in range(10)]
    return [(r * math.sin(a), -r * math.cos(a)) for a, r in angles]


SHAPES = {
    "diamond": [(0.0, -1.25), (1.25, 0.0), (0.0, 1.25), (-1.25, 0.0)],
    "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
    "triangle-up": [(0.0, -1.15), (1.1, 0.85), (-1.1, 0.85)],
    "triangle-down": [(0.0, 1.15), (1.1, -0.85), (-1.1, -0.85)],
    "x": _cross(math.pi / 4),
    "cross": _cross(0),
    "star": _star(),
}
