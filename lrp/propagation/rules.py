"""Rules as data: which rule each kind of operation follows, and the named presets.

References: Bach et al. 2015 (epsilon, alpha-beta), Montavon et al. 2017 (z-plus) and 2019 (gamma),
Chefer et al. CVPR 2021 (arXiv:2012.09838), Achtibat et al. ICML 2024 (AttnLRP, arXiv:2402.05602).
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Rules:
    """A named set of rules, one per kind of operation; `equations` beside it holds their equations.

    Attributes:
        name: what the preset is called.
        linear: "epsilon", "gamma", "z-plus" or "alpha-beta", for linear layers and convolutions.
        addition: "epsilon" (each branch by its own value), "ratio" (branches renormalised image by
            image) or "absolute" (by absolute value), for two branches that depend on the image.
        product: "half" (each operand takes half of the relevance), "epsilon" (the same, with the
            stabiliser) or "gradient" (both take all of it), for products of activations.
        softmax: "taylor" (its plain gradient), "constant" (none passes) or "identity".
        activation: "identity" or "gradient", for GELU and its like.
        norm: "constant-deviation" (AttnLRP's identity rule: the deviation is a constant),
            "identity" (relevance passes unchanged) or "gradient".
        start: "logit" (relevance starts as the target's logit) or "one-hot" (as 1).
        epsilon: stabiliser of the epsilon rules; 0 leaves plain gradient times input.
        gamma: how much more positive contributions count, in linear layers of MLPs and the head.
        gamma_attention: the same, in the linear layers of attention.
        gamma_convolution: the same, in convolutions.
        alpha: weight of positive contributions under alpha-beta; beta is alpha - 1.
    """

    name: str
    linear: str = "epsilon"
    addition: str = "epsilon"
    product: str = "half"
    softmax: str = "taylor"
    activation: str = "identity"
    norm: str = "constant-deviation"
    start: str = "logit"
    epsilon: float = 0.0
    gamma: float = 0.25
    gamma_attention: float = 0.25
    gamma_convolution: float = 0.05
    alpha: float = 2.0

    def __post_init__(self) -> None:
        for field, allowed in _CHOICES.items():
            value = getattr(self, field)
            if value not in allowed:
                raise ValueError(f"{field} rule {value!r} is unknown: use {' or '.join(allowed)}")
        for field in ("epsilon", "gamma", "gamma_attention", "gamma_convolution"):
            if not 0 <= getattr(self, field) < float("inf"):
                raise ValueError(f"{field} is {getattr(self, field)}: it must not be negative")
        if not 1 <= self.alpha < float("inf"):
            raise ValueError(f"alpha is {self.alpha}: use 1 or more")


_CHOICES = {
    "linear": ("epsilon", "gamma", "z-plus", "alpha-beta"),
    "addition": ("epsilon", "ratio", "absolute"),
    "product": ("half", "epsilon", "gradient"),
    "softmax": ("taylor", "constant", "identity"),
    "activation": ("identity", "gradient"),
    "norm": ("constant-deviation", "identity", "gradient"),
    "start": ("logit", "one-hot"),
}

ATTN_LRP = Rules("ATTN_LRP")
ATTN_LRP_GAMMA = Rules("ATTN_LRP_GAMMA", linear="gamma")
# The rules that LRP-QViT builds on as their authors published them, sums taken per image.
CHEFER = Rules(
    "CHEFER",
    linear="z-plus",
    addition="ratio",
    softmax="identity",
    norm="identity",
    start="one-hot",
)
# Our reading of LRP-QViT: additions split by size, as the published split amplifies rounding.
LRP_QVIT = replace(CHEFER, name="LRP_QVIT", addition="absolute")
# No rule at all: what torch itself differentiates.
GRADIENT = Rules("GRADIENT", product="gradient", activation="gradient", norm="gradient")
PRESETS: dict[str, Rules] = {r.name: r for r in (ATTN_LRP, ATTN_LRP_GAMMA, LRP_QVIT, CHEFER)}


def preset(name: str) -> Rules:
    """Return the preset called `name`, in any case and with - or _.

    Raises:
        ValueError: there is no such preset.
    """
    key = name.upper().replace("-", "_")
    if key not in PRESETS:
        raise ValueError(f"rules {name!r} are unknown: use {' or '.join(PRESETS)}")
    return PRESETS[key]
