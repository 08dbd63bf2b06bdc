"""What bits are spent by, as commands ask for it: scores of layers, sensitivities, or both."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import cached_property

from assets.sets.selection import pictures
from assets.terminal import print_progress
from lrp.engine.progress import Progress
from lrp.propagation.rules import LRP_QVIT, PRESETS, preset
from lrp.propagation.scores import BATCH, STATISTICS, contribution_scores
from quant.allocation.objectives import (
    LRP,
    SENSITIVITY,
    Losses,
    by_product,
    by_scores,
    by_sensitivity,
)
from quant.analysis.sensitivity import HOW, Sensitivity
from quant.commands.calibrating import Calibrating


def add_scoring(parser: argparse.ArgumentParser) -> None:
    """Ask how layers are scored."""
    add_how(parser)
    parser.add_argument(
        "--statistic", default=STATISTICS[0], choices=STATISTICS, help="of relevance"
    )
    parser.add_argument("--rules", default=LRP_QVIT.name, help=f"{', '.join(PRESETS)}")


def add_how(parser: argparse.ArgumentParser) -> None:
    """Ask how sensitivities are found."""
    parser.add_argument("--how", default=HOW[0], choices=HOW, help=f"default: {HOW[0]}")
    parser.add_argument(
        "--images",
        type=int,
        metavar="N",
        help="calibration images that layers are scored on (default: all; 16 to measure)",
    )


@dataclass(frozen=True, eq=False)
class Scoring:
    """How layers are scored; sensitivities and scores are found when asked for, once."""

    calibrating: Calibrating
    how: str
    images: int | None
    rules: str
    statistic: str

    @classmethod
    def of(cls, options: argparse.Namespace, calibrating: Calibrating) -> Scoring:
        """Read the options; ValueError for rules or images that there are not."""
        rules = preset(options.rules).name
        if options.images is not None:
            calibrating.first(options.images)
        return cls(calibrating, options.how, options.images, rules, options.statistic)

    @cached_property
    def sensitivity(self) -> Sensitivity:
        """What each width of each layer costs, in nats."""
        return self.calibrating.sensitivity(self.how, self.images)

    @cached_property
    def scores(self) -> dict[str, float]:
        """The layers' contribution scores."""
        subject, images = self.calibrating.subject, self.calibrating.images
        if self.images is not None:
            images = self.calibrating.first(self.images)
        return contribution_scores(
            subject.loaded.model,
            pictures(images, BATCH),
            len(images),
            preset(self.rules),
            self.statistic,
            subject.device,
            Progress(print_progress("contribution scores")),
        ).mean

    def losses(self, objective: str) -> Losses:
        """Return what an objective spends bits by."""
        if objective == LRP:
            return by_scores(self.scores)
        if objective == SENSITIVITY:
            return by_sensitivity(self.sensitivity)
        return by_product(self.sensitivity, self.scores)
