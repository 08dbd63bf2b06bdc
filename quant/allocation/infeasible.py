"""What is in the way of a budget, and the sentence that says so."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from quant.allocation.budget import ROUNDING, Choices, Limits
from quant.primitives.bits import LayerBits
from quant.primitives.formats import label, prices

SIZE, BITOPS = "size", "BitOps"
NAMED = 3  # locks in a message
UP, DOWN = 1, -1


class Infeasible(ValueError):
    """No allocation is within the limits.

    Attributes:
        limits: those in the way: "size", "BitOps" or both.
        locks: the fewest locks to open so that all limits can be met; empty if none are enough.
        nearest: the limits asked for, each raised to the least that can be met.
        average: the least average bits that can be met, rounded up to 0.01; above 8 if none can.
    """

    def __init__(
        self,
        message: str,
        limits: tuple[str, ...],
        locks: Mapping[str, LayerBits],
        nearest: Limits,
        average: float,
    ) -> None:
        super().__init__(message)
        self.limits, self.locks = limits, dict(locks)
        self.nearest, self.average = nearest, average


def require_feasible(choices: Choices, limits: Limits) -> None:
    """Check that some allocation is within the limits.

    Raises:
        Infeasible: none is.
        ValueError: a limit is not a number.
    """
    if math.isnan(limits.weight_bits) or math.isnan(limits.bitops):
        raise ValueError(f"{limits}: a limit must be a number")
    least = choices.least
    shortages = []
    if (excess := least.weight_bits - limits.weight_bits * (1 + ROUNDING)) > 0:
        shortages.append(_size_shortage(choices, limits, excess))
    if (excess := least.bitops - limits.bitops * (1 + ROUNDING)) > 0:
        shortages.append(_work_shortage(choices, limits, excess))
    if shortages:
        to_open = _fewest(list(choices.locks), shortages)
        raise Infeasible(
            "; ".join([*(_sentence(choices, one) for one in shortages), _remedy(choices, to_open)]),
            tuple(one.limit for one in shortages),
            {name: choices.locks[name] for name in to_open},
            Limits(max(limits.weight_bits, least.weight_bits), max(limits.bitops, least.bitops)),
            choices.least_average,
        )


@dataclass(frozen=True)
class _Shortage:
    """A limit that even the fewest bits exceed.

    Attributes:
        limit: "size" or "BitOps".
        needed, given: how much, in words.
        excess: how much is to be saved.
        saved: how much opening each lock saves, in the order of the locks.
    """

    limit: str
    needed: str
    given: str
    excess: float
    saved: np.ndarray


def _size_shortage(choices: Choices, limits: Limits, excess: float) -> _Shortage:
    saved = choices.size[:, 0] - choices.parameters * prices(choices.cheapest[:, 0])
    needed, given = _size(choices, choices.least, UP), _size(choices, limits, DOWN)
    return _Shortage(SIZE, needed, given, excess, _of_locks(choices, saved))


def _of_locks(choices: Choices, saved: np.ndarray) -> np.ndarray:
    """Return the entries (L,) of locked layers, in the order of the locks."""
    return saved[[choices.names.index(name) for name in choices.locks]]


def _size(choices: Choices, limits: Limits, direction: int) -> str:
    width, megabytes = choices.averages(limits)[0], limits.weight_bits / 8e6
    return f"{_rounded(width, direction)} bits a weight ({_rounded(megabytes, direction)} MB)"


def _work_shortage(choices: Choices, limits: Limits, excess: float) -> _Shortage:
    saved = choices.work[:, 0] - choices.macs * prices(choices.cheapest).prod(1)
    needed, given = _work(choices, choices.least, UP), _work(choices, limits, DOWN)
    return _Shortage(BITOPS, needed, given, excess, _of_locks(choices, saved))


def _work(choices: Choices, limits: Limits, direction: int) -> str:
    width, billions = choices.averages(limits)[1], limits.bitops / 1e9
    return f"{_rounded(billions, direction)} GBitOps (uniform {_rounded(width, direction)} bits)"


def _fewest(names: Sequence[str], shortages: Sequence[_Shortage]) -> list[str]:
    """Return the fewest locks that save all that is short, the largest first; [] if none do."""
    saved = np.stack([one.saved for one in shortages])
    excess = np.array([one.excess for one in shortages])
    order = np.argsort(-(saved / excess[:, None]).sum(0), kind="stable")
    useful = order[(saved[:, order] > 0).any(0)]
    if not len(useful):
        return []
    chosen = useful[_cover(saved[:, useful], excess)]
    return [names[index] for index in chosen]


def _cover(saved: np.ndarray, excess: np.ndarray) -> np.ndarray:
    """Return the fewest columns of saved (limits, locks) whose sums reach `excess`, if any do."""
    locks = np.arange(saved.shape[1])
    if len(saved) == 1:  # the columns are in order
        return locks[: _count(saved, excess)]
    shares = saved / excess[:, None]
    for margin in (0.0, 1e-6):  # the solver's own tolerance may lie in between
        constraint = LinearConstraint(shares, lb=1 + margin)
        whole = np.ones(len(locks))
        found = milp(whole, integrality=whole, bounds=Bounds(0, 1), constraints=constraint)
        if found.x is not None and (saved[:, found.x > 0.5].sum(1) >= excess).all():
            return locks[found.x > 0.5]
    return locks[: _count(saved, excess)]


def _count(saved: np.ndarray, excess: np.ndarray) -> int:
    """Return how many of the first columns reach `excess`, 0 where all do not."""
    enough = (np.cumsum(saved, 1) >= excess[:, None]).all(0)
    return int(enough.argmax()) + 1 if enough.any() else 0


def _sentence(choices: Choices, shortage: _Shortage) -> str:
    """Return what one limit would need."""
    low = f"{label(choices.menu[0])} bits" if choices.target.tieable else "the fewest bits"
    held = f"the locks, and {low} elsewhere," if choices.locks else f"{low} in every layer"
    return f"{shortage.limit}: {held} need {shortage.needed}, the budget gives {shortage.given}"


def _remedy(choices: Choices, to_open: Sequence[str]) -> str:
    """Return what could be done."""
    names = [f"{name} ({choices.locks[name].in_words()})" for name in to_open[:NAMED]]
    if len(to_open) > NAMED:
        names.append(f"{len(to_open) - NAMED} more")
    if names:
        return f"unlock {', '.join(names)}, or raise the budget"
    if choices.locks:
        return "raise the budget: no unlocking is enough"
    return "raise the budget, or offer lower widths"


def _rounded(value: float, direction: int) -> str:
    """Write three digits of a number, rounded up or down."""
    if not 0 < value < math.inf:
        return f"{value:g}"
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    return f"{direction * math.ceil(direction * value / step - 1e-9) * step:.4g}"
