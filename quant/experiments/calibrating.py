"""A model's calibration on some images: where it is kept, and what its layers are sensitive to."""

import logging
import os
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch

from lrp.engine.inputs import KeyedImages, Model
from lrp.engine.progress import SILENT, Progress
from quant.analysis.sensitivity import Sensitivity, sensitivity_path
from quant.analysis.sensitivity_estimation import find
from quant.analysis.widths import PLAIN, passes_with, widths_of
from quant.calibration.calibration import (
    Calibration,
    calibrate,
    calibration_folder,
    calibration_key,
)
from quant.calibration.presets import Preset
from quant.evaluation.image_set import Pictures
from quant.primitives.targets import ANY, Target

LOG = logging.getLogger(__name__)
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
        home: the folder that calibrations are kept in; None keeps none.
        kept: shares calibrations that are in memory.
        keep: write to the home; False only reads there.
    """

    loaded: Model
    images: KeyedImages
    preset: Preset
    device: torch.device
    home: Path | None
    kept: Kept[Calibration] = field(default_factory=All)
    keep: bool = True

    @property
    def key(self) -> tuple[str, ...]:
        """Name the calibration."""
        return self.loaded.key, str(self.device), self.images.key, self.preset.name

    @property
    def kept_key(self) -> str:
        """Name the calibration where it is kept."""
        return calibration_key((self.loaded.key, self.images.key), self.preset)

    @property
    def folder(self) -> Path | None:
        """Where its passes are kept."""
        return None if self.home is None else calibration_folder(self.home, self.kept_key)

    @property
    def calibration(self) -> Calibration:
        """The calibration, whose passes may still have to be solved."""
        return self.kept.get(self.key, self._made)

    def _made(self) -> Calibration:
        batches = (pictures for pictures, _ in Pictures(self.images, room=0).batches())
        model, kept = self.loaded.model, (self.folder, self.kept_key, self.keep)
        return calibrate(model, batches, self.preset, self.device, *kept)

    def sensitivity_file(self, how: str, images: int | None = None, target: Target = ANY) -> Path:
        """Return where the layers' sensitivities are kept; the rest as of `find_sensitivity`."""
        kind = "" if widths_of(target) is PLAIN else target.key
        return sensitivity_path(self.folder or Path(os.devnull), how, images, kind)

    def kept_sensitivity(
        self, how: str, images: int | None = None, target: Target = ANY
    ) -> Sensitivity | None:
        """Return the sensitivities that are kept; None where none are, or where they are damaged.

        `images` and `target` are as of `find_sensitivity`.
        """
        path = self.sensitivity_file(how, images, target)
        if not path.exists():
            return None
        try:
            found = Sensitivity.read(path, self.kept_key)
            others = found.widths != tuple(widths_of(target))
            if found.how != how or others or images not in (None, found.images):
                raise ValueError(f"{path} holds other sensitivities")
            return found
        except ValueError as error:
            LOG.warning("%s: they are found again", error)
            return None

    def find_sensitivity(
        self,
        how: str,
        images: int | None = None,
        progress: Progress = SILENT,
        target: Target = ANY,
    ) -> Sensitivity:
        """Find the layers' sensitivities, and keep them in their file where it can be written.

        Args:
            images: on how many of the calibration's; None is all to estimate, 16 to measure.
            target: whose widths are asked about.

        Raises:
            ValueError: more images than there are.
        """
        widths, told = widths_of(target), progress.of(f"sensitivities, {how}, layer")
        self.calibration.solve(passes_with(widths), progress.of("calibrating, layer"))
        losses = find(self.calibration, how, images, told, widths)
        if self.keep and self.folder is not None:
            try:
                losses.write(self.sensitivity_file(how, images, target), self.kept_key)
            except ValueError as error:
                LOG.warning("%s; sensitivities are used now, and not kept", error)
        return losses
