"""What bits are spent by: what each width of each layer is expected to cost.

An allocation is the choice of widths with the least sum of these losses within the limits.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lrp.engine.names import part_of
from quant.analysis.sensitivity import Sensitivity
from quant.primitives.bits import MENU, Allocation
from quant.primitives.formats import FLOAT, label, prices

LRP, SENSITIVITY, PRODUCT = "lrp", "sensitivity", "lrp-x-sensitivity"
OBJECTIVES = (SENSITIVITY, PRODUCT, LRP)
UNIFORM, REVERSED, RANDOM = "uniform", "reversed", "random"
CONTROLS = (UNIFORM, REVERSED, RANDOM)
TOWARDS_KIND, FORETELLING = 0.5, 0.8  # shares of the way


@dataclass(frozen=True, eq=False)
class Losses:
    """What each width of each layer is expected to cost.

    The loss of a layer at (w, a) is `weight` at w plus `activation` at a: the errors of the two
    operands of a product are all but independent, so their squares add up.

    Attributes:
        names: the L layers, in order.
        widths: the W widths (`quant.primitives.formats`), ascending as numbers.
        weight: (L, W), of the weights alone; for an attention product, of its second operand.
        activation: (L, W), of the input alone.
        objective: what they are made of: one of `OBJECTIVES`, "reversed" or "random-3".
    """

    names: tuple[str, ...]
    widths: tuple[int, ...]
    weight: np.ndarray
    activation: np.ndarray
    objective: str

    def at(self, weight: np.ndarray, activation: np.ndarray) -> np.ndarray:
        """Return each layer's loss (..., L) at bits (..., L); float loses nothing.

        Raises:
            ValueError: there are no losses at some of these bits.
        """
        return self._of(self.weight, weight) + self._of(self.activation, activation)

    def _of(self, side: np.ndarray, widths: np.ndarray) -> np.ndarray:
        asked = np.where(widths == FLOAT, self.widths[0], widths)
        lacking = np.setdiff1d(asked, self.widths)
        if len(lacking):
            there = ", ".join(map(label, self.widths))
            raise ValueError(f"no losses at {label(lacking[0])} bits: the widths are {there}")
        columns = np.searchsorted(self.widths, asked)
        return np.where(widths == FLOAT, 0.0, side[np.arange(len(self.names)), columns])

    def of_side(self, side: str, layer: int, width: int) -> float:
        """Return what one width of a layer's "weight" or "activation" is expected to cost."""
        if width == FLOAT:
            return 0.0
        return float(getattr(self, side)[layer, self.widths.index(width)])

    def of(self, allocation: Allocation) -> float:
        """Return the expected loss of an allocation of these layers."""
        bits = [allocation[name] for name in self.names]
        weight, activation = [b.weight for b in bits], [b.activation for b in bits]
        # one layer after the other: numpy would add pairs, and round in another way
        return float(sum(self.at(np.array(weight), np.array(activation)).tolist()))


def by_scores(
    scores: Mapping[str, float], objective: str = LRP, widths: Sequence[int] = MENU
) -> Losses:
    """Weigh how a quantizer's squared error falls, Omega_i (4^-w + 4^-a), by scores Omega_i.

    Our reading of LRP-QViT, whose formula is not public. A format counts as the bits it costs.

    Raises:
        ValueError: a score is not finite, or negative (its layer is named).
    """
    ordered = tuple(sorted(widths))
    loss = _column(scores, tuple(scores)) * 4.0 ** -prices(np.array(ordered))
    return Losses(tuple(scores), ordered, loss, loss, objective)


def losses_of(
    objective: str,
    scores: Mapping[str, float] | None,
    sensitivity: Sensitivity | None,
    widths: Sequence[int] = MENU,
) -> Losses | None:
    """Return the losses of an objective, or None where what they are made of is not there yet."""
    if objective == LRP:
        return None if scores is None else by_scores(scores, widths=widths)
    if sensitivity is None:
        return None
    if objective == SENSITIVITY:
        return by_sensitivity(sensitivity)
    return None if scores is None else by_product(sensitivity, scores)


def _column(scores: Mapping[str, float], names: tuple[str, ...]) -> np.ndarray:
    """Return the scores of `names` (L, 1), each finite and not negative."""
    for name in names:
        score = scores.get(name, math.nan)
        if not (math.isfinite(score) and score >= 0):
            raise ValueError(f"no usable score for {name!r}: it must be finite and >= 0")
    return np.array([[scores[name]] for name in names])


def by_sensitivity(sensitivity: Sensitivity, shrinkage: float = TOWARDS_KIND) -> Losses:
    """Take the divergence, in nats, that each width of each layer costs.

    A few images leave each loss uncertain by a quarter, and an optimum seeks out what chance made
    too low. So losses are shrunk towards the mean of their kind (all `attn.qkv`, say), half the way
    on a logarithmic scale: our choice, after empirical Bayes.

    Args:
        shrinkage: the share of the way; at 1 each loss is the mean of its kind.
    """
    s = sensitivity
    order = np.argsort(s.widths)  # a target's are by price
    weight, activation = (
        _shrunk(s.names, loss, shrinkage)[:, order] for loss in (s.weight, s.activation)
    )
    return Losses(s.names, tuple(sorted(s.widths)), weight, activation, SENSITIVITY)


def foretelling(sensitivity: Sensitivity) -> Losses:
    """Take the losses whose sum foretells the divergence of given allocations best.

    They are shrunk further, so that an optimum has hardly sought out what chance made too low.
    """
    return by_sensitivity(sensitivity, FORETELLING)


def _shrunk(names: Sequence[str], loss: np.ndarray, shrinkage: float) -> np.ndarray:
    """Shrink each layer's losses (L, W) towards the mean of the layers of its kind."""
    kinds = np.array([part_of(name) for name in names])
    floor = np.finfo(float).tiny
    logs = np.log(np.maximum(loss, floor))
    for kind in set(kinds.tolist()):
        alike = kinds == kind
        middle = np.log(np.maximum(loss[alike].mean(0), floor))
        logs[alike] += shrinkage * (middle - logs[alike])
    return np.exp(logs)


def by_product(sensitivity: Sensitivity, scores: Mapping[str, float]) -> Losses:
    """Weigh sensitivities by contribution scores, as Mix-QViT does (arXiv:2501.06357).

    The product L Omega_i Lambda_i(b) is our reading; L scores of one average keep it in nats.

    Raises:
        ValueError: a score is missing, not finite, or negative (its layer is named); all are 0.
    """
    plain = by_sensitivity(sensitivity)
    column = _column(scores, plain.names)
    if not column.any():
        raise ValueError("all scores are 0: use another objective than a product with them")
    column = column / column.mean()
    return replace(
        plain,
        weight=column * plain.weight,
        activation=column * plain.activation,
        objective=PRODUCT,
    )


def reversed_losses(losses: Losses) -> Losses:
    """Give each layer the losses of the one that ranks as far from the other end: a control."""
    order = (losses.weight + losses.activation).mean(1).argsort()
    weight, activation = np.empty_like(losses.weight), np.empty_like(losses.activation)
    weight[order], activation[order] = losses.weight[order[::-1]], losses.activation[order[::-1]]
    return replace(losses, weight=weight, activation=activation, objective=REVERSED)


def random_losses(names: tuple[str, ...], seed: int, widths: Sequence[int] = MENU) -> Losses:
    """Score layers by chance: a control, whose spread over seeds says what luck is worth."""
    scores = np.random.default_rng(seed).random(len(names))
    return by_scores(dict(zip(names, scores.tolist(), strict=True)), f"{RANDOM}-{seed}", widths)
