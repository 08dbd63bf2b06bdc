"""What bits are spent by, as commands ask for it: scores of layers, sensitivities, or both."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import cached_property

from assets.sets.image_set import ImageSet
from assets.terminal import print_progress, print_stages
from lrp.engine.progress import Progress
from lrp.propagation.rules import LRP_QVIT, PRESETS, preset
from lrp.propagation.scores import STATISTICS
from lrp.propagation.scoring import Scoring
from quant.allocation.objectives import LRP, SENSITIVITY, Losses, losses_of
from quant.analysis.sensitivity import HOW, Sensitivity
from quant.commands.options import Subject
from quant.experiments.calibrating import Calibrating


def add_scoring(parser: argparse.ArgumentParser) -> None:
    """Add how layers are scored."""
    add_how(parser)
    parser.add_argument(
        "--statistic", default=STATISTICS[0], choices=STATISTICS, help="of relevance"
    )
    parser.add_argument("--rules", default=LRP_QVIT.name, help=f"{', '.join(PRESETS)}")


def add_how(parser: argparse.ArgumentParser) -> None:
    """Add how sensitivities are found."""
    parser.add_argument("--how", default=HOW[0], choices=HOW, help=f"default: {HOW[0]}")
    parser.add_argument(
        "--images",
        type=int,
        metavar="N",
        help="calibration images that layers are scored on (default: all; 16 to measure)",
    )


def scoring_images(options: argparse.Namespace, calibrating: ImageSet) -> ImageSet:
    """Return the first of the images that calibrate; ValueError where there are not so many."""
    count, there = options.images, len(calibrating)
    if count is None:
        return calibrating
    if not 0 < count <= there:
        raise ValueError(f"--images {count} of {there} calibration images: use 1 to {there}")
    return calibrating.subset(range(count))


def sensitivity(calibrating: Calibrating, how: str, images: int | None) -> Sensitivity:
    """Return the layers' sensitivities: kept beside the passes, or found and kept now.

    Raises:
        ValueError: a file that holds no sensitivities.
    """
    path = calibrating.sensitivity_file(how, images)
    if path.exists():
        return Sensitivity.read(path)
    return calibrating.find_sensitivity(how, images, Progress(print_stages()))


@dataclass(frozen=True, eq=False)
class Basis:
    """What bits are spent by: sensitivities and scores, each found once it is asked for.

    Attributes:
        images: how many of the calibration's sensitivities are found on; None is the default.
    """

    calibrating: Calibrating
    how: str
    images: int | None
    scoring: Scoring

    @cached_property
    def sensitivity(self) -> Sensitivity:
        """What each width of each layer costs, in nats."""
        return sensitivity(self.calibrating, self.how, self.images)

    @cached_property
    def scores(self) -> dict[str, float]:
        """The layers' contribution scores."""
        return self.scoring.scores(Progress(print_progress("contribution scores"))).mean

    def losses(self, objective: str) -> Losses:
        """Return what an objective spends bits by."""
        sensitivity = None if objective == LRP else self.sensitivity
        found = losses_of(objective, None if objective == SENSITIVITY else self.scores, sensitivity)
        assert found is not None  # all that it is made of was found
        return found


def basis(
    options: argparse.Namespace, model: Subject, calibrating: Calibrating, images: ImageSet
) -> Basis:
    """Read what bits are spent by; ValueError for rules or images that there are not."""
    rules, scored = preset(options.rules).name, scoring_images(options, images)
    scoring = Scoring(model.loaded, scored, rules, options.statistic, model.device)
    return Basis(calibrating, options.how, options.images, scoring)
