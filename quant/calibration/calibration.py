"""Calibrate a model on a few unlabelled images: every layer's quantizers at every width, kept."""

from __future__ import annotations

import hashlib
import shutil
import threading
import weakref
from collections.abc import Iterable
from pathlib import Path
from tempfile import mkdtemp

import torch
from torch import Tensor, nn

from lrp.engine.layers import list_layers
from lrp.engine.names import is_product
from lrp.engine.progress import SILENT, Progress
from quant.calibration.passes import Plan, Solver
from quant.calibration.presets import Preset
from quant.calibration.store import SCHEMA, Stored, save_pass
from quant.calibration.survey import Affine, Survey, rewrite
from quant.layers.cache import Cache
from quant.layers.quantized import QuantizedLinear, QuantizedProduct
from quant.layers.runtime import RunningLinear, RunningProduct
from quant.primitives.bits import MENU, Allocation, LayerBits
from quant.primitives.qparams import check_bits

Layer = RunningLinear | RunningProduct


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
        self._folder = self._own_folder() if folder is None else folder
        self._passes: dict[int, Stored] = {}
        self._plan: Plan | None = None
        self._ready: Cache[Layer] = Cache()
        self._solving = threading.Lock()
        self._integers = integers

    def _own_folder(self) -> Path:
        folder = mkdtemp(prefix="bitlens-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    def solve(
        self,
        widths: Iterable[int] = MENU,
        progress: Progress = SILENT,
    ) -> None:
        """Make the passes of `widths` that no file holds yet; `progress` counts layers.

        Raises:
            ValueError: a width is not 2 to 8; a layer's input is not finite (it is named).
            Cancelled: the work was to stop; passes already made are kept.
        """
        wanted = sorted(set(widths))
        if all(self._have(width) for width in wanted):
            return  # without waiting for whoever solves another width
        while not self._solving.acquire(timeout=0.2):
            progress.check()
        try:
            missing = [width for width in wanted if not self._have(width)]
            for index, width in enumerate(missing):
                self._pass(width, progress.part(index, len(missing)))
        finally:
            self._solving.release()

    def _pass(self, width: int, progress: Progress) -> None:
        solver = Solver(self.model, self.plan(), width, MENU, progress)
        save_pass(solver.solve(self.images), self._path(width))
        self._passes[width] = Stored(self._path(width), self.images.device)

    def solve_for(
        self,
        allocation: Allocation,
        progress: Progress = SILENT,
    ) -> None:
        """Make the passes that `allocation` needs; as `solve`."""
        self.solve(needed(allocation), progress)

    def stored(self, width: int) -> Stored:
        """Return the pass of an activation width, made here if no one made it yet."""
        self.solve([width])
        return self._passes[width]

    def layer(self, name: str, bits: LayerBits) -> Layer:
        """Return a layer ready to run.

        Raises:
            ValueError: the model has no such layer, or a width is not 2 to 8.
        """
        self.solve(needed({name: bits}))  # not while the cache is locked
        return self._ready.get((name, bits), lambda: self._make(name, bits))

    def _make(self, name: str, bits: LayerBits) -> Layer:
        found = self.found(name, bits)
        if isinstance(found, QuantizedProduct):
            return RunningProduct(found)
        return RunningLinear(found, self._integers)

    def found(self, name: str, bits: LayerBits) -> QuantizedLinear | QuantizedProduct:
        """Return what calibration found for a layer; as `layer`, and raises the same."""
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
        rewritten = self.plan().weights
        return {name: affine for name, affine in rewritten.items() if name not in allocation}

    def _have(self, width: int) -> bool:
        check_bits(width)
        if width not in self._passes and self._path(width).exists():
            self._passes[width] = Stored(self._path(width), self.images.device)
        return width in self._passes

    def _path(self, width: int) -> Path:
        return file_of(self._folder, width)

    @torch.no_grad()
    def plan(self) -> Plan:
        """Return what all passes share; made with one float pass, once."""
        if self._plan is None:
            survey, preset = Survey(self.model), self.preset
            survey.run(self.images)
            weights = rewrite(survey, preset.centred, preset.heads)
            _, *size = self.images.shape
            names = [la.name for la in list_layers(self.model, (size[0], size[1], size[2]))]
            before = survey.gains, survey.activated, survey.convolutions
            self._plan = Plan(preset, names, weights, *before)
        return self._plan


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
