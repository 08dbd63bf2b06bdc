"""What bits are spent by, in which unit, on which widths: the controls of the budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from app.budget import live, locks, scores
from app.look import units
from app.parts import job_panel, preset_picker
from app.parts.choice import one_of
from app.state import budget, selection
from app.state import quantizer as quantizer_state
from app.state.entry import Entry
from app.state.selection import Selected
from app.work import models, spending
from app.work.spending import Spending
from app.work.tasks import Calibrating, Scoring
from assets.sets.image_set import has_digits
from assets.sets.selection import Draw
from lrp.propagation.scores import ContributionScores
from quant.allocation.budget import Limits
from quant.allocation.objectives import LRP, SENSITIVITY, by_scores
from quant.analysis.sensitivity import ESTIMATED, HOW, MEASURED, Sensitivity
from quant.primitives.bits import MENU

HELP = (
    "**Sensitivity**: by how much the model's answer moves when a layer's weights, or its input, "
    "have so many bits; the default, as it measured best on DeiT-Tiny. **LRP**: by contribution "
    "scores alone, the paper's. **LRP × sensitivity**: their product."
)
UNIT_HELP = "Average bits limit size and BitOps together, to those of uniform bits."
COUNTS = (100, 250, 500, 1000, 2000, 5000)
WORDS = {ESTIMATED: "Estimated", MEASURED: "Measured"}


@dataclass(frozen=True, eq=False)
class Settings:
    """What the controls say: on which images, calibrated, scored and sensed how."""

    draw: Draw
    calibrating: Calibrating
    scoring: Scoring
    how: str


def settings(selected: Selected) -> Settings:
    """Let the user choose the objective, the unit, the quantizer and, on demand, the rest."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        _segments("Spend by", budget.LABELS, budget.OBJECTIVE, HELP)
        _segments("Budget in", budget.UNITS, budget.UNIT, UNIT_HELP)
        preset_picker.choose()
        with st.popover("Options", icon=":material/tune:", width="content"):
            _widths()
            _limits()
            how = _how()
            st.divider()
            draw = _measuring(selected)
            st.divider()
            scoring = scores.settings(draw)
        locks.show(selected)
    calibrating = models.calibrating(selected.loaded, selected.folder, quantizer_state.PRESET.get())
    return Settings(draw, calibrating, scoring, how)


def _segments(label: str, options: dict[str, str], entry: Entry[str], help: str) -> None:
    st.segmented_control(
        label,
        list(options),
        required=True,
        format_func=options.__getitem__,
        key=entry.widget,
        on_change=entry.follow(entry.get()),
        help=help,
    )


def _widths() -> None:
    """Let the user choose the widths that hardware has, and whether both operands share them."""
    st.pills(
        "Widths",
        MENU,
        selection_mode="multi",
        key=budget.WIDTHS.widget,
        on_change=budget.WIDTHS.follow(list(budget.WIDTHS.get())),
        help="The bits a layer may have. Much hardware has 2, 4 and 8 only.",
    )
    st.toggle(
        "Weights and activations alike",
        key=budget.TIED.widget,
        on_change=budget.TIED.follow(budget.TIED.get()),
        help="Off, the two operands of a layer may have different bits, which measures better.",
    )


def _limits() -> None:
    """Let the user limit what the slider does not."""
    unit = budget.UNIT.get()
    if unit != budget.SIZE:
        _limit("Weights at most (MB)", budget.SIZE_LIMIT.key)
    if unit != budget.BITOPS:
        _limit("BitOps at most (G)", budget.BITOPS_LIMIT.key)


def _limit(label: str, key: str) -> None:
    st.number_input(
        label,
        min_value=0.0,
        value=None,
        placeholder="no other limit",
        format="%.3f",
        key=key,
        persist_state="session",
        help="Holds besides the slider's budget, in decimal units.",
    )


def _how() -> str:
    return one_of(
        "Sensitivities",
        HOW,
        budget.HOW_CHOICE,
        default=ESTIMATED,
        titled=True,
        format_func=WORDS.__getitem__,
        help="Estimated from one pass and its gradients: seconds. Measured with one layer "
        "quantized at a time: minutes.",
    )


def _measuring(selected: Selected) -> Draw:
    """Let the user choose how budgets are measured; return on which images."""
    most = models.draw(selected.loaded, selected.folder).most
    count = _count(most) if most else None
    st.selectbox(
        "Stop at",
        list(live.PRECISIONS),
        format_func=live.PRECISIONS.__getitem__,
        key=budget.PRECISION.key,
        persist_state="session",
        help="A measurement may stop once its difference to float is known so well.",
    )
    st.toggle(
        "Measure on release",
        value=True,
        key=budget.AUTO.key,
        persist_state="session",
        help="Letting go of the slider starts a measurement; moving it stops that again.",
    )
    st.toggle(
        "Plain slider",
        key=budget.PLAIN.key,
        persist_state="session",
        help="Without the drawing in the browser: a slider that is heard when it is let go.",
    )
    return models.draw(selected.loaded, selected.folder, count)


def _count(most: int) -> int:
    counts = [c for c in COUNTS if c < most] + [most]
    return st.select_slider(
        "Images to measure on",
        counts,
        value=counts[min(2, len(counts) - 1)],
        format_func=lambda c: f"all {units.count(c)}" if c == most else units.count(c),
        key=budget.IMAGES,
        persist_state="session",
        help="More images narrow the interval: four times as many halve it.",
    )


def obtain(selected: Selected, chosen: Settings) -> Spending | None:
    """Return how bits are spent. What it is made of comes by jobs; until then by LRP, or None."""
    objective = budget.OBJECTIVE.get()
    sensitivity = spending.sensitivity_of(chosen.calibrating, chosen.how).get()
    if objective == SENSITIVITY and sensitivity is not None:
        found = spending.scores_of(selected.loaded, chosen.scoring).get()  # not waited for
    else:
        found = scores.obtain(selected, chosen.scoring)
    if sensitivity is None:
        _offer_sensitivity(selected, chosen, asked=objective != LRP)
    losses = spending.losses_of(objective, found, sensitivity)
    if losses is None and found is None:
        return None
    if losses is None:
        assert found is not None
        objective, losses = LRP, by_scores(found.mean)
        st.caption("Until then bits are spent by contribution scores alone.")
    parts = _parts(objective, selected, chosen, found, sensitivity)
    return Spending(losses, sensitivity, parts, budget.UNIT.get(), budget.WIDTHS.get(),
                    budget.TIED.get(), other_limits())  # fmt: skip


def _parts(
    objective: str,
    selected: Selected,
    chosen: Settings,
    found: ContributionScores | None,
    sensitivity: Sensitivity | None,
) -> tuple[Any, ...]:
    """Name the losses, for caches."""
    scored = () if found is None else spending.scores_of(selected.loaded, chosen.scoring).key
    sensed = () if sensitivity is None else (chosen.how, *chosen.calibrating.key)
    if objective == LRP:
        return objective, scored
    return (objective, sensed) if objective == SENSITIVITY else (objective, scored, sensed)


def other_limits() -> Limits:
    """Return the limits that hold besides the slider's."""
    size = budget.SIZE_LIMIT.get()
    work = budget.BITOPS_LIMIT.get()
    unit, nothing = budget.UNIT.get(), Limits()
    return Limits(
        size * 8e6 if size and unit != budget.SIZE else nothing.weight_bits,
        work * 1e9 if work and unit != budget.BITOPS else nothing.bitops,
    )


def _offer_sensitivity(selected: Selected, chosen: Settings, asked: bool) -> None:
    """See to it that sensitivities come: by themselves where that takes seconds, else on demand."""
    wanted = spending.sensitivity_of(chosen.calibrating, chosen.how)
    job, quick = wanted.job(), has_digits(selected.loaded) and chosen.how == ESTIMATED
    label = f"Find how sensitive the layers are ({WORDS[chosen.how].lower()})"
    more = "Calibrates the quantizers at every width first; what is made is kept on disk."
    if asked:
        job_panel.offered(wanted, label, quick, help=more)
    elif job is not None:
        job_panel.follow(job)


def said(selected: Selected, found: Spending) -> str:
    """Say what bits are spent by."""
    fixed = len(selection.locks(selected.loaded.key))
    layers = "1 layer is" if fixed == 1 else f"{fixed} layers are"
    locked = f" {layers} locked by hand." if fixed else ""
    by = {
        LRP: "Bits go to the layers that carry most relevance, by Ω 4⁻ᵇ.",
        SENSITIVITY: "Bits go where they keep the model's answer closest to float's.",
    }.get(
        found.losses.objective,
        "Bits go where they keep the answer closest to float's, weighted by relevance.",
    )
    return f"{by}{locked}"
