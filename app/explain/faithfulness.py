"""How faithful maps are on one image: deletion curves, and whether they lie on the true mask."""

import pandas as pd
import streamlit as st
import torch

from app.explain import charts
from app.explain.question import Question, label
from app.look import units
from app.look.appearance import dark
from app.look.charts import CHART_CONFIG
from app.text import Markdown, escape
from app.work.explanations import Curves, MethodMap
from lrp.metrics.localisation import hits, mass

COMMAND = "python -m lrp faithfulness"


def show(
    asked: Question, chosen: int, made: dict[str, MethodMap], curves: dict[str, Curves]
) -> None:
    """Tabulate the methods, and chart those whose curves were asked for."""
    table = methods_table(asked, chosen, made, curves)
    config = {
        "cost": st.column_config.NumberColumn(
            format="%.2g×", help="Time as a multiple of the model's own forward and backward pass."
        ),
        "time": st.column_config.TextColumn(),
        "faithfulness": st.column_config.NumberColumn(
            format="%.3f",
            help="Mean of least-relevant-first less most-relevant-first; 0 is chance.",
        ),
    }
    if curves:
        st.caption(escape(units.unbroken(sentence(asked, chosen, curves))))
        figure = charts.deletion({label(n): c for n, c in curves.items()}, dark())
        st.plotly_chart(figure, config=CHART_CONFIG, alt="probability of the class as cells go")
    if chosen in asked.masks:
        st.caption(
            "On the digit: share of the positive relevance on the true mask, and whether the "
            "strongest point hits it. The bundled models were trained with these masks, so these "
            "figures flatter them."
        )
    st.dataframe(table, hide_index=True, column_config=config, alt="methods compared")


def sentence(asked: Question, chosen: int, curves: dict[str, Curves]) -> Markdown:
    """Return in words which method orders the picture best, and what that is worth."""
    best = max(curves, key=lambda name: curves[name].gap)
    found, name = curves[best], asked.names[chosen]
    quarter = int(abs(found.deleted - 0.25).argmin())
    before, after = (units.share(float(found.morf[i]), 0) for i in (0, quarter))
    return Markdown(
        "**{}** orders this picture best: without the quarter it calls most relevant, the "
        "probability of **{}** goes from {} to {}. A faithful map makes the left curve fall fast "
        "and keeps the right one high. One picture says little; `{}` measures many."
    ).format(label(best), name, before, after, COMMAND)


def methods_table(
    asked: Question, chosen: int, made: dict[str, MethodMap], curves: dict[str, Curves]
) -> pd.DataFrame:
    """Return one row a method: its cost, and what is known of its faithfulness."""
    rows = []
    for name, found in made.items():
        row = {"method": label(name), "cost": found.cost, "time": units.time(found.seconds)}
        if name in curves:
            row["faithfulness"] = curves[name].gap
        if chosen in asked.masks:
            maps, masks = (torch.as_tensor(x)[None] for x in (found.values, asked.masks[chosen]))
            row["on the digit"] = units.share(float(mass(maps, masks)[0]), 0)
            row["strongest point"] = "hit" if bool(hits(maps, masks)[0]) else "missed"
        rows.append(row)
    return pd.DataFrame(rows)
