"""What a configuration answered to each image, and what follows: accuracy, differences, changes."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from quant.evaluation.intervals import paired_interval, wilson


@dataclass(frozen=True)
class Evaluation:
    """Accuracy of one configuration; fractions in 0 to 1.

    Attributes:
        images: how many images it was measured on.
        top1_low, top1_high: the 95 % Wilson interval of top1.
        agreement: share of images whose top class is the reference's.
        divergence: mean Kullback-Leibler divergence from the reference's probabilities, in nats;
            steadier than accuracy, as every image's whole answer counts.
        seconds: spent running the model, without reading images.
        difference: top1 less the reference's on the same images; 0 for the reference itself.
        difference_low, difference_high: its 95 % interval, which knows that the images are the
            same and so is much narrower than that of either accuracy.
    """

    images: int
    top1: float
    top1_low: float
    top1_high: float
    top5: float
    agreement: float
    divergence: float
    seconds: float
    difference: float = 0.0
    difference_low: float = 0.0
    difference_high: float = 0.0

    @property
    def half_width(self) -> float:
        """Half of the difference's interval."""
        return (self.difference_high - self.difference_low) / 2


@dataclass(frozen=True)
class Counts:
    """Answers added up.

    Attributes:
        correct: images that the configuration answers rightly.
        plain: images that the float model answers rightly.
        both: images that both answer rightly.
        top5: images whose label is among the five best.
        agree: images answered as float answers them.
        divergence: the sum over images, in nats.
    """

    images: int = 0
    correct: int = 0
    top5: int = 0
    plain: int = 0
    both: int = 0
    agree: int = 0
    divergence: float = 0.0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def evaluation(self, seconds: float) -> Evaluation:
        """Return the accuracy; ValueError where there are no images."""
        low, high = wilson(self.correct, self.images)
        # The float model beside itself: they are equal on any images, so no interval is needed.
        itself = self.divergence == 0 and self.agree == self.images
        only, lost = self.correct - self.both, self.plain - self.both
        bounds = (0.0, 0.0) if itself else paired_interval(only, lost, self.images)
        return Evaluation(
            images=self.images,
            top1=self.correct / self.images,
            top1_low=low,
            top1_high=high,
            top5=self.top5 / self.images,
            agreement=self.agree / self.images,
            divergence=self.divergence / self.images,
            seconds=seconds,
            difference=(only - lost) / self.images,
            difference_low=bounds[0],
            difference_high=bounds[1],
        )


@dataclass(frozen=True, eq=False)
class Answers:
    """What one configuration answered to the first n images, in the fixed order of their set.

    Attributes:
        labels, predicted, reference: (n,) int32, classes; the reference is float's answer.
        top5: (n,) bool, the label is among the five best.
        divergence: (n,) float32, KL(float || configuration) in nats.
    """

    labels: np.ndarray
    predicted: np.ndarray
    reference: np.ndarray
    top5: np.ndarray
    divergence: np.ndarray

    def __post_init__(self) -> None:
        lengths = {len(column) for column in self.columns()}
        if len(lengths) != 1:
            raise ValueError(f"answers of {sorted(lengths)} images: all columns need as many")

    @classmethod
    def none(cls) -> "Answers":
        """Return the answers to no images."""
        integers = np.empty(0, np.int32)
        return cls(integers, integers, integers, np.empty(0, bool), np.empty(0, np.float32))

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor, reference: Tensor) -> "Answers":
        """Read the answers off logits (B, K) and those of the reference; labels are (B,)."""
        ranked, plain = _ranked(logits), _ranked(reference)
        divergence = F.kl_div(
            logits.double().log_softmax(1),
            reference.double().log_softmax(1),
            reduction="none",
            log_target=True,
        ).sum(1)
        return cls(
            labels.numpy().astype(np.int32),
            ranked[:, 0].numpy().astype(np.int32),
            plain[:, 0].numpy().astype(np.int32),
            (ranked[:, :5] == labels[:, None]).any(1).numpy(),
            divergence.clamp(min=0).numpy().astype(np.float32),  # rounding may go below
        )

    @classmethod
    def joined(cls, parts: "Sequence[Answers]") -> "Answers":
        """Return the answers of parts that follow each other."""
        columns = zip(*(part.columns() for part in (cls.none(), *parts)), strict=True)
        return cls(*map(np.concatenate, columns))

    def columns(self) -> tuple[np.ndarray, ...]:
        """Return the arrays in the order of the fields."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def part(self, start: int, stop: int | None = None) -> "Answers":
        """Return the answers to images start to stop."""
        return Answers(*(column[start:stop] for column in self.columns()))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def correct(self) -> np.ndarray:
        """(n,) bool, answered rightly."""
        return self.predicted == self.labels

    @property
    def of_reference(self) -> "Answers":
        """What the reference answered to the same images; its five best are not known."""
        right = self.reference == self.labels
        nothing = np.zeros_like(self.divergence)
        return Answers(self.labels, self.reference, self.reference, right, nothing)

    def counts(self, before: float = 0.0) -> Counts:
        """Add the answers up, one image after another.

        Args:
            before: the divergence, in nats, of the images before these. So parts give the sum of
                the whole to the last bit.
        """
        plain = self.reference == self.labels
        return Counts(
            images=len(self),
            correct=int(self.correct.sum()),
            top5=int(self.top5.sum()),
            plain=int(plain.sum()),
            both=int((self.correct & plain).sum()),
            agree=int((self.predicted == self.reference).sum()),
            divergence=float(np.cumsum(np.append(before, self.divergence.astype(np.float64)))[-1]),
        )

    def evaluation(self, seconds: float) -> Evaluation:
        """Return the accuracy; ValueError where there are none."""
        return self.counts().evaluation(seconds)


def _ranked(logits: Tensor) -> Tensor:
    """Classes from best to worst, (B, K); of equals the first."""
    return logits.argsort(dim=1, descending=True, stable=True)
