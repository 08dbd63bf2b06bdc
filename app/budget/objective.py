"""What bits are spent by: the objective's losses, once the jobs that find them are done."""

from collections.abc import Hashable

import streamlit as st

from app.budget import scores
from app.budget.settings import WORDS, Settings
from app.parts import job_panel
from app.state import budget, selection
from app.state.selection import Selected
from app.text import escape
from app.work import spending
from app.work.spending import Spending
from assets.sets.image_set import has_digits
from quant.allocation.budget import Limits
from quant.allocation.objectives import LRP, PRODUCT, SENSITIVITY, by_scores, losses_of
from quant.analysis.sensitivity import ESTIMATED

SENTENCES = {
    LRP: "Bits go to the layers that carry most relevance, by Ω 4⁻ᵇ.",
    SENSITIVITY: "Bits go where they keep the model's answer closest to float's.",
    PRODUCT: "Bits go where they keep the answer closest to float's, weighted by relevance.",
}


def obtain(selected: Selected, settings: Settings) -> Spending | None:
    """Return how bits are spent, and see to it that what it is made of comes.

    While an objective waits for sensitivities, bits are spent by contribution scores alone, which
    the page says; None while there are no scores either.
    """
    objective = budget.OBJECTIVE.get()
    to = budget.chosen_target()
    sensitivity = spending.sensitivity_of(settings.calibrating, settings.how, to).get()
    if objective == SENSITIVITY and sensitivity is not None:
        known = spending.scores_of(settings.scoring).get()  # not waited for
    else:
        known = scores.obtain(selected, settings.scoring)
    if sensitivity is None:
        _offer_sensitivity(selected, settings, asked=objective != LRP)
    losses = losses_of(objective, None if known is None else known.mean, sensitivity, to.widths)
    if losses is None and known is not None:
        st.info(
            escape(
                f"{budget.LABELS[objective]} needs sensitivities, which are not there yet. Until "
                "then bits are spent by contribution scores alone."
            )
        )
        objective, losses = LRP, by_scores(known.mean, widths=to.widths)
    if losses is None:
        return None
    return Spending(
        losses,
        sensitivity,
        _key(objective, settings),
        budget.UNIT.get(),
        to,
        budget.widths(),
        budget.TIED.get(),
        _limits(),
    )


def _key(objective: str, settings: Settings) -> tuple[Hashable, ...]:
    """Name the losses of an objective: it, and all that they are made of."""
    scored = settings.scoring.key
    to = budget.chosen_target()
    sensed = spending.sensitivity_of(settings.calibrating, settings.how, to).key
    made_of = {LRP: (scored,), SENSITIVITY: (sensed,), PRODUCT: (scored, sensed)}
    return objective, *made_of[objective]


def _limits() -> Limits:
    """Return the limits that hold besides the slider's."""
    size, work = budget.SIZE_LIMIT.get(), budget.BITOPS_LIMIT.get()
    unit, nothing = budget.UNIT.get(), Limits()
    return Limits(
        size * 8e6 if size and unit != budget.SIZE else nothing.weight_bits,
        work * 1e9 if work and unit != budget.BITOPS else nothing.bitops,
    )


def _offer_sensitivity(selected: Selected, settings: Settings, asked: bool) -> None:
    """See to it that sensitivities come: by themselves where that takes seconds, else on demand."""
    to = budget.chosen_target()
    wanted = spending.sensitivity_of(settings.calibrating, settings.how, to)
    job, quick = wanted.job(), has_digits(selected.loaded) and settings.how == ESTIMATED
    label = f"Find how sensitive the layers are ({WORDS[settings.how].lower()})"
    more = "Calibrates the quantizers at every width of the target first; kept on disk."
    if asked:
        job_panel.offered(wanted, label, quick, help=escape(more))
    elif job is not None:
        job_panel.follow(job)


def sentence(selected: Selected, objective: str) -> str:
    """Return in words what bits are spent by."""
    fixed = len(selection.locks(selected.loaded.key))
    layers = "1 layer is" if fixed == 1 else f"{fixed} layers are"
    return SENTENCES[objective] + (f" {layers} locked by hand." if fixed else "")
