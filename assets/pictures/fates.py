"""What became of each class folder: its class, its pictures, and what was left out and why."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from assets.pictures.class_order import ClassOrder
from assets.pictures.folders import LeftOut, Walk, shown


@dataclass(frozen=True)
class Reason:
    """Why files were left out: in words for several, how many, and the first one's path."""

    reason: str
    count: int
    first: str


@dataclass(frozen=True)
class Fate:
    """What became of one class folder: which class it is, and how many pictures it holds."""

    folder: str
    label: int
    images: int
    left_out: tuple[Reason, ...]


@dataclass(frozen=True)
class Fates:
    """What became of all class folders.

    Attributes:
        root: the folder that holds them;  inside: it is the only subfolder of the one given.
        decided: by what the classes are told, in words.
        folders: in the order of their classes.
        beside: what lies beside the class folders.
        others: other orders of the names, as of a `ClassOrder`.
    """

    root: str
    inside: bool
    decided: str
    folders: tuple[Fate, ...]
    beside: tuple[Reason, ...] = ()
    others: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def left_out(self) -> dict[str, int]:
        """How many files were left out, by reason."""
        total: Counter[str] = Counter()
        for reasons in (self.beside, *(one.left_out for one in self.folders)):
            total.update({reason.reason: reason.count for reason in reasons})
        return dict(total)

    @property
    def sentences(self) -> list[str]:
        """In words: how many pictures are in how many folders, what is left out, what to mind."""
        images = sum(one.images for one in self.folders)
        where = ", all in its subfolder val" if self.inside else ""
        said = [
            f"{images:,} images in {len(self.folders):,} folders{where}; classes by {self.decided}"
        ]
        if self.left_out:
            said.append(f"left out: {', '.join(_counted(r, n) for r, n in self.left_out.items())}")
        empty = [one for one in self.folders if not one.images]
        if empty:
            said.append(f"without any image: {len(empty):,} of the folders")
        said += [
            f"torchvision's ImageFolder has {_moved(other):,} of the classes elsewhere ({name}): "
            "write a classes.txt if the model was trained so"
            for name, other in self.others.items()
        ]
        return said

    def rows(self, classes: Sequence[str]) -> list[dict[str, str | int]]:
        """Return a table of all folders, and of what lies beside them."""
        rows: list[dict[str, str | int]] = [
            {
                "folder": one.folder,
                "class": one.label,
                "called": classes[one.label],
                "images": one.images,
                "left out": ", ".join(_counted(r.reason, r.count) for r in one.left_out),
            }
            for one in self.folders
        ]
        beside = ", ".join(_counted(reason.reason, reason.count) for reason in self.beside)
        last: dict[str, str | int] = {"folder": "(beside them)", "images": 0, "left out": beside}
        return [*rows, last] if beside else rows

    def described(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return all of it for JSON, with what the classes are called."""
        return {
            "root": self.root,
            "classes_by": self.decided,
            "images": sum(one.images for one in self.folders),
            "left_out": {_several(reason): count for reason, count in self.left_out.items()},
            "beside": [_described(reason) for reason in self.beside],
            "other_orders": {name: list(other) for name, other in self.others.items()},
            "folders": [
                {
                    "folder": one.folder,
                    "class": one.label,
                    "name": classes[one.label],
                    "images": one.images,
                    "left_out": [_described(reason) for reason in one.left_out],
                }
                for one in self.folders
            ],
        }


def fates(walk: Walk, order: ClassOrder) -> Fates:
    """Say what became of the folders of a walk."""
    counts = Counter(file.folder for file in walk.files)
    folders = [
        Fate(shown(name), label, counts[name], _reasons(walk, name))
        for name, label in sorted(order.indices.items(), key=lambda pair: pair[1])
    ]
    return Fates(
        shown(walk.root),
        walk.inside,
        order.decided,
        tuple(folders),
        _reasons(walk, ""),
        order.others,
    )


def _reasons(walk: Walk, folder: str) -> tuple[Reason, ...]:
    left_out = walk.left_out.get(folder, LeftOut())
    return tuple(
        Reason(reason, count, shown(left_out.first[reason]))
        for reason, count in left_out.counts.items()
    )


def _counted(reason: str, count: int) -> str:
    return f"{count:,} {reason.format(s='s' * (count > 1))}"


def _several(reason: str) -> str:
    return reason.format(s="s")


def _described(reason: Reason) -> dict[str, Any]:
    return {"reason": _several(reason.reason), "count": reason.count, "first": reason.first}


def _moved(other: tuple[int, ...]) -> int:
    return sum(place != index for index, place in enumerate(other))
