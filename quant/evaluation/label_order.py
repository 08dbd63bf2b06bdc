"""Whether float's answers suit another order of the classes far better than the one in use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from quant.evaluation.answers import Answers
from quant.evaluation.intervals import wilson

MARGIN = 0.1  # of accuracy, at least


@dataclass(frozen=True)
class BetterOrder:
    """An order of the classes that float's answers suit better.

    Attributes:
        order: in words;  images: how many were answered.
        top1, other_top1: float's accuracy in the order in use and in this one, 0 to 1.
    """

    order: str
    images: int
    top1: float
    other_top1: float

    def __str__(self) -> str:
        return (
            f"float answers {self.top1:.1%} of {self.images:,} images rightly, and "
            f"{self.other_top1:.1%} were the folders in {self.order}: list the classes so in a "
            "classes.txt if the model was trained with that order"
        )


def better_order(answers: Answers, others: Mapping[str, Sequence[int]]) -> BetterOrder | None:
    """Return the best of the other orders where it is clearly better than the one in use, or None.

    Clearly: the 95 % Wilson intervals of float's two accuracies do not overlap, and the other is
    higher by at least 10 points.

    Args:
        others: by name, for each class in use the one that its images would be of.
    """
    if not len(answers) or not others:
        return None
    count, used = len(answers), int((answers.reference == answers.labels).sum())
    rights = {
        name: int((answers.reference == np.asarray(order)[answers.labels]).sum())
        for name, order in others.items()
    }
    best = max(rights, key=rights.__getitem__)
    apart = wilson(rights[best], count)[0] > wilson(used, count)[1]
    if not apart or rights[best] - used < MARGIN * count:
        return None
    return BetterOrder(best, count, used / count, rights[best] / count)
