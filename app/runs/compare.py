"""Two runs against each other, or one against float: which is better, and by which bits."""

import pandas as pd
import streamlit as st

from app.look import units
from app.look.appearance import dark
from app.parts.choice import one_of
from app.parts.numbers import as_numbers, figure
from app.runs import charts
from app.runs.charts import ACTIVATIONS, WEIGHTS
from app.runs.detail import load_button
from app.runs.listing import cost_of
from app.runs.pair import Contender, RunComparison, verdict
from app.state import runs, selection
from app.state.selection import Selected
from app.text import Markdown, escape
from lrp.engine.layers import Layer
from quant.primitives.bits import Allocation, LayerBits
from quant.primitives.formats import FLOAT as WHOLE

FLOAT = LayerBits(WHOLE, WHOLE)
ENOUGH = 5  # images of a class from which its accuracy is drawn


def show(comparison: RunComparison) -> None:
    """Show both, and the difference between them."""
    st.subheader("A against B")
    for side, place in zip(comparison.sides, st.columns(2, gap="medium"), strict=True):
        with place.container(border=True):
            _side(comparison, side)
    st.markdown(escape(units.unbroken(verdict(comparison))))
    table = charts.outcome_table(comparison)
    counts = [f"{units.count(n)} {outcome}" for outcome, n in comparison.outcomes.items()]
    sentence = f"Of {units.count(comparison.images)} images: {', '.join(counts)}."
    st.vega_lite_chart(table, charts.outcome_spec(dark()), alt=sentence)
    st.caption(escape(f"{sentence} Only the images that one alone gets right decide between them."))


def _side(comparison: RunComparison, side: Contender) -> None:
    recipe, reached = side.recipe, comparison.evaluation(side)
    preset = "" if side.allocation is None else f", {recipe.preset}"
    run = "as it answered B's images" if side.plain else f"run {side.run.id}"
    about = f"({recipe.model}{preset}; {run})"
    st.markdown(Markdown("**{}** {}").format(side.title, about))
    places = st.columns([1, 1.5], gap="small", vertical_alignment="center")
    interval = units.interval(reached.top1_low, reached.top1_high)
    figure(places[0], "Top-1", units.share(reached.top1), interval)
    spent = cost_of(recipe.model_key, side.allocation)
    if spent is not None:
        places[1].markdown(
            Markdown("{:.2f} bits a weight  \n{} in all  \n{} BitOps an image").format(
                spent.average_bits, units.size(spent.size_bytes), units.large(spent.bitops)
            )
        )


def in_use(comparison: RunComparison) -> Selected | None:
    """Return the model in use if it is that of both sides; else offer to load it."""
    keys = {side.recipe.model_key for side in comparison.sides}
    if len(keys) > 1:
        st.info("Bits and heatmaps are compared within one model: these are two.")
        return None
    selected = selection.CURRENT.get()
    if selected is not None and selected.loaded.key in keys:
        return selected
    st.info(
        escape(
            f"Load {comparison.other.recipe.model} to see its bits, its images and its heatmaps."
        )
    )
    load_button(comparison.other.recipe, "load-compared")
    return None


def bits(comparison: RunComparison, layers: tuple[Layer, ...]) -> None:
    """Show the bits of both by layer."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Bits of each layer")
        of = one_of("Bits of", [WEIGHTS, ACTIVATIONS], runs.BITS_OF)
    one, other = (side.allocation for side in comparison.sides)
    sentence = spent_differently(one, other, of)
    st.caption(escape(sentence))
    table = charts.bits_table(layers, one, other, of)
    sides = tuple(side.mark for side in comparison.sides if side.allocation is not None)
    st.vega_lite_chart(table, charts.bits_spec(layers, sides, dark()), alt=sentence)
    as_numbers({"bits of both by layer": bit_rows(layers, one, other)})


def spent_differently(one: Allocation | None, other: Allocation | None, of: str) -> str:
    """Return in words where B spends other bits than A."""
    if one is None or other is None:
        plain, mark = ("A", "B") if one is None else ("B", "A")
        return f"A bar is a layer's bits in {mark}; {plain} is float, 32 bits everywhere."
    gaps = {
        layer: charts.bits_of(other[layer], of) - charts.bits_of(bits, of)
        for layer, bits in one.items()
        if layer in other
    }
    more = sum(gap > 0 for gap in gaps.values())
    less = sum(gap < 0 for gap in gaps.values())
    if not more and not less:
        return f"A and B give every layer's {of.lower()} the same bits."
    most = max(gaps, key=lambda layer: abs(gaps[layer]))
    return (
        f"Of {of.lower()}, B spends more bits than A in {more} layers, fewer in {less} and as many "
        f"in {len(gaps) - more - less}, which are faint; the furthest apart is {most} "
        f"({gaps[most]:+d}).".replace("-", "−")
    )


def bit_rows(
    layers: tuple[Layer, ...], one: Allocation | None, other: Allocation | None
) -> pd.DataFrame:
    """Return one row a layer with the bits of both; 32 is float."""
    rows = []
    for layer in layers:
        row: dict[str, object] = {"layer": layer.name, "weights": layer.parameters}
        for mark, allocation in (("A", one), ("B", other)):
            bits = (allocation or {}).get(layer.name, FLOAT)
            row[f"{mark} weight bits"] = bits.weight
            row[f"{mark} activation bits"] = bits.activation
        rows.append(row)
    return pd.DataFrame(rows)


def classes(comparison: RunComparison, names: tuple[str, ...]) -> None:
    """Show the accuracy of both within each class, where a class has images enough for one."""
    st.subheader("Accuracy by class")
    table = charts.class_table(comparison.classes, names)
    sentence = classes_changed(table)
    st.caption(escape(units.unbroken(sentence)))
    if table["images"].max() >= ENOUGH:
        points = charts.class_points(table)
        count = points["class"].nunique()
        st.vega_lite_chart(points, charts.class_spec(count, dark()), alt=sentence)
    number = st.column_config.NumberColumn
    config = {mark: number(f"{mark}, top-1", format="%.1f %%") for mark in ("A", "B")}
    config["change"] = number(format="%+.1f")
    as_numbers({"accuracy by class": table}, config, "All classes as numbers")


def classes_changed(table: pd.DataFrame) -> str:
    """Return in words which classes changed most, and how little a class's number is worth."""
    few, many = int(table["images"].min()), int(table["images"].max())
    counted = f"{few} to {many} images" if few < many else f"{many} image{'s' * (many > 1)}"
    moved = int((table["change"] != 0).sum())
    if many < ENOUGH:
        return (
            f"{moved} of {len(table)} classes change, but a class has {counted} here: too few to "
            "say anything of a single one."
        )
    shown = min(len(table), charts.MOST_CLASSES)
    which = "All classes" if shown == len(table) else f"The {shown} classes that change most"
    return (
        f"{which}, the most changed first. {_most_changed(table)} A class has {counted} here, so "
        "a few of them move it far."
    )


def _most_changed(table: pd.DataFrame) -> str:
    worst, best = table.loc[table["change"].idxmin()], table.loc[table["change"].idxmax()]
    moved = []
    if worst["change"] < 0:
        moved.append(f"{worst['class']} loses most ({units.points(worst['change'] / 100)} points)")
    if best["change"] > 0:
        moved.append(f"{best['class']} gains most ({units.points(best['change'] / 100)})")
    return f"From A to B {' and '.join(moved)}." if moved else "None changes."
