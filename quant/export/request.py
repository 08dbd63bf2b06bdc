"""What an export is asked for, and what it gives."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from lrp.engine.inputs import Images, Model
from lrp.engine.progress import SILENT, Progress, follow
from quant.calibration.calibration import Calibration
from quant.evaluation.image_set import Pictures
from quant.primitives.bits import Allocation, quantized
from quant.primitives.formats import label

NEWEST = 25  # opset of ONNX that ONNX Runtime 1.32 runs
CHECKED, BATCH = 64, 16  # images
PREPARED = ("input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")


class Loaded(Model, Protocol):
    """A float model, and how it wants its pictures."""

    @property
    def input_size(self) -> tuple[int, int, int]: ...
    @property
    def data_config(self) -> dict[str, Any]: ...


@dataclass(frozen=True, eq=False)
class Request:
    """A quantized model to write for another program.

    Attributes:
        input_size: of one image, (3, H, W).
        images: opens what the file is checked on: images (B, 3, H, W) and labels (B,), in batches.
        facts: what the file says of itself, by key.
        opset: of ONNX; None is the first that holds the bits.

    Raises:
        ValueError: the residual stream is quantized, which no format has yet.
    """

    model: nn.Module
    input_size: tuple[int, int, int]
    calibration: Calibration
    allocation: Allocation
    images: Callable[[], Iterable[tuple[Tensor, Tensor]]]
    facts: Mapping[str, str]
    opset: int | None = None
    progress: Progress = SILENT

    def __post_init__(self) -> None:
        stream = self.calibration.preset.stream
        if stream and quantized(self.allocation):
            raise ValueError(
                f"the preset's stream={stream} (integer residual sums and LayerNorm outputs) is in "
                "no export yet: use stream=off"
            )

    @classmethod
    def of(
        cls,
        loaded: Loaded,
        calibration: Calibration,
        allocation: Allocation,
        images: Images,
        most: int = CHECKED,
        opset: int | None = None,
        progress: Progress = SILENT,
    ) -> "Request":
        """Return a request for a file that says of itself what it is.

        Args:
            images: of which the first, at most `most`, are what it is checked on.
        """
        count = min(most, len(images))

        def opened() -> Iterator[tuple[Tensor, Tensor]]:
            batches = Pictures(images, room=0).batches(stop=count, largest=BATCH)
            return follow(batches, count, progress.of("checking, image"))

        facts = _facts(loaded, calibration, allocation)
        given = (loaded.model, loaded.input_size, calibration, allocation)
        return cls(*given, opened, facts, opset, progress)

    def require_widths(self, widths: Collection[int], program: str) -> None:
        """Check before any work that a program has these widths.

        Raises:
            ValueError: it has not those of a layer (which is named).
        """
        for name, bits in self.allocation.items():
            if not {bits.weight, bits.activation} <= set(widths):
                has = ", ".join(map(label, sorted(widths)))
                raise ValueError(f"{name} is {bits.name}: {program} has {has} only")

    def opset_from(self, least: int) -> int:
        """Return the opset to write.

        Args:
            least: the first that holds what is written.

        Raises:
            ValueError: another was asked for that does not, or that nothing runs yet.
        """
        asked = least if self.opset is None else self.opset
        if asked < least:
            raise ValueError(f"opset {asked} of ONNX is too old for this: use --opset {least}")
        if asked > NEWEST:
            raise ValueError(f"opset {asked} of ONNX is too new: use --opset {least} to {NEWEST}")
        return asked


def _facts(loaded: Loaded, calibration: Calibration, allocation: Allocation) -> dict[str, str]:
    """Return what a file says of its model, its bits, and how pictures are prepared for it."""
    return {
        "model": loaded.name,
        "weights": loaded.key,
        "pictures": json.dumps({name: loaded.data_config[name] for name in PREPARED}),
        "preset": calibration.preset.name,
        "allocation": json.dumps({layer: str(bits) for layer, bits in allocation.items()}),
        "calibration_images": str(len(calibration.images)),
    }


@dataclass(frozen=True)
class Exported:
    """A file that was checked, before it is written.

    Attributes:
        content: of the file.
        report: of the check, as JSON has it.
    """

    content: bytes
    report: dict[str, Any]
