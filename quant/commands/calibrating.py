"""A calibration as commands need it: where it is kept, and what its layers are sensitive to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from assets.home import home
from assets.sets.image_set import ImageSet
from assets.sets.selection import pictures
from assets.terminal import print_progress
from lrp.engine.progress import Progress
from quant.analysis.sensitivity import Sensitivity, sensitivity_path
from quant.analysis.sensitivity_estimation import find
from quant.calibration.calibration import Calibration, calibrate, calibration_folder
from quant.calibration.presets import Preset
from quant.commands.options import Subject


@dataclass(frozen=True, eq=False)
class Calibrating:
    """On which images a model is calibrated, and how."""

    subject: Subject
    images: ImageSet
    preset: Preset

    @property
    def folder(self) -> Path:
        """Where its passes are kept."""
        keys = (self.subject.loaded.key, self.images.key)
        return calibration_folder(home(), keys, self.preset)

    @cached_property
    def calibration(self) -> Calibration:
        """The calibration, whose passes may still have to be solved."""
        model, device = self.subject.loaded.model, self.subject.device
        return calibrate(model, pictures(self.images), self.preset, device, self.folder)

    def sensitivity(self, how: str, images: int | None = None) -> Sensitivity:
        """Return the layers' sensitivities: kept beside the passes, or found and kept now.

        Args:
            images: how many of the calibration's; None is all to estimate, 16 to measure.

        Raises:
            ValueError: more images than there are, or a file that holds no sensitivities.
        """
        if images is not None:
            self.first(images)
        path = sensitivity_path(self.folder, how, images)
        if path.exists():
            return Sensitivity.read(path)
        self.calibration.solve(progress=Progress(print_progress("calibration, layer")))
        report = Progress(print_progress(f"sensitivities, {how}, layer"))
        found = find(self.calibration, how, images, report)
        found.write(path)
        return found

    def first(self, images: int) -> ImageSet:
        """Return the first calibration images; ValueError where there are not so many."""
        there = len(self.images)
        if not 0 < images <= there:
            raise ValueError(f"--images {images} of {there} calibration images: use 1 to {there}")
        return self.images.subset(range(images))
