"""The whole report: one HTML file that asks nothing of anyone."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from lrp.engine.progress import SILENT, Progress
from quant.report import (
    choice,
    classes,
    exported,
    finding,
    heatmaps,
    layers,
    method,
    repeat,
    trade_off,
)
from quant.report.drawing.colours import DARK, INK, LIGHT, MARKERS, OTHER
from quant.report.drawing.elements import Html, join, tag
from quant.report.drawing.widths import LETTERS, palette
from quant.report.exported import Exported
from quant.report.subject import Subject, name_of

STYLE = Path(__file__).with_name("style.css")
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write(subject: Subject, exports: Sequence[Exported] = (), progress: Progress = SILENT) -> str:
    """Write the report of a subject.

    Args:
        exports: what was exported of the run.

    Raises:
        Cancelled: the work was to stop.
    """
    found, missing = heatmaps.explain(subject, progress)
    parts = [
        ("What was found", finding.section(subject)),
        ("The question", finding.question(subject)),
        ("The choice, and how it was bought", choice.section(subject)),
        ("Bits by layer", layers.section(subject)),
        ("Accuracy against cost", trade_off.section(subject)),
        ("Accuracy by class", classes.section(subject)),
        ("Where the model looks, before and after", heatmaps.section(subject, found, missing)),
        ("What was exported", exported.section(exports)),
        ("How to repeat it", repeat.section(subject)),
        ("Method and limits", method.section()),
        ("Words", method.glossary()),
        ("Versions and checksums", repeat.checksums(subject)),
    ]
    body = [tag("section", tag("h2", title), part) for title, part in parts]
    title = f"{subject.recipe.model}, {name_of(subject.recipe)}"
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title} – Bitlens report"),
        tag("style", Html(style())),
    ]
    whole = tag(
        "html", tag("head", *head), tag("body", _top(subject, title), tag("main", *body)), lang="en"
    )
    return f"<!DOCTYPE html>\n{whole}\n"


def _top(subject: Subject, title: str) -> Html:
    """Return the title, with what names the weights and images, dates and versions."""
    recipe, run = subject.recipe, subject.run
    where = "the bundled digits" if recipe.data is None else Path(recipe.data).name
    numbers = ", ".join(str(run.id) for run in subject.named)
    facts = [
        ("Weights", tag("code", recipe.model_key)),
        ("Images", join([f"{run.counts.images} of {where}, ", tag("code", recipe.images_key)])),
        ("Run" if len(subject.named) == 1 else "Runs", f"{numbers}, quantizer {recipe.preset}"),
        ("Measured", f"{run.created.astimezone():%d %B %Y, %H:%M} on {recipe.device}"),
        ("Written", f"{datetime.now().astimezone():%d %B %Y, %H:%M}"),
        ("Versions", ", ".join(f"{tool} {said}" for tool, said in recipe.versions.items())),
    ]
    if run.note:
        facts.append(("Note", run.note))
    missing = subject.opened.missing
    return tag(
        "header",
        tag("p", "Bitlens report", class_="brand"),
        tag("h1", title),
        tag("dl", *(tag("div", tag("dt", name), tag("dd", said)) for name, said in facts),
            class_="facts"),
        tag("p", "Not all could be told: ", " ".join(missing), class_="note") if missing else None,
    )  # fmt: skip


def style() -> str:
    """Return the style sheet, with the colours of both themes; paper is light."""
    light, dark = (_variables(theme) for theme in (False, True))
    return (
        f":root{{{light}}}\n@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}\n"
        f"{STYLE.read_text(encoding='utf-8')}"
    )


def _variables(dark: bool) -> str:
    """Return the colours of a theme as CSS variables."""
    named = {f"b-{of}": colour for of, colour in zip(LETTERS, palette(dark), strict=True)}
    named |= {f"m-{kind}": (m.light, m.dark)[dark] for kind, m in MARKERS.items()}
    blue, red, *_ = DARK if dark else LIGHT
    named |= {"m-other": (OTHER.light, OTHER.dark)[dark], "ink": INK[dark]}
    named |= {"blue": blue, "red": red}
    return "".join(f"--{name}:{colour};" for name, colour in named.items())
