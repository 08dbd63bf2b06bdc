"""What a command says of its images before it works: each folder's fate, and what is unreadable."""

from collections.abc import Mapping
from typing import Any

from assets.pictures.sources import FolderSource
from assets.sets.image_set import ImageSet
from assets.sets.selection import Draw
from assets.terminal import note


def told(draw: Draw, measures: bool = True) -> dict[str, Any] | None:
    """Say on stderr what became of the folders of a draw; return it for JSON, as `tell` does.

    Raises InputError where an image that calibrates or is measured cannot be read.
    """
    named = {"data" if draw.calibration is None else "calibration": draw.calibrating}
    if measures:
        check(draw.calibrating)
        named["data"] = draw.measured
    return tell(named, draw.copies if measures else 0)


def tell(named: Mapping[str, ImageSet], copies: int = 0) -> dict[str, Any] | None:
    """Say on stderr what became of the folders of image sets, by the option that names them.

    Return that for JSON; None where all images are bundled.  `copies` are not measured as they
    calibrate under another name.  Raises InputError where an image cannot be read: here, and not
    after minutes of work.
    """
    described: dict[str, Any] = {}
    for name, images in named.items():
        check(images)
        if images.fates is not None:
            described[name] = images.fates.described(images.classes)
            for sentence in images.fates.sentences:
                note(f"bitlens: {name}: {sentence}")
    if copies:
        note(f"bitlens: {copies:,} images are not measured: the same pictures calibrate")
    return described | {"copies_not_measured": copies} if described else None


def check(images: ImageSet) -> None:
    """Raise InputError, naming the file with its folder, where an image cannot be read."""
    if isinstance(images.source, FolderSource):
        for index in images.indices:
            images.source.check(index)
