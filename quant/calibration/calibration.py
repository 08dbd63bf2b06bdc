"""Calibrate a model on a few unlabelled images: every layer's quantizers at every width, kept."""

from __future__ import annotations

import hashlib
import shutil
import threading
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import mkdtemp

import torch
from torch import Tensor, nn

from lrp.engine.layers import list_layers
from lrp.engine.names import is_product
from lrp.engine.progress import SILENT, Progress
from quant.calibration.passes import Pass, Solver, Surveyed
from quant.calibration.presets import Preset
from quant.calibration.store import SCHEMA, Stored, save_pass
from quant.calibration.survey import Affine, Survey, rewrite
from quant.layers.cache import Cache
from quant.layers.quantized import QuantizedLinear, QuantizedProduct
from quant.layers.runtime import RunningLinear, RunningProduct
from quant.primitives.bits import MENU, Allocation, LayerBits
from quant.primitives.qparams import check_bits

RunningLayer = RunningLinear | RunningProduct


class Passes(dict[int, Stored]):
    """The passes of a calibration by activation width, a file each: made once, whoever asks.

    Args:
        device: where layers are read to.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        super().__init__()
        self.folder, self._device = folder, device
        self._making = threading.Lock()

    def make(
        self, widths: Iterable[int], make: Callable[[int, Progress], Pass], progress: Progress
    ) -> None:
        """Make the passes of `widths` that no file holds yet; as `Calibration.solve`."""
        asked = sorted(set(widths))
        if all(self.has(width) for width in asked):
            return  # without waiting for whoever solves another width
        while not self._making.acquire(timeout=0.2):
            progress.check()
        try:
            missing = [width for width in asked if not self.has(width)]
            for index, width in enumerate(missing):
                made = make(width, progress.part(index, len(missing)))
                save_pass(made, file_of(self.folder, width))
                self.has(width)
        finally:
            self._making.release()

    def has(self, width: int) -> bool:
        """Return whether a pass is made already; one that a file holds is opened."""
        check_bits(width)
        path = file_of(self.folder, width)
        if width not in self and path.exists():
            self[width] = Stored(path, self._device)
        return width in self


class Calibration:
    """The quantizers and integer weights of a model, shared by threads and sessions.

    A pass over the images solves one activation width with all weight widths and writes them to a
    file, once. Layers are read from there, made ready to run, and kept while there is room.

    Args:
        model: frozen, in evaluation mode.
        images: (B, 3, H, W), on the model's device.
        folder: where passes are kept; by default they go when this object does.
        integers: multiply integers where this machine can; False always simulates.

    Raises:
        ValueError: there are no images.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        preset: Preset,
        folder: Path | None = None,
        integers: bool = True,
    ) -> None:
        if not len(images):
            raise ValueError("no images were given: give at least one")
        self.model, self.images, self.preset = model, images, preset
        folder = self._own_folder() if folder is None else folder
        self._passes = Passes(folder, images.device)
        self._surveyed: Surveyed | None = None
        self._ready: Cache[RunningLayer] = Cache()
        self._integers = integers

    def _own_folder(self) -> Path:
        folder = mkdtemp(prefix="bitlens-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    @torch.no_grad()
    def surveyed(self) -> Surveyed:
        """Return what all passes share; found with one float pass, once."""
        if self._surveyed is None:
            survey, preset = Survey(self.model), self.preset
            survey.run(self.images)
            weights = rewrite(survey, preset.centred, preset.heads)
            _, channels, height, width = self.images.shape
            names = [la.name for la in list_layers(self.model, (channels, height, width))]
            before = survey.gains, survey.activated, survey.convolutions
            self._surveyed = Surveyed(preset, names, weights, *before)
        return self._surveyed

    def _pass(self, width: int, progress: Progress) -> Pass:
        return Solver(self.model, self.surveyed(), width, MENU, progress).solve(self.images)

    def solve(self, widths: Iterable[int] = MENU, progress: Progress = SILENT) -> None:
        """Make the passes of `widths` that no file holds yet; `progress` counts layers.

        Raises:
            ValueError: a width is not 2 to 8; a layer's input is not finite (it is named).
            Cancelled: the work was to stop; passes already made are kept.
        """
        self._passes.make(widths, self._pass, progress)

    def solve_for(self, allocation: Allocation, progress: Progress = SILENT) -> None:
        """Make the passes that `allocation` needs; as `solve`."""
        self.solve(needed(allocation), progress)

    def stored(self, width: int) -> Stored:
        """Return the pass of an activation width, made here if no one made it yet."""
        self.solve([width])
        return self._passes[width]

    def layer(self, name: str, bits: LayerBits) -> RunningLayer:
        """Return a layer ready to run.

        Raises:
            ValueError: the model has no such layer, or a width is not 2 to 8.
        """
        self.solve_for({name: bits})  # not while the cache is locked
        return self._ready.get((name, bits), lambda: self._made_ready(name, bits))

    def _made_ready(self, name: str, bits: LayerBits) -> RunningLayer:
        layer = self.quantized(name, bits)
        if isinstance(layer, QuantizedProduct):
            return RunningProduct(layer)
        return RunningLinear(layer, self._integers)

    def quantized(self, name: str, bits: LayerBits) -> QuantizedLinear | QuantizedProduct:
        """Return a layer as data, not yet ready to run; as `layer`, and raises the same."""
        stored = self.stored(bits.activation)
        if name in stored.products:
            second = self.stored(bits.weight).operand(name, 1)
            return QuantizedProduct(stored.operand(name, 0), second)
        if name not in stored.linear:
            raise ValueError(f"no layer {name!r} in this model: check the allocation")
        return stored.solved(name, bits.weight).at(bits.weight)

    def untouched(self, allocation: Allocation) -> dict[str, Affine]:
        """Return the rewritten weights of the layers that a non-empty `allocation` leaves in float.

        The layers beside them expect what these give (`quant.calibration.survey`).
        """
        stored = self._passes.get(next(iter(needed(allocation)), 0))
        if stored is None or all(name in allocation for name in stored.linear):
            return {}
        rewritten = self.surveyed().weights
        return {name: affine for name, affine in rewritten.items() if name not in allocation}


def file_of(folder: Path, width: int) -> Path:
    """Return where the pass of an activation width is kept."""
    return folder / f"a{width}.safetensors"


def needed(allocation: Allocation) -> set[int]:
    """Return the widths whose passes hold what `allocation` asks for."""
    widths = {bits.activation for bits in allocation.values()}
    return widths | {b.weight for name, b in allocation.items() if is_product(name)}


def calibrate(
    model: nn.Module,
    batches: Iterable[Tensor],
    preset: Preset,
    device: str | torch.device = "cpu",
    folder: Path | None = None,
) -> Calibration:
    """Gather the images of `batches`, (B, 3, H, W) each, for a calibration under `preset`.

    Raises:
        ValueError: there are no images.
    """
    images = [batch.to(device) for batch in batches]
    return Calibration(model, torch.cat(images) if images else torch.empty(0), preset, folder)


def calibration_folder(home: Path, keys: tuple[str, ...], preset: Preset) -> Path:
    """Return where a calibration is kept, by what names its model and images and by its preset."""
    named = "\n".join((*keys, preset.key, str(SCHEMA)))
    return home / "calibrations" / hashlib.sha256(named.encode()).hexdigest()[:24]
