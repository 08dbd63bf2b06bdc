"""What is asked of a model on the explain page, and its answer."""

from dataclasses import dataclass

import numpy as np
import torch

from app.look import heatmaps, units
from app.parts.gallery import Labelled
from app.parts.job_panel import result
from app.state.selection import Selected
from app.work import explanations
from app.work.explanations import Prepared
from assets.sets.image_set import class_names
from lrp.methods.catalogue import METHODS, suitable
from lrp.propagation.relevance import Relevance
from lrp.propagation.trace import Trace

# The methods that the map and the depth can be read by: rules, and maps of attention.
RULES = {"attn-lrp": "ATTN_LRP", "attn-lrp-gamma": "ATTN_LRP_GAMMA", "lrp-qvit": "LRP_QVIT"}
ATTENTION = ("gradient-attention", "transformer-attribution", "rollout")
TOP = 5


@dataclass(frozen=True, eq=False)
class Question:
    """One image, one method, and the forward pass that all classes share.

    Attributes:
        method: a name of `lrp.methods.catalogue`.
        masks: for each class known to be in the picture, where it is (bool, H, W).
    """

    selected: Selected
    prepared: Prepared
    method: str
    trace: Trace
    probabilities: np.ndarray
    names: tuple[str, ...]
    masks: dict[int, np.ndarray]

    @property
    def has_depth(self) -> bool:
        """Whether the method's maps can be read at any depth."""
        return self.method in RULES

    @property
    def top(self) -> list[int]:
        """The most likely classes, the likeliest first, and those known to be in the picture."""
        likely = np.argsort(-self.probabilities)[:TOP].tolist()
        return [*likely, *(k for k in self.masks if k not in likely)]

    def probability(self, index: int) -> str:
        """Return in words how likely a class is."""
        return units.share(float(self.probabilities[index]))

    def relevance(self, target: int) -> Relevance:
        """Propagate relevance of a class; kept, so that asking again costs nothing."""
        return result(explanations.relevance_of(self.trace, self.prepared, target))

    def heatmap(self, target: int, depth: str) -> np.ndarray:
        """Return the map of a class: (h, w)."""
        if self.has_depth:
            return heatmaps.at_depth(self.trace, self.relevance(target), depth)
        loaded, prepared = self.selected.loaded, self.prepared
        wanted = explanations.map_of(loaded, prepared, self.method, target, at_once=True)
        return result(wanted).values


def offered(selected: Selected) -> list[str]:
    """Return the names of the methods that a model's maps can be read by."""
    return [*RULES, *(name for name in suitable(selected.loaded.model) if name in ATTENTION)]


def label(method: str) -> str:
    """Return a method's name for people."""
    return METHODS[method].label


def ask(selected: Selected, image: Labelled, method: str) -> Question:
    """Run the model once on a picture, under a method's rules.

    Raises UnsupportedOperation for a model that relevance cannot be propagated in, and ValueError
    for a picture it cannot be.
    """
    prepared = image.prepared(selected.loaded)
    rules = RULES.get(method, RULES["attn-lrp"])
    trace = result(explanations.trace_of(selected.loaded, prepared, rules))
    probabilities = torch.softmax(trace.logits[0].detach(), 0).cpu().numpy()
    names = class_names(selected.loaded)
    return Question(selected, prepared, method, trace, probabilities, names, image.masks)
