"""Layer-wise relevance propagation on unmodified timm vision transformers.

Read `engine` (how a model is run operation by operation), `propagation` (rules and relevance),
`maps` (relevance as a picture), `methods` (every way to explain), `metrics` (how good a map is),
`commands` (`python -m lrp`).

Axes of tensors, here and in quant: B images, N tokens, C channels, h heads, d a head's width,
K classes, L layers, T budgets or all images of a set, W widths in bits; H, W pixels down, across.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lrp.engine.interpreter import UnsupportedOperation
from lrp.engine.layers import Layer, list_layers
from lrp.engine.progress import Cancelled
from lrp.maps.heatmap import default_depth, depths, heatmap, heatmap_alone
from lrp.maps.pictures import enlarge, from_model_input, overlay, scale
from lrp.propagation.relevance import Relevance, relevance
from lrp.propagation.rules import ATTN_LRP, ATTN_LRP_GAMMA, CHEFER, LRP_QVIT, Rules
from lrp.propagation.scores import ContributionScores, contribution_scores
from lrp.propagation.trace import Trace

if TYPE_CHECKING:
    from lrp.methods.catalogue import METHODS, Method, method, suitable
    from lrp.metrics.faithfulness import Faithfulness, faithfulness

__all__ = [
    "ATTN_LRP",
    "ATTN_LRP_GAMMA",
    "CHEFER",
    "LRP_QVIT",
    "METHODS",
    "Cancelled",
    "ContributionScores",
    "Faithfulness",
    "Layer",
    "Method",
    "Relevance",
    "Rules",
    "Trace",
    "UnsupportedOperation",
    "contribution_scores",
    "default_depth",
    "depths",
    "enlarge",
    "faithfulness",
    "from_model_input",
    "heatmap",
    "heatmap_alone",
    "list_layers",
    "method",
    "overlay",
    "relevance",
    "scale",
    "suitable",
]

# Imported when first asked for: captum and what it imports take longer than all the rest of lrp.
_LATER = {
    "lrp.methods.catalogue": ("METHODS", "Method", "method", "suitable"),
    "lrp.metrics.faithfulness": ("Faithfulness", "faithfulness"),
}


def __getattr__(name: str) -> Any:
    for module, names in _LATER.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
