"""What it takes to repeat an evaluation, as data, and whether two evaluations are the same."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from lrp.engine.versions import versions as software_versions
from quant.calibration.presets import preset
from quant.calibration.store import SCHEMA
from quant.primitives.bits import Allocation, LayerBits


def versions() -> dict[str, str]:
    """Return the versions that an accuracy depends on."""
    return {**software_versions(), "calibration": str(SCHEMA)}


@dataclass(frozen=True)
class Recipe:
    """One evaluation: which model, on which images, quantized how.

    Attributes:
        model, checkpoint: as the user gave them;  model_key: names the weights.
        data: the folder of the images, None for the bundled ones;  images_key: names them, in
            their order;  images: how many;  seed: of their choice.
        preset, calibration_key, calibration_images: how layers are quantized, which images
            calibrate and how many; they do not matter to a float model.
        allocation: bits by layer; None is the float model.
        objective, budget: how the allocation was made, in words.
        calibration: the folder of the calibration images, None where they are others of `data`.
    """

    model: str
    checkpoint: str | None
    model_key: str
    data: str | None
    images_key: str
    images: int
    seed: int
    preset: str
    calibration_key: str
    calibration_images: int
    allocation: Allocation | None
    objective: str
    budget: str
    device: str
    versions: Mapping[str, str] = field(default_factory=versions)
    calibration: str | None = None

    @property
    def key(self) -> str:
        """Name the evaluation: recipes of one key give the same answers.

        Where files lie, and why an allocation was chosen, makes no difference.

        Raises:
            ValueError: there is no such preset.
        """
        shared = (self.model_key, self.images_key, self.images, self.seed, self.device)
        named = [*shared, sorted(self.versions.items())]
        if self.allocation is not None:
            calibration = (self.calibration_key, self.calibration_images)
            named += [*calibration, preset(self.preset).key, _pairs(self.allocation)]
        return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()

    @property
    def float_key(self) -> str:
        """Name float's answers on the same images, whichever of them calibrate."""
        return replace(self, allocation=None, seed=0).key

    def to_json(self) -> str:
        """Write it down."""
        bits = None if self.allocation is None else _pairs(self.allocation)
        fields = {**vars(self), "versions": dict(self.versions), "allocation": bits}
        return json.dumps(fields)

    @classmethod
    def from_json(cls, text: str) -> "Recipe":
        """Read what `to_json` wrote."""
        fields: dict[str, Any] = json.loads(text)
        pairs = fields["allocation"]
        if pairs is not None:
            fields["allocation"] = {name: _bits(*widths) for name, widths in pairs.items()}
        return cls(**fields)


def _pairs(allocation: Allocation) -> dict[str, tuple[int, int]]:
    return {name: (bits.weight, bits.activation) for name, bits in allocation.items()}


@cache
def _bits(weight: int, activation: int) -> LayerBits:
    """Share the few pairs there are: thousands of recipes are read for a list."""
    return LayerBits(weight, activation)
