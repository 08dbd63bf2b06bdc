"""What is in the way of a budget, and the sentence that says so."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from quant.allocation.budget import ROUNDING, Choices, Limits
from quant.primitives.bits import LayerBits

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
        raise Infeasible(
            "; ".join(_sentence(choices, one) for one in shortages),
            tuple(one.limit for one in shortages),
            _locks(choices, shortages),
            Limits(max(limits.weight_bits, least.weight_bits), max(limits.bitops, least.bitops)),
            choices.least_average,
        )


@dataclass(frozen=True)
class _Shortage:
    """A limit that even the fewest bits exceed.

    Attributes:
        limit: "size" or "BitOps".
        needed, given: how much, in words.
        to_open: the fewest locks that save enough when opened; empty if all together do not.
    """

    limit: str
    needed: str
    given: str
    to_open: list[str]


def _size_shortage(choices: Choices, limits: Limits, excess: float) -> _Shortage:
    parameters = dict(zip(choices.names, choices.parameters, strict=True))
    low, locks = choices.menu[0], choices.locks.items()
    saved = {name: parameters[name] * (bits.weight - low) for name, bits in locks}
    needed, given = _size(choices, choices.least, UP), _size(choices, limits, DOWN)
    return _Shortage(SIZE, needed, given, _fewest(saved, excess))


def _size(choices: Choices, limits: Limits, direction: int) -> str:
    width, megabytes = choices.averages(limits)[0], limits.weight_bits / 8e6
    return f"{_rounded(width, direction)} bits a weight ({_rounded(megabytes, direction)} MB)"


def _work_shortage(choices: Choices, limits: Limits, excess: float) -> _Shortage:
    macs = dict(zip(choices.names, choices.macs, strict=True))
    low, locks = choices.menu[0], choices.locks.items()
    saved = {name: macs[name] * (bits.weight * bits.activation - low**2) for name, bits in locks}
    needed, given = _work(choices, choices.least, UP), _work(choices, limits, DOWN)
    return _Shortage(BITOPS, needed, given, _fewest(saved, excess))


def _work(choices: Choices, limits: Limits, direction: int) -> str:
    width, billions = choices.averages(limits)[1], limits.bitops / 1e9
    return f"{_rounded(billions, direction)} GBitOps (uniform {_rounded(width, direction)} bits)"


def _fewest(saved: Mapping[str, float], excess: float) -> list[str]:
    """Return the fewest locks that save `excess` when opened, or [] if all together do not."""
    ranked = sorted((name for name in saved if saved[name] > 0), key=lambda name: -saved[name])
    totals = accumulate(saved[name] for name in ranked)
    enough = (count for count, total in enumerate(totals, 1) if total >= excess)
    return ranked[: next(enough, 0)]


def _locks(choices: Choices, shortages: Sequence[_Shortage]) -> dict[str, LayerBits]:
    """Return the locks to open; none where one limit cannot be met by opening any."""
    if not all(one.to_open for one in shortages):
        return {}
    names = {name for one in shortages for name in one.to_open}
    return {name: bits for name, bits in choices.locks.items() if name in names}


def _sentence(choices: Choices, shortage: _Shortage) -> str:
    """Return what one limit would need, and what could be done."""
    to_open, lowest = shortage.to_open, choices.menu[0]
    names = [f"{name} ({choices.locks[name].in_words()})" for name in to_open[:NAMED]]
    if len(to_open) > NAMED:
        names.append(f"{len(to_open) - NAMED} more")
    if names:
        remedy = f"unlock {', '.join(names)}, or raise the budget"
    elif choices.locks:
        remedy = "raise the budget: no unlocking is enough"
    else:
        remedy = "raise the budget, or offer lower widths"
    everywhere = f"{lowest} bits in every layer"
    held = f"the locks, and {lowest} bits elsewhere," if choices.locks else everywhere
    return (
        f"{shortage.limit}: {held} need {shortage.needed}, the budget gives {shortage.given}; "
        f"{remedy}"
    )


def _rounded(value: float, direction: int) -> str:
    """Write three digits of a number, rounded up or down."""
    if not 0 < value < math.inf:
        return f"{value:g}"
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    return f"{direction * math.ceil(direction * value / step - 1e-9) * step:.4g}"
