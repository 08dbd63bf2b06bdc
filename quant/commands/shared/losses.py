"""What bits are spent by, as commands ask for it: scores of layers, sensitivities, or both."""

import argparse
from functools import cached_property

from assets.sets.image_set import ImageSet
from assets.terminal import print_progress, print_stages
from lrp.engine.progress import Progress
from lrp.propagation.rules import preset
from lrp.propagation.scores import Scoring
from quant.allocation.objectives import LRP, SENSITIVITY, Losses, losses_of
from quant.analysis.sensitivity import Sensitivity
from quant.commands.shared.options import Subject
from quant.experiments.calibrating import Calibrating
from quant.primitives.targets import ANY, Target, target


def scoring_images(options: argparse.Namespace, calibrating: ImageSet) -> ImageSet:
    """Return the first of the images that calibrate; ValueError where there are not so many."""
    count, there = options.images, len(calibrating)
    if count is None:
        return calibrating
    if not 0 < count <= there:
        raise ValueError(f"--images {count} of {there} calibration images: use 1 to {there}")
    return calibrating.subset(range(count))


def sensitivity(
    calibrating: Calibrating, how: str, images: int | None, target: Target = ANY
) -> Sensitivity:
    """Return the layers' sensitivities: kept beside the passes, or found and kept now."""
    found = calibrating.kept_sensitivity(how, images, target)
    told = Progress(print_stages())
    return found or calibrating.find_sensitivity(how, images, told, target)


class Basis:
    """What bits are spent by: sensitivities and scores, each found once it is asked for.

    Args:
        images: that calibrate, of which the first score.

    Raises:
        ValueError: rules or images that there are not.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        model: Subject,
        calibrating: Calibrating,
        images: ImageSet,
    ) -> None:
        self._options, self.calibrating = options, calibrating
        self.target = target(options.target)
        rules, scored = preset(options.rules).name, scoring_images(options, images)
        self.scoring = Scoring(model.loaded, scored, rules, options.statistic, model.device)

    @cached_property
    def sensitivity(self) -> Sensitivity:
        """What each width of each layer costs, in nats."""
        how, images = self._options.how, self._options.images
        return sensitivity(self.calibrating, how, images, self.target)

    @cached_property
    def scores(self) -> dict[str, float]:
        """The layers' contribution scores."""
        return self.scoring.scores(Progress(print_progress("contribution scores"))).mean

    def losses(self, objective: str) -> Losses:
        """Return what an objective spends bits by."""
        sensitivity = None if objective == LRP else self.sensitivity
        scores = None if objective == SENSITIVITY else self.scores
        losses = losses_of(objective, scores, sensitivity, self.target.widths)
        assert losses is not None  # all that it is made of was found
        return losses
