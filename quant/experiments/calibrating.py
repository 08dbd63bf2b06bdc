"""A model's calibration on some images: where it is kept, and what its layers are sensitive to."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch

from lrp.engine.inputs import KeyedImages, Model
from lrp.engine.progress import SILENT, Progress
from quant.analysis.sensitivity import Sensitivity, sensitivity_path
from quant.analysis.sensitivity_estimation import find
from quant.calibration.calibration import Calibration, calibrate, calibration_folder
from quant.calibration.presets import Preset
from quant.evaluation.image_set import Pictures

T = TypeVar("T")


class Kept(Protocol[T]):
    """Costly things by key, made by `make` where they are not kept."""

    def get(self, key: Hashable, make: Callable[[], T]) -> T: ...


class All(Generic[T]):
    """Keeps everything."""

    def __init__(self) -> None:
        self._entries: dict[Hashable, T] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the entry of a key, made by `make` where there is none."""
        if key not in self._entries:
            self._entries[key] = make()
        return self._entries[key]


@dataclass(frozen=True, eq=False)
class Calibrating:
    """On which images a model is calibrated, and how.

    Attributes:
        home: the folder that calibrations are kept in.
        kept: shares calibrations that are in memory.
    """

    loaded: Model
    images: KeyedImages
    preset: Preset
    device: torch.device
    home: Path
    kept: Kept[Calibration] = field(default_factory=All)

    @property
    def key(self) -> tuple[str, ...]:
        """Name the calibration."""
        return self.loaded.key, str(self.device), self.images.key, self.preset.name

    @property
    def folder(self) -> Path:
        """Where its passes are kept."""
        return calibration_folder(self.home, (self.loaded.key, self.images.key), self.preset)

    @property
    def calibration(self) -> Calibration:
        """The calibration, whose passes may still have to be solved."""
        return self.kept.get(self.key, self._made)

    def _made(self) -> Calibration:
        batches = (pictures for pictures, _ in Pictures(self.images, room=0).batches())
        return calibrate(self.loaded.model, batches, self.preset, self.device, self.folder)

    def sensitivity_file(self, how: str, images: int | None = None) -> Path:
        """Return where the layers' sensitivities are kept; `images` as of `find_sensitivity`."""
        return sensitivity_path(self.folder, how, images)

    def find_sensitivity(
        self, how: str, images: int | None = None, progress: Progress = SILENT
    ) -> Sensitivity:
        """Find the layers' sensitivities, and keep them in their file.

        Args:
            images: on how many of the calibration's; None is all to estimate, 16 to measure.

        Raises:
            ValueError: more images than there are.
        """
        self.calibration.solve(progress=progress.of("calibrating, layer"))
        losses = find(self.calibration, how, images, progress.of(f"sensitivities, {how}, layer"))
        losses.write(self.sensitivity_file(how, images))
        return losses
