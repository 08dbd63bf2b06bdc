"""Accuracy class by class: float against the run, on the same images."""

from collections.abc import Sequence

from quant.evaluation.comparison import ClassAccuracy, by_class, changed
from quant.report.drawing import svg, units
from quant.report.drawing.elements import Html, charted, folded, join, table, tag
from quant.report.subject import Subject

ENOUGH = 5  # images of a class from which its accuracy is drawn
MOST = 20  # classes drawn
WIDE, LINE, LEFT = 960.0, 24.0, 230.0
LETTERS = 30  # of a class's name beside the chart


def section(subject: Subject) -> Html:
    """Return the most changed classes as a chart, all of them as a table."""
    answers = subject.run.answers
    every = by_class(answers.of_reference, answers)
    every.sort(key=lambda one: (-abs(moved(one)), -one.images, one.label))
    drawn = [one for one in every if one.images >= ENOUGH][:MOST]
    numbers = tag("div", _table(subject, every), class_="many")
    said = tag("p", sentence(subject, every))
    if not drawn:
        few = f"No class has {ENOUGH} images here, too few for a chart of shares."
        folded_ = folded("Accuracy by class as numbers", numbers)
        return join([said, tag("p", few, class_="note"), folded_])
    order = "the most changed first" if len(every) <= MOST else f"the {len(drawn)} most changed"
    caption = f"Circles are float, diamonds the quantized model; {order}, of {ENOUGH} images up."
    chart = _chart(subject, drawn)
    return join([said, charted(chart, caption, numbers, "Accuracy by class")])


def moved(one: ClassAccuracy) -> float:
    """Return how much the accuracy of a class rose."""
    return (one.other or 0.0) - one.top1


def sentence(subject: Subject, every: Sequence[ClassAccuracy]) -> str:
    """Return in words how answers moved, and in which classes most is lost."""
    answers = subject.run.answers
    changes = changed(answers.of_reference, answers)
    lost = sum(change.one == change.label for change in changes)
    won = sum(change.other == change.label for change in changes)
    worse = sum(moved(one) < 0 for one in every)
    better = sum(moved(one) > 0 for one in every)
    return (
        f"{units.count(len(changes))} of {units.count(len(answers))} images are answered otherwise "
        f"than by float: {lost} right in float only, {won} right when quantized only, "
        f"{len(changes) - lost - won} wrong both times. Of {len(every)} classes seen, "
        f"{worse} lost and {better} won accuracy."
    )


def _chart(subject: Subject, drawn: Sequence[ClassAccuracy]) -> Html:
    shares = [100 * share for one in drawn for share in (one.top1, one.other or 0.0)]
    low, high = min(shares), max(shares)
    bottom = 34 + LINE * len(drawn)
    across = svg.Scale(max(0.0, low - 3), min(100.0, high + 3), LEFT, WIDE - 20)
    marks = []
    for value in across.ticks:
        marks.append(svg.line(across(value), 20, across(value), bottom, "grid"))
        marks.append(svg.label(across(value), bottom + 17, f"{value:g}", "tick"))
    marks.append(svg.label(WIDE - 20, bottom + 36, "top-1 within the class (%)", "name", "end"))
    for number, one in enumerate(drawn):
        marks += _line(subject, one, 34 + LINE * number, across)
    return svg.picture(WIDE, bottom + 46, marks, "Accuracy by class, float and quantized")


def _line(subject: Subject, one: ClassAccuracy, y: float, across: svg.Scale) -> list[Html]:
    name = subject.class_name(one.label)
    before, after = across(100 * one.top1), across(100 * (one.other or 0.0))
    told = f"{name}: float {units.share(one.top1)}, quantized {units.share(one.other or 0.0)}"
    short = name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"
    return [
        svg.label(LEFT - 12, y + 4, short, "tick", "end"),
        svg.line(before, y, after, y, "between"),
        svg.symbol(before, y, "circle", 6, "mark m-float named", told),
        svg.symbol(after, y, "diamond", 6, "mark m-sensitivity named", told),
    ]


def _table(subject: Subject, every: Sequence[ClassAccuracy]) -> Html:
    rows = [
        [
            subject.class_name(one.label),
            units.count(one.images),
            units.share(one.top1),
            units.share(one.other or 0.0),
            units.points(moved(one)),
        ]
        for one in every
    ]
    return table(["class", "images", "float", "quantized", "points"], rows)
