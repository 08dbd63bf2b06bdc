"""Everything that is found of layers: passes, one layer's parts, attention, SQNR, damage.

Each comes as something wanted: kept, or to be made by a job. Keys are the calibration's (model,
device, images, preset), the layer's name and the widths.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from app.work import models
from app.work.explanations import Prepared
from app.work.wanted import Wanted
from lrp.engine.progress import Progress
from quant.analysis.anatomy import Anatomy, AttentionMaps, anatomy, attention
from quant.analysis.clipping import Clipping, clipping, is_normed
from quant.analysis.damage import Damage, damage
from quant.analysis.layer_errors import SqnrByWidth, sqnr_by_width
from quant.experiments.calibrating import Calibrating
from quant.model.float_layers import look
from quant.primitives.bits import MENU, Allocation, LayerBits

IMAGES = 8  # of those that calibrate, on which layers are looked at


@dataclass(frozen=True, eq=False)
class Parts:
    """One layer taken apart.

    Attributes:
        clipping: of an input behind a LayerNorm.
        plainer: why the preset treats it in a plainer way than others of its kind, or "".
    """

    anatomy: Anatomy
    clipping: Clipping | None
    plainer: str


def passes_of(calibrating: Calibrating, widths: Iterable[int]) -> Wanted[bool]:
    """Return the calibration passes of some widths: seconds each, or half a minute."""
    asked = tuple(sorted(set(widths)))

    def make(progress: Progress) -> bool:
        calibrating.calibration.solve(asked, progress.of("layer"))
        return True

    bits = " and ".join(map(str, asked))
    title = f"Calibrating {calibrating.loaded.name} at {bits} bits ({calibrating.preset.name})"
    return Wanted(
        ("pass", *calibrating.key, *asked), title, make, models.memory("passes", 64), models.jobs()
    )


def parts_of(calibrating: Calibrating, name: str, bits: LayerBits) -> Wanted[Parts]:
    """Return one layer taken apart, on passes that are there."""

    def make(progress: Progress) -> Parts:
        calibration = calibrating.calibration
        seen = look(calibration, calibration.images[:IMAGES], name)
        normed = seen.affine is not None and is_normed(calibration, name)
        clipped = clipping(calibration, seen, bits, progress) if normed else None
        why = calibration.surveyed().plainer.get(name, "")
        return Parts(anatomy(calibration, seen, bits), clipped, why)

    key = ("parts", *calibrating.key, name, bits.weight, bits.activation)
    return Wanted(
        key, f"Taking {name} apart", make, models.memory("parts", 64), models.quick_jobs()
    )


def attention_of(
    calibrating: Calibrating,
    allocation: Allocation,
    bits: LayerBits,
    prepared: Prepared,
    product: str,
) -> Wanted[AttentionMaps]:
    """Return one attention of a picture, in float and with all layers at `bits`."""

    def make(progress: Progress) -> AttentionMaps:
        image = prepared.images.to(calibrating.device)
        return attention(calibrating.calibration, allocation, image, product)

    key = ("attention", *calibrating.key, bits.weight, bits.activation, prepared.key, product)
    title = "Running the model in float and quantized"
    return Wanted(key, title, make, models.memory("attentions", 16), models.quick_jobs())


def sqnr_of(calibrating: Calibrating) -> Wanted[SqnrByWidth]:
    """Return every layer's error at every width."""

    def make(progress: Progress) -> SqnrByWidth:
        calibration = calibrating.calibration
        calibration.solve(MENU, progress.of("calibrating, layer"))
        images = calibration.images[:IMAGES]
        return sqnr_by_width(calibration, images, progress.of("measuring, layer"))

    title = f"Measuring all layers at {MENU[0]} to {MENU[-1]} bits ({calibrating.preset.name})"
    return Wanted(
        ("sweep", *calibrating.key), title, make, models.memory("sweeps", 16), models.jobs()
    )


def damage_of(calibrating: Calibrating, allocation: Allocation) -> Wanted[Damage]:
    """Return what each layer of an allocation adds to the divergence from float."""

    def make(progress: Progress) -> Damage:
        calibration = calibrating.calibration
        calibration.solve_for(allocation, progress)
        return damage(calibration, allocation, progress=progress.of("image"))

    digest = hashlib.sha256(repr(sorted(allocation.items())).encode()).hexdigest()
    title = f"Sharing out the damage of these bits ({calibrating.preset.name})"
    key = ("damage", *calibrating.key, digest)
    return Wanted(key, title, make, models.memory("damages", 32), models.jobs())
