"""What can be taken away of an explanation: pictures, arrays, and how they came about."""

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import streamlit as st
from PIL.Image import Image

from app.explain.question import Question
from app.look import pictures
from app.state import selection
from app.text import escape
from app.work import models
from lrp.engine.versions import versions
from lrp.maps import export
from lrp.methods.catalogue import METHODS

DOWNLOAD = ":material/download:"


def show(asked: Question, chosen: int, place: str, draw: Callable[[], dict[str, Image]]) -> None:
    """Offer the files; each is made when it is asked for, `draw` draws the pictures by name."""
    # Taken here: what runs at the click is outside the page, without its session and caches.
    relevance = asked.relevance(chosen) if asked.has_depth else None
    values, image = asked.heatmap(chosen, place), selection.IMAGE.get()
    layers, loaded = models.layers_of(asked.selected.loaded), asked.selected.loaded

    def arrays() -> bytes:
        buffer = BytesIO()
        kept = (
            {"map": values} if relevance is None else export.arrays(asked.trace, relevance, layers)
        )
        np.savez_compressed(buffer, allow_pickle=False, **kept)
        return buffer.getvalue()

    def description() -> str:
        if relevance is None:
            facts = described(asked, chosen)
        else:
            trace, names = asked.trace, asked.names
            facts = export.description(trace, relevance, names, loaded.name, loaded.key, place)
        facts["notes"] = list(loaded.notes)
        return json.dumps({"image": image, "method": asked.method, **facts}, indent=2)

    def overlay() -> bytes:
        return pictures.png(draw()["class"])

    def row() -> bytes:
        return pictures.png(pictures.side_by_side(list(draw().values())))

    files = (
        ("Overlay (PNG)", overlay, "overlay.png", "image/png"),
        ("All pictures in a row (PNG)", row, "relevance.png", "image/png"),
        ("Maps of all layers (NPZ)", arrays, "relevance.npz", "application/octet-stream"),
        ("Rules, versions, sums (JSON)", description, "explanation.json", "application/json"),
    )
    with st.popover("Download", icon=DOWNLOAD):
        for label, make, name, kind in files:
            st.download_button(escape(label), make, name, kind, on_click="ignore", width="stretch")


def described(asked: Question, chosen: int) -> dict[str, Any]:
    """Describe a map of attention, which follows no rules of relevance."""
    loaded = asked.selected.loaded
    return {
        "what": METHODS[asked.method].what,
        **loaded.facts,
        "target": {
            "class": chosen,
            "name": asked.names[chosen],
            "probability": float(asked.probabilities[chosen]),
        },
        "versions": versions(),
    }
