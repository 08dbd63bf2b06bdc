"""The images that A and B answer differently: small pictures, one to look into."""

import streamlit as st
from PIL import Image

from app.components.thumbnails import Thumbnail, thumbnails
from app.look import pictures, units
from app.parts.choice import one_of
from app.runs.pair import NEITHER, ONLY_ONE, ONLY_OTHER, RunComparison, kind
from app.state import runs, selection
from app.state.selection import Selected
from app.text import escape
from app.work import models
from assets.errors import InputError
from assets.sets.image_set import ImageSet
from quant.evaluation.comparison import Change

ALL = "all"
PAGE = 16  # pictures at once
WIDTH = 104


def show(comparison: RunComparison, selected: Selected) -> Change | None:
    """Show the changed images; return the one to look into, or None where there is none."""
    st.subheader("Images that change their answer")
    if not comparison.changes:
        st.caption("None: A and B answer every image alike.")
        return None
    images = models.measured_again(selected.loaded, comparison.other.recipe)
    right = _who_is_right(comparison)
    shown = [change for change in comparison.changes if right in (ALL, kind(change))]
    st.caption(
        escape(
            f"A and B differ on {units.count(len(comparison.changes))} of "
            f"{units.count(comparison.images)} images. Under each picture: its class, then what A "
            "answers → what B answers. Choose one to see where the two look."
        )
    )
    pages = max(1, -(-len(shown) // PAGE))
    page = 1
    if pages > 1:
        page = min(pages, st.pagination(pages, key=runs.CHANGED_PAGE))
    part = shown[(page - 1) * PAGE : page * PAGE]
    place = runs.image(comparison.key)
    change = next((change for change in part if change.index == place), part[0])
    thumbnails(
        "Images that change their answer",
        [_item(images, change) for change in part],
        str(change.index),
        runs.CHANGED_STRIP,
        lambda place: runs.CHANGED.set((comparison.key, int(place))),
        width=WIDTH,
        wrapped=True,
    )
    return change


def _who_is_right(comparison: RunComparison) -> str:
    kinds = [kind(change) for change in comparison.changes]
    counts = {ALL: len(kinds)} | {k: kinds.count(k) for k in (ONLY_ONE, ONLY_OTHER, NEITHER)}
    options = [k for k, count in counts.items() if count]
    selection.offer(runs.CHANGES, options)
    return one_of(
        "Who is right",
        options,
        runs.CHANGES,
        format_func=lambda k: f"{k} ({units.count(counts[k])})",
    )


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
