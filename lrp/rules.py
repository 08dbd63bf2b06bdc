"""Relevance rules, written as modified gradients.

Every tensor a carries a modified gradient G with relevance R = a * G, so autograd is the tape:
reshapes, permutations and window partitions need no rule. A rule replaces an operation's value y
by the same value whose gradient is that of a surrogate s(x), scaled so that relevance arrives
whole:

    attribute(s, y):  G_s = G_y * y / s        (R_s = s * G_s = R_y)

References: Bach et al. 2015 (epsilon), Montavon et al. 2017 (z-plus), Chefer et al. CVPR 2021
(arXiv:2012.09838), Achtibat et al. ICML 2024 (AttnLRP, arXiv:2402.05602).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_TINY = 1e-9  # as in Chefer et al.'s safe_divide


@dataclass(frozen=True)
class Rules:
    """A named set of rules, one per kind of operation.

    Attributes:
        name: what the preset is called.
        linear: "epsilon" or "z-plus", for linear layers and convolutions.
        addition: "epsilon" or "ratio", for two branches that both depend on the image.
        product: "half" (each operand takes half of the relevance) or "gradient", for products of
            activations.
        softmax: "taylor" (its plain gradient) or "identity".
        activation: "identity" or "gradient", for GELU and its like.
        norm: "constant-deviation", "identity" or "gradient".
        start: "logit" (relevance starts as the target's logit) or "one-hot" (as 1).
        epsilon: stabiliser of the epsilon rule; 0 leaves plain gradient times input.
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

    def __post_init__(self) -> None:
        for field, allowed in _CHOICES.items():
            value = getattr(self, field)
            if value not in allowed:
                raise ValueError(f"{field} rule {value!r} is unknown: use {' or '.join(allowed)}")
        if self.epsilon < 0:
            raise ValueError(f"epsilon is {self.epsilon}: it must not be negative")


_CHOICES = {
    "linear": ("epsilon", "z-plus"),
    "addition": ("epsilon", "ratio"),
    "product": ("half", "gradient"),
    "softmax": ("taylor", "identity"),
    "activation": ("identity", "gradient"),
    "norm": ("constant-deviation", "identity", "gradient"),
    "start": ("logit", "one-hot"),
}

ATTN_LRP = Rules("ATTN_LRP")
LRP_QVIT = Rules(
    "LRP_QVIT",
    linear="z-plus",
    addition="ratio",
    softmax="identity",
    norm="identity",
    start="one-hot",
)
# No rule at all: what torch itself differentiates.
GRADIENT = Rules("GRADIENT", product="gradient", activation="gradient", norm="gradient")
PRESETS: dict[str, Rules] = {rules.name: rules for rules in (ATTN_LRP, LRP_QVIT)}


def preset(name: str) -> Rules:
    """Return the preset called `name`, in any case and with - or _.

    Raises:
        ValueError: there is no such preset.
    """
    key = name.upper().replace("-", "_")
    if key not in PRESETS:
        raise ValueError(f"rules {name!r} are unknown: use {' or '.join(PRESETS)}")
    return PRESETS[key]


def stabilise(z: Tensor, epsilon: float = _TINY) -> Tensor:
    """Return z pushed away from zero: z + epsilon * sign(z), with sign(0) = 1."""
    return z + torch.where(z < 0, -epsilon, epsilon)


class _Attribute(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, surrogate: Tensor, value: Tensor, epsilon: float) -> Tensor:
        ctx.save_for_backward(value / stabilise(surrogate, epsilon))
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (ratio,) = ctx.saved_tensors
        return gradients[0] * ratio, None, None


def attribute(surrogate: Tensor, value: Tensor, epsilon: float = _TINY) -> Tensor:
    """Return `value`, its relevance redistributed along the gradient of `surrogate`.

    G_s = G_y * y / (s + epsilon sign s), so that R_s = R_y where s is not near zero.
    """
    return _Attribute.apply(surrogate, value.detach(), epsilon)


class _Halve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] / 2


def halve(product: Tensor) -> Tensor:
    """Give each operand of a product half of its relevance.

    R_a = a * (G b^T) / 2 and R_b = b * (a^T G) / 2 (Chefer et al. eq. 9; AttnLRP proposition 3.3).
    """
    return _Halve.apply(product)


def z_plus(
    x: Tensor, weight: Tensor, y: Tensor, apply: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Redistribute y = apply(x, weight) + bias over its positive contributions only.

    Z = x+ W+ + x- W-;  R_x = x+ (W+ R/Z) + x- (W- R/Z).  With |x| and |W|, one more product gives
    Z = (x W + |x| |W|) / 2, and its own derivative is the rule.
    """
    return attribute((apply(x, weight) + apply(x.abs(), weight.abs())) / 2, y)


class _RatioAdd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, images: int) -> Tensor:
        ctx.save_for_backward(a, b)
        ctx.images = images
        return a + b

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        a, b = ctx.saved_tensors
        gradient = gradients[0]
        sum_a, sum_b = (_per_image(t * gradient, ctx.images) for t in (a, b))
        total = (sum_a + sum_b) / (sum_a.abs() + sum_b.abs()).clamp_min(torch.finfo(a.dtype).tiny)
        return (
            gradient * _spread(total * sum_a.sign(), gradient),
            gradient * _spread(total * sum_b.sign(), gradient),
            None,
        )


def _per_image(relevance: Tensor, images: int) -> Tensor:
    return relevance.reshape(images, -1).sum(1)


def _spread(factor: Tensor, like: Tensor) -> Tensor:
    # (B,) -> (B * windows, 1, ..., 1): windows are batch-major
    repeated = factor.repeat_interleave(like.shape[0] // factor.shape[0])
    return repeated.reshape(-1, *[1] * (like.dim() - 1))


def ratio_add(a: Tensor, b: Tensor, images: int) -> Tensor:
    """Add two branches; each takes relevance in proportion to |the sum of its own share|.

    With shares R_a = a R/(a+b) and S_a = sum over an image of R_a:
    R_a <- R_a / S_a * (S_a + S_b) |S_a| / (|S_a| + |S_b|), so an image's sum is conserved.
    Sums are per image; Chefer et al.'s code takes them over the batch.
    """
    return _RatioAdd.apply(a, b, images)
