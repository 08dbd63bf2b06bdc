"""How the bits were bought: the expected loss as it falls along the budget, the dearest bits."""

from collections.abc import Sequence

import numpy as np

from quant.allocation.path import BudgetPlan
from quant.primitives.bits import MENU
from quant.primitives.formats import label, price
from quant.report.drawing import svg, units
from quant.report.drawing.elements import Html, charted, join, table, tag
from quant.report.purchases import Purchase, bought, way_to
from quant.report.subject import Subject, kind_of

DEAREST = 10
WIDE, HIGH = 960.0, 330.0
UNKNOWN = "How it was bought cannot be drawn: what each layer's bits are worth is not known here. "


def section(subject: Subject) -> Html:
    """Return which budget was spent by what, and in which order bits are bought."""
    return join([tag("p", chosen(subject)), _waterfall(subject)])


def chosen(subject: Subject) -> str:
    """Return in words what was chosen."""
    recipe, spent = subject.recipe, subject.cost(subject.allocation)
    widths = {w for bits in subject.allocation.values() for w in vars(bits).values()}
    narrow, wide = (label(end(widths, key=price)) for end in (min, max))
    how = f"Bits of {len(subject.allocation)} layers, between {narrow} and {wide}"
    if len(widths) == 1:
        how = f"{narrow}{' bits' * (widths <= {*MENU})} in all {len(subject.allocation)} layers"
    by = {
        "uniform": "nothing was chosen layer by layer",
        "file": "they were given as a file",
    }.get(kind_of(recipe), f"bought by {recipe.objective} within {recipe.budget}")
    if spent is None:
        return f"{how}; {by}."
    whole = f", {units.size(spent.file_bytes)} with every scale and table" * bool(spent.file_bytes)
    return (
        f"{how}; {by}. The weights take {spent.average_bits:.2f} bits on average: "
        f"{units.size(spent.weight_bytes)}, and {units.size(spent.size_bytes)} with what stays in "
        f"float{whole}; {units.large(spent.bitops)} BitOps an image."
    )


def _waterfall(subject: Subject) -> Html:
    losses, costs = subject.losses, subject.costs
    if losses is None or costs is None:
        finds = tag("code", "python -m quant sensitivity")
        return tag("p", UNKNOWN, finds, " finds it for a model and quantizer.", class_="note")
    try:
        plan = way_to(costs.layers, subject.allocation, losses)
    except ValueError as error:
        return tag("p", f"How it was bought cannot be drawn: {error}.", class_="note")
    steps = bought(costs.layers, plan, losses)
    if not steps:
        return tag("p", "Nothing was bought: these are the lowest widths there are.")
    lost = losses.at(plan.weight, plan.activation).sum(1)
    work = np.array([costs.cost(plan.allocation(row)).bitops for row in range(len(lost))])
    dearest = sorted(steps, key=lambda step: -share(step, steps))[:DEAREST]
    return charted(
        _chart(work, lost, dearest),
        _sentence(subject, plan, steps, lost),
        _table(steps, dearest),
        "The dearest bits",
    )


def share(step: Purchase, steps: Sequence[Purchase]) -> float:
    """Return a step's share of all that was spent, of size and BitOps alike."""
    size, work = sum(s.size for s in steps), sum(s.bitops for s in steps)
    return (step.size / size if size else 0.0) + (step.bitops / work if work else 0.0)


def _lowest(plan: BudgetPlan) -> str:
    """Return in words what the way begins with."""
    widths = {*plan.weight[0].tolist(), *plan.activation[0].tolist()}
    if len(widths) > 1:
        return "the cheapest of its widths"
    (width,) = widths
    return f"{label(width)}{' bits' * (width in MENU)} everywhere"


def _sentence(
    subject: Subject, plan: BudgetPlan, steps: Sequence[Purchase], lost: np.ndarray
) -> str:
    sensitivity = subject.sensitivity
    assert sensitivity is not None
    by = kind_of(subject.recipe)
    other = "" if by in ("sensitivity", "file") else f" (the bits were not spent by it but: {by})"
    best = max(steps, key=lambda step: step.gain)
    return (
        f"From {_lowest(plan)} to these bits in {len(steps)} steps, each "
        f"budget spent where the expected loss falls most: from {lost[0]:.3g} to {lost[-1]:.3g} "
        f"nats, the sum of what each layer alone is expected to cost{other}. The numbered rings "
        f"are the {min(DEAREST, len(steps))} dearest steps; the one that gave most is "
        f"{best.layer}, {best.what} {label(best.before)} → {label(best.after)}, "
        f"{best.gain:.2g} nats. Losses were {sensitivity.how} on {sensitivity.images} images."
    )


def _chart(work: np.ndarray, lost: np.ndarray, dearest: Sequence[Purchase]) -> Html:
    floor = max(float(lost.min()), 1e-9)
    across = svg.Scale(float(work[0]), max(float(work[-1]), float(work[0]) + 1), 70, WIDE - 20)
    up = svg.Scale(floor * 0.8, max(float(lost.max()), floor) * 1.2, HIGH - 48, 34, log=True)
    titles = ("BitOps an image", "expected loss (nats, logarithmic)")
    marks = svg.axes(across, up, titles, (lambda v: svg.short(units.large(v)), "{:g}".format))
    places = [(across(w), up(v)) for w, v in zip(work.tolist(), lost.tolist(), strict=True)]
    stairs = [places[0]]
    for x, y in places[1:]:
        stairs += [(x, stairs[-1][1]), (x, y)]
    marks.append(svg.trail(stairs, "curve"))
    taken: dict[int, int] = {}
    for number, step in enumerate(dearest, start=1):
        x, y = places[step.row]
        above = taken.get(step.row, 0)
        taken[step.row] = above + 1
        marks.append(svg.symbol(x, y - 15 - 21 * above, "circle", 9, "ring", str(step)))
        marks.append(svg.label(x, y - 11 - 21 * above, number, "ringed"))
    return svg.picture(WIDE, HIGH, marks, "The expected loss falls as the budget grows")


def _table(steps: Sequence[Purchase], dearest: Sequence[Purchase]) -> Html:
    gained = sum(step.gain for step in steps)
    head = ["ring", "layer", "what", "from", "to", "size", "BitOps", "loss less (mnat)", "of all"]
    rows = [
        [
            f"{number}", step.layer, step.what, label(step.before), label(step.after),
            units.size(step.size) if step.size else "", units.large(step.bitops),
            f"{1000 * step.gain:.3g}", units.share(step.gain / gained) if gained else "",
        ]
        for number, step in enumerate(dearest, start=1)
    ]  # fmt: skip
    return table(head, rows, words=3)
