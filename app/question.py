"""What is asked of a model on the explain page, and its answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st
import torch
from PIL import Image

from app import compute, heatmaps, state, units
from app.compute import Prepared
from app.sidebar import Selected
from assets.data import class_names
from lrp.relevance import Relevance
from lrp.rollout import rolls_out
from lrp.trace import Trace

ATTRIBUTION = "Transformer attribution"
METHODS = {"AttnLRP": "ATTN_LRP", "LRP-QViT": "LRP_QVIT", ATTRIBUTION: "LRP_QVIT"}
TOP = 5


@dataclass(frozen=True, eq=False)
class Question:
    """One image, one way to propagate, and the forward pass that all classes share."""

    selected: Selected
    prepared: Prepared
    method: str
    trace: Trace
    probabilities: np.ndarray
    names: tuple[str, ...]
    shown: tuple[int, ...]  # classes known to be in the picture

    @property
    def rules(self) -> str:
        return METHODS[self.method]

    @property
    def top(self) -> list[int]:
        """The most likely classes, the likeliest first, and those known to be in the picture."""
        likely = np.argsort(-self.probabilities)[:TOP].tolist()
        return [*likely, *(k for k in self.shown if k not in likely)]

    def probability(self, index: int) -> str:
        """Say how likely a class is."""
        return units.share(float(self.probabilities[index]))

    def relevance(self, target: int) -> Relevance:
        """Propagate relevance of a class; kept, so that asking again costs nothing."""
        return compute.relevance_of(self.selected.loaded, self.prepared, self.rules, target)[1]

    def heatmap(self, target: int, depth: str) -> np.ndarray:
        """Return the map of a class: (h, w)."""
        if self.method == ATTRIBUTION:
            return compute.attribution_of(self.selected.loaded, self.prepared, target)
        return heatmaps.at_depth(self.trace, self.relevance(target), depth)


def ask(selected: Selected, picture: Image.Image, shown: tuple[int, ...] = ()) -> Question:
    """Run the model once on a picture, under the rules chosen on the page.

    Args:
        shown: classes known to be in the picture.

    Raises UnsupportedOperation for a model that relevance cannot be propagated in, and ValueError
    for a picture it cannot be.
    """
    method = _method(selected)
    prepared = compute.prepare(selected.loaded, picture)
    trace = compute.trace_of(selected.loaded, prepared, METHODS[method])
    probabilities = torch.softmax(trace.logits[0].detach(), 0).cpu().numpy()
    names = class_names(selected.loaded)
    return Question(selected, prepared, method, trace, probabilities, names, shown)


def _method(selected: Selected) -> str:
    """Let the user choose the rules; only class tokens that see all patches can be rolled out."""
    offered = rolls_out(selected.loaded.model)
    options = [m for m in METHODS if m != ATTRIBUTION or offered]
    chosen = st.segmented_control(
        "Rules",
        options,
        default=options[0],
        required=True,
        key=state.RULES,
        bind="query-params",
        help="AttnLRP: faithful maps of this image's decision. LRP-QViT: the rules behind the "
        "contribution scores. Transformer attribution: Chefer et al.'s map by the class token.",
    )
    return chosen if chosen in options else options[0]
