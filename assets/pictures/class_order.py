"""Which class of a model each folder is: by classes.txt, by WordNet id, or by sorted names."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from timm.data import ImageNetInfo

from assets.errors import InputError
from assets.pictures.folders import Walk, shown

WORDNET_ID = re.compile(r"n\d{8}")
IMAGENET_CLASSES = 1000
LIST = "classes.txt"
LIST_BYTES = 2**24
SPLITS = {"train", "training", "val", "valid", "validation", "test"}
NATURAL, PLAIN = "sorted order, 2 before 10", "plain sorted order, 10 before 2"
SURROGATE = re.compile("[\ud800-\udfff]")  # what stands for a byte that is no UTF-8


@dataclass(frozen=True)
class ClassOrder:
    """Which class each folder is, and why.

    Attributes:
        indices: by folder name.
        decided: by what, in words.
        others: other orders that the names have, in words, and for each the class that one of ours
            would be.
    """

    indices: dict[str, int]
    decided: str
    others: dict[str, tuple[int, ...]] = field(default_factory=dict)


def natural(name: str) -> tuple[list[Any], str]:
    """Return what names are sorted by: numbers as numbers, and no difference between a and A."""
    parts = re.split(r"(\d+)", name.lower())
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name


def class_order(walk: Walk, num_classes: int) -> ClassOrder:
    """Match the class folders with a model's classes; InputError where they cannot be."""
    names = sorted(walk.names, key=natural)
    listed = _listed(walk.root, names)
    if listed is not None:
        path, lines = listed
        return ClassOrder(_indices(lines, names, num_classes, LIST), f"{LIST} ({shown(path)})")
    if num_classes == IMAGENET_CLASSES and all(map(WORDNET_ID.fullmatch, names)):
        known = ImageNetInfo().label_names()
        return ClassOrder(_indices(known, names, num_classes, "ImageNet's list"), "WordNet ids")
    if len(names) > 1 and {name.lower() for name in names} <= SPLITS:
        raise InputError(
            f"{shown(walk.root)} holds {' and '.join(names)}, which are no classes: give one of "
            "these folders"
        )
    if len(names) == num_classes:
        return _sorted(names)
    remedy = f"a {LIST} with one class folder's name per line, in the model's order"
    if num_classes == IMAGENET_CLASSES:
        remedy += ", or name the folders by WordNet id (n01440764)"
    raise InputError(
        f"{shown(walk.root)} has {len(names)} classes and the model {num_classes}: add {remedy}"
    )


def list_facts(root: str) -> tuple[object, ...]:
    """Return what tells whether a list of classes came, went or changed."""
    facts: list[object] = []
    for path in _places(root):
        try:
            found = os.stat(path)
            facts.append((found.st_size, found.st_mtime_ns, found.st_ctime_ns))
        except OSError:
            facts.append(os.path.lexists(path))
    return tuple(facts)


def _sorted(names: Sequence[str]) -> ClassOrder:
    """Number names in natural order, and keep how torchvision would, where that differs."""
    plain: Callable[[str], int] = {name: i for i, name in enumerate(sorted(names))}.__getitem__
    other = tuple(map(plain, names))
    others = {} if other == tuple(range(len(names))) else {PLAIN: other}
    return ClassOrder({name: index for index, name in enumerate(names)}, NATURAL, others)


def _places(root: str) -> list[str]:
    """Return where a list of classes may be: in the folder, or beside it."""
    return [os.path.join(folder, LIST) for folder in (root, os.path.dirname(os.path.abspath(root)))]


def _listed(root: str, names: Sequence[str]) -> tuple[str, list[str]] | None:
    """Return the list of classes and its lines, or None; InputError where it cannot be read."""
    for path in _places(root):
        if os.path.isfile(path):
            return path, _lines(path, names)
        if os.path.islink(path):
            raise InputError(f"{shown(path)} is a link to no file: mend or remove it")
    return None


def _lines(path: str, names: Sequence[str]) -> list[str]:
    try:
        with open(path, "rb") as file:
            data = file.read(LIST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{shown(path)} cannot be read: allow it, or remove the file") from error
    if len(data) > LIST_BYTES:
        raise InputError(f"{shown(path)} is too large: write one class per line")
    text = data.decode("utf-8-sig", "surrogateescape")
    # names of folders may be bytes that are no UTF-8; then so may be the list's
    foreign = SURROGATE.search(text) and not any(map(SURROGATE.search, names))
    if "\0" in text or foreign:
        raise InputError(f"{shown(path)} is not text in UTF-8: write one class per line, in UTF-8")
    return re.split(r"\r\n|\r|\n", text.strip()) if text.strip() else []


def _canonical(name: str) -> str:
    """Return a name as one writes it: macOS takes letters and accents apart."""
    return unicodedata.normalize("NFC", name.strip())


def _indices(
    listed: Sequence[str], names: Sequence[str], num_classes: int, where: str
) -> dict[str, int]:
    """Return each name's place in a list; InputError where the list does not suit."""
    lines = [_canonical(line) for line in listed]
    index = {name: place for place, name in enumerate(lines)}
    if len(lines) != num_classes or len(index) != num_classes:
        twice = [f"{shown(name)} twice" for name, count in Counter(lines).items() if count > 1]
        wrong = ["an empty line"] if "" in index else twice
        also = f" (it has {wrong[0]})" if wrong else ""
        raise InputError(
            f"{where} lists {len(index)} different classes and the model has {num_classes}: "
            f"list each class of the model once, in its order{also}"
        )
    unknown = [name for name in names if _canonical(name) not in index]
    if unknown:
        raise InputError(
            f"{where} does not list {shown(unknown[0])}: add it, or remove that folder"
        )
    return {name: index[_canonical(name)] for name in names}
