"""Calibrate a model on a few unlabelled images: every layer's quantizers at every width, kept."""

import hashlib
import threading
from collections.abc import Iterable
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor, nn

from lrp.engine.layers import list_layers
from lrp.engine.progress import SILENT, Progress
from lrp.engine.side_by_side import side_by_side, waiting
from quant.calibration.files import Files
from quant.calibration.origins import Affine
from quant.calibration.passes import PALETTED, Solver, Surveyed, needed, pass_of, weights_in
from quant.calibration.presets import Preset
from quant.calibration.residual_stream import stream_of
from quant.calibration.store import SCHEMA, Stored, file_of
from quant.calibration.survey import Survey, plainer, rewrite
from quant.calibration.tuning.block import Layers
from quant.calibration.tuning.kept import NUMBER, as_pass, digest_of, layers_in, learned_name
from quant.calibration.tuning.tuner import Tuner
from quant.calibration.turning import Turned, turned, unturned
from quant.layers.quantized import QuantizedLinear, QuantizedProduct
from quant.layers.runtime import Cache, RunningLayer, running
from quant.primitives.bits import MENU, Allocation, LayerBits, quantized
from quant.primitives.formats import check_width, price
from quant.primitives.quantizers import Quantizer
from quant.primitives.views import with_views


class Calibration:
    """The quantizers and integer weights of a model, shared by threads and sessions.

    A pass over the images solves one activation width with all weight widths and writes them to a
    file, once. Layers are read from there, made ready to run, and kept while there is room.

    Args:
        model: frozen, in evaluation mode.
        images: (B, 3, H, W), on the model's device.
        folder: where passes are kept; by default they go when this object does. A pass there that
            is damaged, or another calibration's, is made again.
        integers: multiply integers where this machine can; False always simulates.
        key: names the calibration, in the files of its passes.
        keep: write new passes to the folder; False only reads there.

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
        key: str = "",
        keep: bool = True,
    ) -> None:
        if not len(images):
            raise ValueError("no images were given: give at least one")
        self.model, self.images, self.preset = model, images, preset
        self._files = Files(folder, key, keep, images.device)
        self._passes: dict[int, Stored] = {}  # by activation width
        self._solving, self._learning = threading.Lock(), threading.Lock()
        self._surveyed: Surveyed | None = None
        self._ready, self._integers = Cache(), integers

    @property
    def folder(self) -> Path:
        """Where passes are kept."""
        return self._files.folder

    @property
    def notes(self) -> list[str]:
        """What became of files, in words."""
        return self._files.notes

    @property
    def turned(self) -> Turned:
        """The model that quantized layers run in, with its streams turned where the preset says."""
        if self.preset.norm != "rotated":
            return unturned(self.model)
        return turned(self.model, self._input_size)

    @property
    def _input_size(self) -> tuple[int, int, int]:
        _, channels, height, width = self.images.shape
        return channels, height, width

    @cached_property
    def shown(self) -> Tensor:
        """The images, and what other views of them the preset asks for: what passes run on."""
        return with_views(self.images, self.preset.views)

    def surveyed(self) -> Surveyed:
        """Return what all passes share; found with one float pass, once."""
        if self._surveyed is None:
            (self._surveyed,) = side_by_side([lambda progress: self._survey()])
        return self._surveyed

    @torch.no_grad()
    def _survey(self) -> Surveyed:
        turned, preset = self.turned, self.preset
        survey = Survey(turned.model)
        survey.run(self.shown)
        weights = rewrite(survey, preset.centred, preset.heads)
        layers = list_layers(self.model, self._input_size)
        kinds = survey.kinds | dict.fromkeys(survey.norms.keys() & turned.reads.keys(), "turned")
        found = survey.norms, kinds, plainer(survey, preset, layers)
        stream = stream_of(turned.model, self.images[:1]) if preset.stream else ()
        names = [layer.name for layer in layers]
        return Surveyed(turned, preset, names, weights, *found, stream)

    def solve(self, widths: Iterable[int] = MENU, progress: Progress = SILENT) -> None:
        """Make the passes of `widths` that no file holds yet; `progress` counts layers.

        Raises:
            ValueError: there is no such width; a layer's input is not finite (it is named).
            Cancelled: the work was to stop; passes already made are kept.
        """
        asked = sorted(set(widths))
        if all(self._has(width) for width in asked):
            return  # without waiting for whoever solves another width
        with waiting(self._solving, progress):
            surveyed = self.surveyed()
            missing = [width for width in asked if not self._has(width)]
            if missing:
                side_by_side([partial(self._make, surveyed, width) for width in missing], progress)
            for width in missing:
                self._has(width)

    def _make(self, surveyed: Surveyed, width: int, progress: Progress) -> None:
        inputs, weights = width % PALETTED, weights_in(width)
        made = Solver(surveyed, inputs, weights, progress).solve(self.shown)
        made.bits = width
        self._files.save(made, file_of(width))

    def _has(self, width: int) -> bool:
        """Return whether a pass is made already; one that a file holds is opened."""
        check_width(width % PALETTED if isinstance(width, int) else width)
        found = None if width in self._passes else self._files.open(file_of(width), width)
        if found is not None:
            self._passes[width] = found
        return width in self._passes

    def solve_for(self, allocation: Allocation, progress: Progress = SILENT) -> None:
        """Make the passes that `allocation` needs, and learn its layers where the preset says so.

        `progress` says what is counted: layers, then steps. Raises as `solve`.
        """
        self.solve(needed(allocation), progress.of("calibrating, layer"))
        if self.preset.tuned:
            self._learned(allocation, progress.of("learning, step"))

    def stored(self, width: int) -> Stored:
        """Return the pass of an activation width, made here if no one made it yet."""
        self.solve([width])
        return self._passes[width]

    def layer(self, name: str, bits: LayerBits) -> RunningLayer:
        """Return a layer ready to run.

        Raises:
            ValueError: the model has no such layer, or there is no such width.
        """
        self.solve(needed({name: bits}))  # not while the cache is locked
        return self._ready.get(
            (name, bits), lambda: running(self.quantized(name, bits), self._integers)
        )

    def quantized(self, name: str, bits: LayerBits) -> QuantizedLinear | QuantizedProduct:
        """Return a layer as data, not yet ready to run; as `layer`, and raises the same."""
        stored = self.stored(pass_of(bits))
        if name in stored.products:
            second = self.stored(bits.weight).operand(name, 1)
            return QuantizedProduct(stored.operand(name, 0), second)
        if name not in stored.linear:
            raise ValueError(f"no layer {name!r} in this model: check the allocation")
        return stored.solved(name, bits.weight).at(bits.weight)

    def layers(self, allocation: Allocation) -> Layers:
        """Return the quantized layers of an allocation as data, learned where the preset says so.

        Raises as `layer`.
        """
        self.solve(needed(allocation))
        made = {name: self.quantized(name, bits) for name, bits in quantized(allocation).items()}
        return {**made, **self._learned(allocation)}

    def running(self, allocation: Allocation) -> dict[str, RunningLayer]:
        """Return the same ready to run."""
        if not self.preset.tuned:
            return {name: self.layer(name, bits) for name, bits in quantized(allocation).items()}
        layers, digest = self.layers(allocation), digest_of(allocation)
        return {
            name: self._ready.get((name, digest), partial(running, layer, self._integers))
            for name, layer in layers.items()
        }

    def _learned(self, allocation: Allocation, progress: Progress = SILENT) -> Layers:
        """Return the layers of an allocation that are learned, here if no file holds them."""
        if not self.preset.tuned:
            return {}
        digest = digest_of(allocation)
        with waiting(self._learning, progress):
            found = self._files.open(learned_name(digest), NUMBER, digest)
            if found is not None:
                return layers_in(found, allocation)
            return self._learn(allocation, digest, progress)

    def _learn(self, allocation: Allocation, digest: str, progress: Progress) -> Layers:
        """Learn the layers of an allocation; what an earlier try learned is taken up again."""
        name, taken = learned_name(digest, part=True), quantized(allocation)
        part = self._files.open(name, NUMBER, digest)
        known = {} if part is None else layers_in(part, allocation)
        made = {layer: self.quantized(layer, bits) for layer, bits in taken.items()}
        kept = self.surveyed(), made, self.stream(allocation), self.shown, len(self.images)

        def work(progress: Progress) -> Layers:
            return Tuner(*kept).tune(known, self.preset.tuned, keep, progress)

        def keep(learned: Layers) -> None:
            self._files.save(as_pass(learned, allocation), name, digest)

        (learned,) = side_by_side([work], progress)
        self._files.save(as_pass(learned, allocation), learned_name(digest), digest)
        self._files.remove(name)
        return learned

    def stream(self, allocation: Allocation) -> dict[str, Quantizer]:
        """Return the quantizers of residual sums and LayerNorm outputs, by name, as they run.

        They are those of the pass of the widest inputs in `allocation`, as one model has one set;
        there are none where the preset has none, and where nothing is quantized.
        """
        passes = needed(allocation) if self.preset.stream else set()
        if not passes:
            return {}
        return self.stored(max(sorted(passes), key=lambda n: price(n % PALETTED))).stream()

    def untouched(self, allocation: Allocation) -> dict[str, Affine]:
        """Return the rewritten weights of the layers that `allocation` leaves in float.

        The layers beside them expect what these give (`quant.calibration.survey`).
        """
        stored = self._passes.get(next(iter(needed(allocation)), 0))
        taken = quantized(allocation)
        if stored is None or taken.keys() >= stored.linear.keys():
            return {}
        rewritten = self.surveyed().weights
        return {name: affine for name, affine in rewritten.items() if name not in taken}


def calibrate(
    model: nn.Module,
    batches: Iterable[Tensor],
    preset: Preset,
    device: str | torch.device = "cpu",
    folder: Path | None = None,
    key: str = "",
    keep: bool = True,
) -> Calibration:
    """Gather the images of `batches`, (B, 3, H, W) each, for a calibration under `preset`.

    `folder`, `key` and `keep` are as of `Calibration`.

    Raises:
        ValueError: there are no images.
    """
    images = [batch.to(device) for batch in batches]
    whole = torch.cat(images) if images else torch.empty(0)
    return Calibration(model, whole, preset, folder, key=key, keep=keep)


def calibration_key(keys: tuple[str, ...], preset: Preset) -> str:
    """Name a calibration, by what names its model and images and by its preset."""
    return hashlib.sha256("\n".join((*keys, preset.key, str(SCHEMA))).encode()).hexdigest()


def calibration_folder(home: Path, key: str) -> Path:
    """Return where a calibration is kept."""
    return home / "calibrations" / key[:24]
