"""Find the smallest budget on a path that is measured to lose no more than is accepted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from quant.evaluation.answers import Evaluation

POINTS, NATS = "points", "nats"
TRIES = 8  # measurements, at most: seven halve 121 budgets down to one


@dataclass(frozen=True)
class Accepted:
    """A loss that is accepted.

    Attributes:
        most: points of top-1, or nats of divergence, below float.
        unit: "points" or "nats".
    """

    most: float
    unit: str

    def __post_init__(self) -> None:
        if not 0 < self.most < np.inf:
            raise ValueError(f"a loss of {self.most:g} {self.unit}: use more than 0")

    def lost(self, evaluation: Evaluation) -> float:
        """Return what was lost, in this unit."""
        points = -100 * evaluation.difference
        return points if self.unit == POINTS else evaluation.divergence

    def keeps(self, evaluation: Evaluation) -> bool:
        """Return whether what was measured is accepted."""
        return self.lost(evaluation) <= self.most

    def __str__(self) -> str:
        unit = self.unit.removesuffix("s") if self.most == 1 else self.unit
        return f"{self.most:g} {unit}"


class Search:
    """Measure a handful of T budgets, from the lowest to the highest, for one that is accepted.

    What is expected of the rows says where to measure first; each measurement then says how far
    expectations are off, and leaves the rows between the highest that lost too much and the lowest
    that did not.

    Args:
        expected: (T,) losses, in any unit, that fall along the path.

    Attributes:
        measured: by row, in the order they were.
        best: the lowest row that was measured and accepted; None before there is one.
    """

    def __init__(self, expected: Sequence[float] | np.ndarray, accepted: Accepted) -> None:
        self._expected, self.accepted = np.asarray(expected, dtype=float), accepted
        self.measured: dict[int, Evaluation] = {}
        self.best: int | None = None
        self._below = -1  # the highest row that lost too much

    @property
    def sure(self) -> bool:
        """Whether the best row's whole 95 % interval is accepted; a divergence has none."""
        if self.best is None or self.accepted.unit == NATS:
            return self.best is not None
        return -100 * self.measured[self.best].difference_low <= self.accepted.most

    def found(self) -> int:
        """Return the best row.

        Raises:
            ValueError: none of those measured loses so little.
        """
        if self.best is None:
            least = min(map(self.accepted.lost, self.measured.values()))
            raise ValueError(
                f"no budget was measured to lose at most {self.accepted}: the least was "
                f"{least:.3g}; accept more, or offer wider widths"
            )
        return self.best

    def rows(self) -> Iterator[int]:
        """Yield rows to measure, each answered by `tell` before the next, until it is found."""
        row: int | None = self._nearest(1.0 if self.accepted.unit == NATS else 100.0)
        while row is not None and len(self.measured) < TRIES:
            yield row
            row = self._next(row)

    def tell(self, row: int, evaluation: Evaluation) -> None:
        """Take in what a row was measured to lose."""
        self.measured[row] = evaluation
        if not self.accepted.keeps(evaluation):
            self._below = max(self._below, row)
        elif self.best is None or row < self.best:
            self.best = row

    def _next(self, row: int) -> int | None:
        top = len(self._expected) if self.best is None else self.best
        if self._below + 1 >= top:
            return None
        if len(self.measured) <= 2:  # by how much expectations are off here
            lost = max(self.accepted.lost(self.measured[row]), 1e-9)
            guess = self._nearest(lost / max(self._expected[row], 1e-12))
            if self._below < guess < top and guess not in self.measured:
                return guess
        return (self._below + top) // 2

    def _nearest(self, scale: float) -> int:
        """Return the lowest row whose loss is expected to be accepted, or the last."""
        enough = self._expected * scale <= self.accepted.most
        return int(enough.argmax()) if enough.any() else len(self._expected) - 1
