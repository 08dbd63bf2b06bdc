"""The controls of the budget: objective, unit, widths, limits, locks, and how it is measured."""

from dataclasses import dataclass, replace

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.budget import live, scores
from app.look import units
from app.parts.choice import one_of, preset, stream
from app.state import budget, selection
from app.state import quantizer as quantizer_state
from app.state.entry import Entry
from app.state.selection import Selected
from app.text import Markdown, escape
from app.work import models
from assets.sets.selection import Draw
from lrp.propagation.scores import Scoring
from quant.analysis.sensitivity import ESTIMATED, HOW, MEASURED
from quant.experiments.calibrating import Calibrating
from quant.primitives.bits import LayerBits
from quant.primitives.formats import FLOAT, label
from quant.primitives.targets import TARGETS

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
    """What the controls say: on which images, calibrated, scored and sensed how.

    Attributes:
        beside: where more controls go, beside these.
    """

    draw: Draw
    calibrating: Calibrating
    scoring: Scoring
    how: str
    beside: DeltaGenerator


def choose(selected: Selected) -> Settings:
    """Let the user choose the objective, the unit, the quantizer and, on demand, the rest."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        _target()
        _segments("Spend by", budget.LABELS, budget.OBJECTIVE, HELP)
        _segments("Budget in", budget.UNITS, budget.UNIT, UNIT_HELP)
        preset()
        with st.popover("Options", icon=":material/tune:", width="content"):
            _widths()
            _limits()
            how = _how()
            stream()
            st.divider()
            draw = _measuring(selected)
            st.divider()
            scoring = scores.choose(draw)
        beside = st.container(width="content")
        _locks(selected)
    calibrating = models.calibrating(selected.loaded, selected.folder, quantizer_state.preset())
    return Settings(draw, calibrating, scoring, how, beside)


def _target() -> None:
    """Let the user choose what the model is to run on."""
    st.selectbox(
        "To run on",
        list(TARGETS),
        format_func=lambda key: TARGETS[key].label,
        key=budget.TARGET.widget,
        on_change=budget.TARGET.follow(budget.TARGET.get()),
        help=escape(" ".join(f"{one.label}: {one.says}" for one in TARGETS.values())),
        width=190,
    )


def _segments(label: str, options: dict[str, str], entry: Entry[str], help: str) -> None:
    st.segmented_control(
        escape(label),
        list(options),
        required=True,
        format_func=lambda option: escape(options[option]),
        key=entry.widget,
        on_change=entry.follow(entry.get()),
        help=escape(help),
    )


def _widths() -> None:
    """Let the user choose among the target's widths, and whether both operands share them."""
    offered = budget.widths()
    st.pills(
        "Widths",
        budget.chosen_target().widths,
        selection_mode="multi",
        format_func=lambda width: escape(label(width)),
        key=budget.WIDTHS.widget,
        on_change=budget.WIDTHS.follow(list(offered)),
        help="What a layer may have of what the target has.",
    )
    st.toggle(
        "Weights and activations alike",
        key=budget.TIED.widget,
        on_change=budget.TIED.follow(budget.TIED.get()),
        disabled=not budget.chosen_target().tieable,
        help="Off, the two operands of a layer may have different bits, which measures better.",
    )


def _limits() -> None:
    """Let the user limit what the slider does not."""
    for unit, title, entry in (
        (budget.SIZE, "Weights at most (MB)", budget.SIZE_LIMIT),
        (budget.BITOPS, "BitOps at most (G)", budget.BITOPS_LIMIT),
    ):
        if unit != budget.UNIT.get():
            st.number_input(
                escape(title),
                min_value=0.0,
                value=None,
                placeholder="no other limit",
                format="%.3f",
                key=entry.key,
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
        "Measure to predict",
        value=True,
        key=budget.FORETELL.key,
        persist_state="session",
        help="Uniform 4 and 6 bits are measured in the background, so that accuracies are "
        "predicted before any budget was measured.",
    )
    st.toggle(
        "Plain slider",
        key=budget.PLAIN.key,
        persist_state="session",
        help="Without the drawing in the browser: a slider that works when it is let go.",
    )
    draw = models.draw(selected.loaded, selected.folder, count)
    if draw.copies:
        copies = units.count(draw.copies)
        st.caption(escape(f"Not measured, as the same pictures calibrate: {copies}."))
    return replace(draw, taken=selection.taken(selected.loaded.key))


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


def _locks(selected: Selected) -> None:
    """Let the user lock layers in other ways than by a click on a bar."""
    key = selected.loaded.key
    names = [layer.name for layer in models.layers_of(selected.loaded)]
    fixed = selection.locks(key)
    title = f"Locked by hand: {len(fixed)}" if fixed else "Lock layers"
    with st.popover(escape(title), icon=":material/lock:", key=f"locks-{key}"):
        st.caption("A click on a bar locks its layer at the bits it has, another unlocks it.")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.multiselect("Layers", names, key=selection.LOCK_LAYERS, placeholder="Choose layers")
            names_of = {width: label(width) for width in dict.fromkeys((*_lockable(), FLOAT))}
            selection.offer(selection.LOCK_BITS, names_of)
            st.selectbox(
                "Bits",
                list(names_of),
                index=max(0, len(names_of) - 2),
                format_func=lambda width: escape(names_of[width]),
                key=selection.LOCK_BITS,
                width=110,
            )
            st.button("Lock", icon=":material/lock:", on_click=_lock_layers, args=(key,))
        with st.container(horizontal=True):
            widest = _lockable()[-1]
            st.button(
                escape(f"First and last at {label(widest)}"),
                on_click=_lock,
                args=(key, [names[0], names[-1]], widest),
                help="Keep the patch embedding and the head precise, as is common.",
            )
            st.button("Clear all", on_click=selection.set_locks, args=(key, {}), disabled=not fixed)
        if fixed:
            st.caption(escape(_locked(fixed)))


def _lockable() -> list[int]:
    """Return the widths that both sides of any layer may be locked at, by price; float besides."""
    to = budget.chosen_target()
    both = set(to.pairs) & set(to.products)
    alike = [w for w in to.widths if (w, w) in both and w != FLOAT]
    return alike or [FLOAT]


def _locked(fixed: dict[str, LayerBits]) -> Markdown:
    one = Markdown("`{}` {}")
    shown = [one.format(name, bits.in_words("bit")) for name, bits in list(fixed.items())[:12]]
    more = len(fixed) - len(shown)
    named = Markdown(", ").join(shown)
    return Markdown("{} and {} more").format(named, more) if more else named


def _lock(key: str, names: list[str], width: int) -> None:
    """Lock layers of a model at a width."""
    selection.set_locks(key, selection.locks(key) | dict.fromkeys(names, LayerBits(width, width)))


def _lock_layers(key: str) -> None:
    """Lock what is in the widgets, and empty them."""
    _lock(key, st.session_state[selection.LOCK_LAYERS], st.session_state[selection.LOCK_BITS])
    st.session_state[selection.LOCK_LAYERS] = []
