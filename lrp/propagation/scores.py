"""Contribution scores: how much relevance each layer carries, over a calibration set."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lrp.engine.inputs import KeyedImages, Model
from lrp.engine.progress import SILENT, Progress, follow
from lrp.engine.ranks import rank_correlation
from lrp.propagation.relevance import Relevance, relevance
from lrp.propagation.rules import LRP_QVIT, Rules, preset
from lrp.propagation.trace import Trace

STATISTICS = ("positive-sum", "mean-positive", "absolute-sum")
BATCH = 8  # images at once: relevance keeps every layer's operands
_SPLITS = 20  # random halvings of the images that stability is averaged over


@dataclass(frozen=True, eq=False)
class ContributionScores:
    """Scores of L layers over T images.

    Attributes:
        layers: the L layer names.
        per_image: (T, L); each row sums to 1.
        rules: the rules the relevance was propagated by.
        statistic: what was taken of a layer's relevance.
    """

    layers: tuple[str, ...]
    per_image: Tensor
    rules: Rules
    statistic: str

    @property
    def mean(self) -> dict[str, float]:
        """Omega_i = mean over images of c_i / sum_l c_l."""
        return dict(zip(self.layers, self.per_image.mean(0).tolist(), strict=True))

    @property
    def sd(self) -> dict[str, float]:
        """Standard deviation over the images (0 for one image)."""
        spread = self.per_image.std(0, correction=min(1, len(self.per_image) - 1))
        return dict(zip(self.layers, spread.tolist(), strict=True))

    @property
    def stability(self) -> float | None:
        """How alike random halves of the images rank the layers; None below 4 images.

        The mean of Spearman's rank correlation between two halves' mean scores, -1 to 1. Near 1,
        half as many images would have done.
        """
        images = len(self.per_image)
        if images < 4:
            return None
        generator = torch.Generator().manual_seed(0)
        total = 0.0
        for _ in range(_SPLITS):
            halves = torch.randperm(images, generator=generator).tensor_split(2)
            first, second = (self.per_image[half].mean(0).numpy() for half in halves)
            total += rank_correlation(first, second) or 0.0
        return total / _SPLITS


def contribution_scores(
    model: nn.Module,
    batches: Iterable[Tensor],
    images: int,
    rules: Rules = LRP_QVIT,
    statistic: str = STATISTICS[0],
    device: str | torch.device = "cpu",
    progress: Progress = SILENT,
) -> ContributionScores:
    """Score every layer on `images` images that come in `batches` of (B, 3, H, W).

    Our reading of LRP-QViT: c_i(t) is the sum over elements of max(R_i, 0), R_i the relevance
    layer i hands to its operands for image t's predicted class. A plain sum cannot rank layers, as
    it is conserved along a branch; a mean of the positive part ("mean-positive") favours narrow
    inputs, and bits bought by it measure worse, since errors add up over elements.

    Raises:
        ValueError: no images, an unknown statistic, or an image whose scores are not finite.
        Cancelled: the work was to stop.
    """
    if statistic not in STATISTICS:
        raise ValueError(f"statistic {statistic!r} is unknown: use one of {', '.join(STATISTICS)}")
    rows: list[Tensor] = []
    layers: tuple[str, ...] = ()
    for batch in follow(batches, images, progress):
        layers, scores = _batch_scores(model, batch.to(device), rules, statistic)
        rows.append(scores)
    return ContributionScores(layers, torch.cat(rows), rules, statistic)


def _batch_scores(
    model: nn.Module, images: Tensor, rules: Rules, statistic: str
) -> tuple[tuple[str, ...], Tensor]:
    # A function of its own, so that a batch's relevance is freed before the next one is traced.
    found = relevance(Trace(model, images, rules))
    return tuple(found.layers), image_scores(found, statistic).cpu()


def image_scores(found: Relevance, statistic: str = STATISTICS[0]) -> Tensor:
    """Return c_i(t) / sum_l c_l(t) for each image: (B, L).

    Raises:
        ValueError: relevance is not finite, or no layer carries any.
    """
    images = len(found.target)
    raw = torch.stack([_statistic(r, images, statistic) for r in found.layers.values()], 1)
    total = raw.sum(1, keepdim=True)
    if not torch.isfinite(raw).all() or (total <= 0).any():
        raise ValueError("relevance is not finite or nowhere positive: try other rules")
    return raw / total


def _statistic(operands: tuple[Tensor, ...], images: int, statistic: str) -> Tensor:
    part = torch.abs if statistic == "absolute-sum" else torch.relu
    # Swin's operands are (B * windows, ...), batch-major, so a row per image is one reshape away.
    sums = [part(r).reshape(images, -1).sum(1) for r in operands]
    total = torch.stack(sums).sum(0)
    if statistic != "mean-positive":
        return total
    return total * (images / sum(r.numel() for r in operands))


@dataclass(frozen=True, eq=False)
class Scoring:
    """How layers are scored: on which images, by which rules, by what of their relevance."""

    loaded: Model
    images: KeyedImages
    rules: str
    statistic: str
    device: torch.device

    @property
    def key(self) -> tuple[str, ...]:
        """Name the scores."""
        scored = self.images.key, self.rules, self.statistic
        return "scores", self.loaded.key, str(self.device), *scored

    def scores(self, progress: Progress = SILENT) -> ContributionScores:
        """Score every layer; raises what `contribution_scores` raises."""
        count = len(self.images)
        places = (range(start, min(start + BATCH, count)) for start in range(0, count, BATCH))
        batches = (torch.stack([self.images[place][0] for place in part]) for part in places)
        rules, statistic, device = preset(self.rules), self.statistic, self.device
        model = self.loaded.model
        return contribution_scores(model, batches, count, rules, statistic, device, progress)
