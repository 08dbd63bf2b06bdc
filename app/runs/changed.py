"""The images that A and B answer differently: small pictures, one to look into."""

from __future__ import annotations

import streamlit as st
from PIL import Image

from app.components.thumbnails import Thumbnail, thumbnails
from app.look import pictures, units
from app.parts.choice import one_of
from app.runs.pair import NEITHER, ONLY_ONE, ONLY_OTHER, Comparison, kind
from app.state import runs, selection
from app.state.selection import Selected
from app.work import run_explanations
from assets.errors import InputError
from assets.sets.image_set import ImageSet
from quant.evaluation.comparison import Change

ALL = "all"
PAGE = 16  # pictures at once
WIDTH = 104


def show(found: Comparison, selected: Selected) -> Change | None:
    """Show the changed images and return the chosen one, or the first; None where there is none."""
    st.subheader("Images that change their answer")
    if not found.changes:
        st.caption("None: A and B answer every image alike.")
        return None
    images = run_explanations.measured(selected.loaded, found.other.recipe)
    wanted = _kinds(found)
    shown = [change for change in found.changes if wanted in (ALL, kind(change))]
    st.caption(
        f"A and B differ on {units.count(len(found.changes))} of {units.count(found.images)} "
        "images. Under each picture: its class, then what A answers → what B answers. Choose one "
        "to see where the two look."
    )
    pages = max(1, -(-len(shown) // PAGE))
    page = 1
    if pages > 1:
        page = min(pages, st.pagination(pages, key=runs.CHANGED_PAGE))
    part = shown[(page - 1) * PAGE : page * PAGE]
    chosen = _chosen(found, part)
    thumbnails(
        "Images that change their answer",
        [_item(images, change) for change in part],
        str(chosen.index),
        runs.CHANGED_STRIP,
        lambda place: runs.CHANGED.set((found.key, int(place))),
        width=WIDTH,
        wrapped=True,
    )
    return chosen


def _kinds(found: Comparison) -> str:
    """Let the user choose who shall be right."""
    kinds = [kind(change) for change in found.changes]
    counts = {ALL: len(kinds)} | {k: kinds.count(k) for k in (ONLY_ONE, ONLY_OTHER, NEITHER)}
    options = [k for k, count in counts.items() if count]
    selection.offer(runs.CHANGES, options)
    return one_of(
        "Who is right",
        options,
        runs.CHANGES,
        format_func=lambda k: f"{k} ({units.count(counts[k])})",
    )


def _chosen(found: Comparison, part: list[Change]) -> Change:
    place = runs.image(found.key)
    return next((change for change in part if change.index == place), part[0])


def _item(images: ImageSet, change: Change) -> Thumbnail:
    names = images.classes
    caption = f"{names[change.label]}: {names[change.one]} → {names[change.other]}"
    return Thumbnail(str(change.index), caption, _url(images, images.key, change.index))


@st.cache_data(max_entries=256, show_spinner=False)
def _url(_images: ImageSet, key: str, place: int) -> str:
    try:
        picture = _images.picture(place)
    except InputError:  # a damaged file: say so when it is chosen, not before
        picture = Image.new("RGB", (WIDTH, WIDTH), "grey")
    return pictures.data_url(pictures.thumbnail(picture, WIDTH))
