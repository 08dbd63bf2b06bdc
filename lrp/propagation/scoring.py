"""How layers are scored, as a value: which model, on which images, by which rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from lrp.engine.progress import SILENT, Progress
from lrp.propagation.rules import preset
from lrp.propagation.scores import BATCH, ContributionScores, contribution_scores


class Model(Protocol):
    """A model, by the name its user gave and a key of its weights."""

    @property
    def name(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def model(self) -> nn.Module: ...


class Images(Protocol):
    """Prepared pictures (3, H, W) and their classes, with a key that names them all."""

    @property
    def key(self) -> str: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> tuple[Tensor, int]: ...


@dataclass(frozen=True, eq=False)
class Scoring:
    """How layers are scored: on which images, by which rules, by what of their relevance."""

    loaded: Model
    images: Images
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
