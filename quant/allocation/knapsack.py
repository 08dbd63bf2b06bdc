"""What every choice of every layer costs and loses, side by side: a multiple-choice knapsack."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from quant.allocation.budget import ROUNDING, Choices, Limits
from quant.allocation.objectives import Losses
from quant.primitives.formats import prices

UNIT = 1 / 16  # all that is spent is a multiple of it


class Knapsack(NamedTuple):
    """L layers, each of which takes one of P choices. Picks (..., L) are columns of these tables.

    Attributes:
        weight, activation: (L, P) widths.
        size: (L, P) weight bits spent, multiples of a quarter.
        work: (L, P) bit operations spent, multiples of a sixteenth.
        loss: (L, P).
    """

    weight: np.ndarray
    activation: np.ndarray
    size: np.ndarray
    work: np.ndarray
    loss: np.ndarray

    @classmethod
    def of(cls, choices: Choices, losses: Losses) -> "Knapsack":
        """Look up what the choices spend and lose.

        Raises:
            ValueError: losses of other layers, none at a width that is offered, or not finite.
        """
        if losses.names != choices.names:
            raise ValueError("the losses are of other layers than the budget is for")
        loss = losses.at(choices.weight.T, choices.activation.T).T
        for name, row in zip(choices.names, loss, strict=True):
            if not np.isfinite(row).all():
                raise ValueError(f"the losses of {name!r} are not finite: measure them again")
        widths, spent = (choices.weight, choices.activation), (choices.size, choices.work)
        return cls(*widths, *spent, loss.astype(float))

    @property
    def lowest(self) -> np.ndarray:
        """Picks (L,) of the fewest bits on both sides."""
        return self._bits.argmin(1)

    @property
    def highest(self) -> np.ndarray:
        """Picks (L,) of the most bits on both sides."""
        return self._bits.argmax(1)

    @property
    def _bits(self) -> np.ndarray:
        """Of both sides of each choice, (L, P)."""
        return prices(self.weight) + prices(self.activation)

    def spent(self, picks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return size, work and loss of picks (..., L), summed over the layers."""
        rows = np.arange(len(self.loss))
        size, work, loss = (t[rows, picks].sum(-1) for t in (self.size, self.work, self.loss))
        return size, work, loss

    def room(self, limits: Sequence[Limits]) -> tuple[np.ndarray, np.ndarray]:
        """Return limits (T,) of size and work in multiples of `UNIT`, none above the most."""
        size = np.array([one.weight_bits for one in limits], dtype=float)
        work = np.array([one.bitops for one in limits], dtype=float)
        return (
            _floor(np.minimum(size * (1 + ROUNDING), self.size.max(1).sum())),
            _floor(np.minimum(work * (1 + ROUNDING), self.work.max(1).sum())),
        )

    def dominated(self) -> np.ndarray:
        """Mark the choices (L, P) that another of their layer equals or beats in all three."""
        first = np.tri(self.loss.shape[1], k=-1, dtype=bool)  # of equals, the first stays
        at_most = np.ones((*self.loss.shape, self.loss.shape[1]), dtype=bool)
        less = np.broadcast_to(first, at_most.shape).copy()
        for table in (self.size, self.work, self.loss):
            at_most &= table[:, None, :] <= table[:, :, None]
            less |= table[:, None, :] < table[:, :, None]
        return (at_most & less).any(2)


def _floor(spent: np.ndarray) -> np.ndarray:
    floor: np.ndarray = np.floor(spent / UNIT) * UNIT
    return floor
