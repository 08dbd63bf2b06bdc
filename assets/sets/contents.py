"""Which images are the same picture, whatever their files are called and wherever they lie."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from assets.errors import InputError
from assets.pictures.sources import FolderSource
from assets.sets.image_set import ImageSet

FRAMES = 5_000  # of so many images the headers are compared too, to find the same pixels
PIXELS = 100_000_000  # of so many, altogether, the pixels
T = TypeVar("T")


def alike(images: ImageSet, others: ImageSet) -> set[int]:
    """Return the places, in the source of `images`, of those that are among `others` too.

    Of one source that is its places; of folders also files of the same bytes, wherever they lie,
    and pictures of the same pixels in files of other bytes, where there are at most 5,000 images
    and 100 million pixels to compare.  Bundled images, and damaged ones, are alike in no other way.
    """
    mine, theirs = images.source, others.source
    found: set[int] = set()
    if mine.key == theirs.key:
        found = set(images.indices) & set(others.indices)
    if isinstance(mine, FolderSource) and isinstance(theirs, FolderSource):
        left = [place for place in images.indices if place not in found]
        found |= _same_bytes(mine, left, theirs, others.indices)
        found |= _same_pixels(mine, [p for p in left if p not in found], theirs, others.indices)
    return found


def _same_bytes(
    mine: FolderSource, places: Sequence[int], theirs: FolderSource, others: Sequence[int]
) -> set[int]:
    sizes = {theirs.size(place) for place in others}
    close = [place for place in places if mine.size(place) in sizes]
    shared = {mine.size(place) for place in close}
    known = {_of(theirs.digest, place) for place in others if theirs.size(place) in shared}
    known.discard(None)
    return {place for place in close if _of(mine.digest, place) in known}


def _same_pixels(
    mine: FolderSource, places: Sequence[int], theirs: FolderSource, others: Sequence[int]
) -> set[int]:
    if len(places) + len(others) > FRAMES:
        return set()
    close, shared = _of_same_frame(_frames(mine, places), _frames(theirs, others))
    if sum(width * height for width, height in [*close.values(), *shared.values()]) > PIXELS:
        return set()
    known = {_of(theirs.pixels, place) for place in shared} - {None}
    return {place for place in close if _of(mine.pixels, place) in known}


def _frames(source: FolderSource, places: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Return width and height of those pictures that can be read."""
    frames = {place: _of(source.frame, place) for place in places}
    return {place: frame for place, frame in frames.items() if frame is not None}


def _of_same_frame(*both: dict[int, tuple[int, int]]) -> list[dict[int, tuple[int, int]]]:
    """Keep of two sets of pictures those whose width and height the other has too."""
    shared = set(both[0].values()) & set(both[1].values())
    return [{p: frame for p, frame in frames.items() if frame in shared} for frames in both]


def _of(read: Callable[[int], T], place: int) -> T | None:
    """Return what is read of a picture; None where it is damaged, which is like no other."""
    try:
        return read(place)
    except InputError:
        return None
