"""Where pictures and their labels come from: the bundled digits, or a folder on disk."""

import hashlib
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from assets.errors import InputError
from assets.pictures import digits, folders
from assets.pictures.class_order import class_order, list_facts, natural
from assets.pictures.fates import Fates, fates
from assets.pictures.folders import Facts, File, Walk, shown
from assets.pictures.uploads import FORMATS, open_image

READ_FILES, READ_BYTES = 2_000, 2**28  # folders up to this are named by what the files hold
SNIFFED = 10_000  # of so many files the first bytes are looked at
KEPT = 2**16  # digests of files, the latest


@dataclass(frozen=True)
class DigitSource:
    """One split of the bundled digits."""

    split: str
    key: str  # identifies the pictures and labels, for caches

    def __len__(self) -> int:
        return digits.LENGTHS[self.split]

    def picture(self, index: int) -> Image.Image:
        """Return picture `index`, RGB."""
        return digits.sample(self.split, index).image

    def label(self, index: int) -> int:
        """Return the class of picture `index`."""
        return digits.sample(self.split, index).label


@dataclass(frozen=True, eq=False)
class FolderSource:
    """Picture files, one folder a class.

    Attributes:
        paths, labels: of each picture;  facts: (n, 3) int64, each file's `Facts` when listed.
        fates: what became of each folder.
        key: names the pictures and labels; of up to 2,000 files and 256 MB by their bytes, of more
            by paths, sizes and times.
    """

    paths: tuple[str, ...]
    labels: tuple[int, ...]
    facts: np.ndarray = field(repr=False)
    fates: Fates
    key: str

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def files(self) -> tuple[tuple[Path, int], ...]:
        """The path and the class of each picture."""
        return tuple(zip(map(Path, self.paths), self.labels, strict=True))

    def picture(self, index: int) -> Image.Image:
        """Return picture `index`, RGB; InputError naming the file where it is damaged, or is not
        the one that was listed any more."""
        self._is_as_listed(index)
        return _opened(self.paths[index])

    def label(self, index: int) -> int:
        """Return the class of picture `index`."""
        return self.labels[index]

    def size(self, index: int) -> int:
        """Return the bytes of the file of picture `index`."""
        return int(self.facts[index, 0])

    def digest(self, index: int) -> bytes:
        """Return what names the bytes of picture `index`; InputError where they cannot be read."""
        return _digest(self.paths[index], self._facts(index))

    def frame(self, index: int) -> tuple[int, int]:
        """Return width and height of picture `index`, which its header says; InputError, naming the
        file with its folder, where it is no picture."""
        return _frame(self.paths[index], self._facts(index))

    def pixels(self, index: int) -> bytes:
        """Return what names the pixels of picture `index`; InputError where it is damaged."""
        return _pixels(self.paths[index], self._facts(index))

    def _facts(self, index: int) -> Facts:
        return Facts(*map(int, self.facts[index]))

    def check(self, index: int) -> None:
        """Raise InputError, naming the file with its folder, where picture `index` is no picture by
        its header, or is not the one that was listed any more."""
        self._is_as_listed(index)
        self.frame(index)

    def _is_as_listed(self, index: int) -> None:
        path = self.paths[index]
        try:
            now = Facts.of(os.stat(path))
        except OSError as error:
            raise InputError(f"{shown(path)} is gone: load the folder again") from error
        if now[:2] != tuple(self.facts[index, :2]):
            raise InputError(
                f"{shown(path)} has changed since the folder was listed: load the folder again"
            )


Source = DigitSource | FolderSource


def open_digits(split: str) -> DigitSource:
    """Return a split of the bundled digits; InputError where it has no fixed length."""
    if split not in digits.LENGTHS:
        raise InputError(f"there is no split {split!r}: use {' or '.join(digits.LENGTHS)}")
    return DigitSource(split, f"digits-{split}-{digits.SEED}")


def open_folder(folder: Path, num_classes: int) -> FolderSource:
    """Return the pictures of a folder of class folders, labelled with the model's class indices.

    A class is the first folder below the root; its pictures may lie at any depth.  Raises
    InputError where there is no picture or the classes cannot be matched.
    """
    walk = folders.begin(folder)
    if not walk.names:
        raise _no_pictures(walk)
    order = class_order(walk, num_classes)
    files = _pictures_of(folders.finish(walk))
    if not files:
        raise _no_pictures(walk)
    labels = tuple(order.indices[file.folder] for file in files)
    return FolderSource(
        tuple(file.path for file in files),
        labels,
        np.array([file.facts for file in files], np.int64),
        fates(walk, order),
        _key(walk.root, files, labels),
    )


def fingerprint(folder: str | os.PathLike[str]) -> str:
    """Name what a folder holds now, by paths, sizes and times, whatever the model is.

    Times are also those at which the system last touched a file's entry, so that a file
    overwritten with another of the same size and time is noticed.  Raises as `open_folder`, but
    for classes.
    """
    walk = folders.finish(folders.begin(folder))
    digest = hashlib.sha256(repr((sorted(walk.names), list_facts(walk.root))).encode())
    for path, _, facts in sorted(walk.files):
        digest.update(os.fsencode(path) + repr(tuple(facts)).encode())
    for name, left_out in sorted(walk.left_out.items()):
        digest.update(repr((name, sorted(left_out.counts.items()))).encode())
    return digest.hexdigest()


def _pictures_of(walk: Walk) -> list[File]:
    """Return the files that are pictures by their first bytes too, in the order of their paths."""
    if len(walk.files) <= SNIFFED:
        listed, walk.files = walk.files, []
        for file in listed:
            reason = _sniffed(file.path)
            if reason is None:
                walk.files.append(file)
            else:
                walk.leave_out(file.folder, reason, file.path)
    return sorted(walk.files, key=lambda file: natural(file.path))


def _sniffed(path: str) -> str | None:
    """Return why a file is no picture, by its first bytes; None where it may be one."""
    try:
        with open(path, "rb") as file:
            begin = file.read(12)
    except OSError:
        return folders.UNREADABLE
    png, jpeg = begin.startswith(b"\x89PNG\r\n\x1a\n"), begin.startswith(b"\xff\xd8\xff")
    webp = begin[:4] == b"RIFF" and begin[8:] == b"WEBP"
    return None if png or jpeg or webp else folders.NO_PICTURE


def _no_pictures(walk: Walk) -> InputError:
    counts: dict[str, int] = {}
    for left_out in walk.left_out.values():
        for reason, count in left_out.counts.items():
            counts[reason] = counts.get(reason, 0) + count
    words = ", ".join(f"{count:,} {r.format(s='s' * (count > 1))}" for r, count in counts.items())
    return InputError(
        f"{shown(walk.root)} holds no pictures in class folders"
        f"{f' (left out: {words})' if words else ''}: put PNG, JPEG or WebP files in one folder "
        "per class"
    )


def _opened(path: str) -> Image.Image:
    """Open a picture; InputError names the file with its folder."""
    try:
        picture = open_image(path)
    except InputError as error:
        raise InputError(f"in {shown(os.path.dirname(path))}: {shown(str(error))}") from error
    picture.info["name"] = shown(path)
    return picture


@lru_cache(maxsize=KEPT)
def _digest(path: str, facts: Facts) -> bytes:
    """Return the SHA-256 of a file's bytes, which `facts` tell from others it may hold later."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise InputError(f"{shown(path)} cannot be read: allow it, or move it away") from error


@lru_cache(maxsize=KEPT)
def _frame(path: str, facts: Facts) -> tuple[int, int]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # refused when opened
            with Image.open(path, formats=FORMATS) as picture:
                return picture.size
    except UnidentifiedImageError as error:
        raise InputError(
            f"{shown(path)} is no PNG, JPEG or WebP picture: convert it to one, or move it away"
        ) from error
    except Exception as error:  # Pillow raises any kind over bytes made to mislead it
        raise InputError(f"{shown(path)} cannot be read as a picture: move it away") from error


@lru_cache(maxsize=KEPT)
def _pixels(path: str, facts: Facts) -> bytes:
    picture = _opened(path)
    return hashlib.sha256(repr(picture.size).encode() + picture.tobytes()).digest()


def _key(root: str, files: Sequence[File], labels: Sequence[int]) -> str:
    """Return a name for these files as they are now, wherever the folder is."""
    by_bytes = len(files) <= READ_FILES and sum(f.facts.size for f in files) <= READ_BYTES
    digest = hashlib.sha256()
    for file, label in zip(files, labels, strict=True):
        inner = os.fsencode(os.path.relpath(file.path, root))
        held = _digest(file.path, file.facts).hex() if by_bytes else file.facts[:2]
        digest.update(inner + f" {label} {held}\n".encode())
    return f"folder-{digest.hexdigest()[:16]}"
