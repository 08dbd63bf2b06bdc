"""A quantized model to take away: a format, its export and check, what that found, its download."""

import re

import pandas as pd
import streamlit as st

from app.look import units
from app.parts.job_panel import follow
from app.state import runs, selection
from app.text import Markdown, escape, told
from app.work.exports import Subject
from quant.export.formats import FORMATS
from quant.export.request import CHECKED, Exported
from quant.report.exported import Exported as Told
from quant.report.exported import facts_of


def show(subject: Subject) -> None:
    """Offer to export a quantized model; what it takes is opened when that is asked for."""
    with st.expander("Take it away", icon=":material/deployed_code:"):
        to = _format()
        st.caption(
            Markdown(
                "The bits shown here, by the quantizer **{}**. A program of the format's own runs "
                "the file on up to {} images before it is offered: where it does not answer as "
                "Bitlens does, there is no file."
            ).format(subject.recipe.preset, CHECKED)
        )
        try:
            made = subject.made(to)
        except ValueError as error:  # an older version's preset
            st.error(told(error))
            return
        if made is None:
            _offer(subject, to)
        else:
            _found(subject, to, made)


def _format() -> str:
    says = [f"{format.says[:1].upper()}{format.says[1:]}." for format in FORMATS.values()]
    return st.radio(
        "Format",
        list(FORMATS),
        key=runs.FORMAT,
        captions=[escape(one) for one in says],
        format_func=escape,
        horizontal=True,
        label_visibility="collapsed",
        persist_state="session",
    )


def _offer(subject: Subject, to: str) -> None:
    """Offer the export, or show how far it is."""
    job = subject.job(to)
    if job is not None:
        follow(job)
    if job is None or not job.live:
        icon = ":material/play_arrow:"
        st.button("Export and check", icon=icon, on_click=_begin, args=(subject, to))


def _begin(subject: Subject, to: str) -> None:
    selection.ask_again([subject.key(to)])
    subject.begin(to)


def _found(subject: Subject, to: str, made: Exported) -> None:
    """Show what the check found, for reports to tell of too, and offer the file."""
    st.markdown(escape(units.unbroken(sentence(made))))
    told_of = Told(file_name(subject, to), facts_of({"format": to, **made.report}))
    runs.EXPORTED.set({**runs.EXPORTED.get(), (subject.recipe.key, to): told_of})
    facts = pd.DataFrame(told_of.facts, columns=["what", "found"])
    st.dataframe(facts, hide_index=True, alt="what the check of the file found")
    st.download_button(
        "Download the file",
        lambda: made.content,  # read on a click: it may be large
        told_of.name,
        "application/octet-stream",
        key="download-export",
        icon=":material/download:",
        type="primary",
        on_click="ignore",
    )


def sentence(made: Exported) -> str:
    """Return in words how near the file comes to what was measured, and what it takes."""
    report, size = made.report, units.size(len(made.content))
    check, whole = report["check"], report.get("float_bytes")
    share = "" if whole is None else f", {report['bytes'] / whole:.2f} of the float model's"
    return (
        f"It was run on {check['images']} images: {units.share(check['equal'])} of the "
        f"answers are Bitlens' own, and logits differ by up to {check['largest']:.2g}. "
        f"The file takes {size}{share}."
    )


def file_name(subject: Subject, to: str) -> str:
    """Return what the file is called: by model, bits and format."""
    words = f"{subject.recipe.model} {subject.recipe.objective} {subject.recipe.budget} {to}"
    return re.sub(r"[^\w.]+", "-", words) + FORMATS[to].suffix
