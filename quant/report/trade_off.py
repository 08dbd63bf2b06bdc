"""Accuracy against cost: the runs that were named, and all others on the same images."""

from collections.abc import Sequence
from typing import NamedTuple

from quant.allocation.cost import Cost
from quant.history.runs import Run
from quant.report.drawing import svg, units
from quant.report.drawing.colours import MARKERS, OTHER
from quant.report.drawing.elements import Html, charted, join, table, tag
from quant.report.finding import to_float
from quant.report.subject import Subject, evaluation_of, kind_of, name_of

WIDE, HIGH = 470.0, 380.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 16.0, 36.0, 48.0


class Point(NamedTuple):
    """A run: what it costs, and what it gives in percent."""

    run: Run
    cost: Cost
    top1: float
    low: float
    high: float


def section(subject: Subject) -> Html:
    """Return the charts over size and BitOps with the table of all runs."""
    numbers = _table(subject)
    points = [point for run in subject.every if (point := _point(subject, run)) is not None]
    if not points:
        return join([tag("p", "What they cost is not known without the model.", class_="note"),
                     numbers])  # fmt: skip
    both = tag("div", _chart(subject, points, "size"), _chart(subject, points, "BitOps"),
               _legend(points), class_="pair")  # fmt: skip
    return charted(both, sentence(subject), numbers, "All runs")


def _point(subject: Subject, run: Run) -> Point | None:
    """Return a quantized run's point; float's own is a line."""
    spent, e = subject.cost(run.recipe.allocation), evaluation_of(run)
    if spent is None or run.recipe.allocation is None:
        return None
    return Point(run, spent, 100 * e.top1, 100 * e.top1_low, 100 * e.top1_high)


def sentence(subject: Subject) -> str:
    """Return in words what the chart shows."""
    count = sum(run.recipe.allocation is not None for run in subject.every)
    runs = "1 quantized run" if count == 1 else f"{units.count(count)} quantized runs"
    plain = units.share(plain_top1(subject))
    more = (
        " Uniform bits were not measured on these images: `python -m quant evaluate "
        "--weight-bits 4 --activation-bits 4` measures a baseline."
        if all(kind_of(run.recipe) != "uniform" for run in subject.every)
        else ""
    )
    return (
        f"{runs} of this model on these images, with 95 % intervals: up is more accurate, left is "
        f"cheaper. Filled marks are the runs this report is of; the dashed line is float, {plain}; "
        f"the grey line joins those that no other run beats in both.{more}"
    )


def plain_top1(subject: Subject) -> float:
    """Return float's accuracy on the run's images."""
    counts = subject.run.counts
    return counts.plain / counts.images


def front(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the (cost, accuracy) that none beats in both, from the cheapest."""
    best: list[tuple[float, float]] = []
    for cost, top1 in sorted(places, key=lambda place: (place[0], -place[1])):
        if not best or top1 > best[-1][1]:
            best.append((cost, top1))
    return best


def _chart(subject: Subject, points: Sequence[Point], axis: str) -> Html:
    def cost(point: Point) -> float:
        return point.cost.size_bytes if axis == "size" else point.cost.bitops

    costs, plain = [cost(point) for point in points], 100 * plain_top1(subject)
    across = svg.Scale(min(costs) / 1.1, max(costs) * 1.1, LEFT, WIDE - RIGHT, log=True)
    lowest = max(0.0, min([plain, *(point.low for point in points)]) - 2)
    up = svg.Scale(
        lowest, min(100.0, max(plain, *(p.high for p in points)) + 2), HIGH - BOTTOM, TOP
    )
    titles = ("model size" if axis == "size" else "BitOps an image", "top-1 (%)")
    write = units.size if axis == "size" else units.large
    marks = svg.axes(across, up, titles, (lambda v: svg.short(write(v)), "{:g}".format))
    marks.append(svg.line(across.start, up(plain), across.stop, up(plain), "float"))
    best = [(across(c), up(a)) for c, a in front([(cost(p), p.top1) for p in points])]
    marks.append(svg.trail(best, "front"))
    named = {run.id for run in subject.named}
    for point in sorted(points, key=lambda point: point.run.id in named):
        marks += _mark(point, across(cost(point)), up, point.run.id in named)
    shown = [point for point in points if point.run.id in named]
    marks += _tags([(p.run.id, across(cost(p)), up(p.top1)) for p in shown])
    marks.append(svg.label(across.stop, up(plain) - 5, f"float {plain:.1f} %", "tag", "end"))
    return svg.picture(WIDE, HIGH, marks, f"Accuracy against {titles[0]}")


def _tags(named: Sequence[tuple[int, float, float]]) -> list[Html]:
    """Write runs' numbers beside their places, each where there is room."""
    taken: list[tuple[float, float]] = []
    marks = []
    for number, x, y in named:
        tries = [(x + side, y + dy) for dy in (-8, 18, -24, 34, -40, 50) for side in (8, -50)]
        free = (t for t in tries if all(abs(t[0] - a) > 48 or abs(t[1] - b) > 12 for a, b in taken))
        left, bottom = next(free, tries[0])
        taken.append((left, bottom))
        marks.append(svg.label(left, bottom, f"run {number}", "tag", "start"))
    return marks


def _mark(point: Point, x: float, up: svg.Scale, named: bool) -> list[Html]:
    kind = kind_of(point.run.recipe)
    drawn, colour = MARKERS.get(kind, OTHER), f"m-{kind if kind in MARKERS else 'other'}"
    e = evaluation_of(point.run)
    told = (
        f"run {point.run.id}, {name_of(point.run.recipe)}: {point.top1:.1f} % "
        f"({units.interval(e.top1_low, e.top1_high)}), {units.size(point.cost.size_bytes)}, "
        f"{units.large(point.cost.bitops)} BitOps"
    )
    return [
        svg.line(x, up(point.low), x, up(point.high), f"whisker {colour}"),
        svg.symbol(x, up(point.top1), drawn.symbol, 6 if named else 5,
                   f"mark {colour}{' named' if named else ''}", told),
    ]  # fmt: skip


def _legend(points: Sequence[Point]) -> Html:
    kinds = dict.fromkeys(kind_of(point.run.recipe) for point in points)
    return tag("p", *(_entry(kind) for kind in kinds), class_="legend")


def _entry(kind: str) -> Html:
    drawn, colour = MARKERS.get(kind, OTHER), f"m-{kind if kind in MARKERS else 'other'}"
    shape = svg.symbol(9, 9, drawn.symbol, 6, f"mark {colour} named")
    inside = tag("svg", shape, viewBox="0 0 18 18", width=18, height=18, aria_hidden="true")
    words = "from a file" if kind == "file" else kind
    return tag("span", inside, words)


def _table(subject: Subject) -> Html:
    known = subject.costs is not None
    head = ["run", "configuration", "quantizer", "images", "top-1", "95 % interval", "to float"]
    head += ["bits a weight", "size", "BitOps"] if known else []
    rows = [_cells(subject, run) for run in _sorted(subject)]
    return table(head, rows, words=3)


def _sorted(subject: Subject) -> list[Run]:
    """Return the named runs, then the others from the dearest to the cheapest."""

    def dear(run: Run) -> tuple[float, int]:
        spent = subject.cost(run.recipe.allocation)
        return (0.0 if spent is None else -spent.bitops, run.id)

    return [*subject.named, *sorted(subject.others, key=dear)]


def _cells(subject: Subject, run: Run) -> list[object]:
    e, spent = evaluation_of(run), subject.cost(run.recipe.allocation)
    plain = run.recipe.allocation is None
    number: object = f"{run.id}"
    row = [
        tag("b", number) if run in subject.named else number,
        name_of(run.recipe),
        "" if plain else run.recipe.preset,
        units.count(e.images),
        units.share(e.top1),
        units.interval(e.top1_low, e.top1_high),
        "" if plain else to_float(e).removesuffix(" to float"),
    ]
    if spent is not None:
        row += [f"{spent.average_bits:.2f}", units.size(spent.size_bytes),
                units.large(spent.bitops)]  # fmt: skip
    return row
