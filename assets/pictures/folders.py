"""Walk a folder of class folders: which files are pictures, and why the others are left out."""

import os
import stat
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from assets import errors
from assets.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
JUNK = {  # what systems leave in folders, in lower case
    "__macosx",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "icon\r",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "@eadir",
}
OTHERS = 20_000  # entries without a picture that are put up with, and two more for each picture
LONGEST = 4096  # letters of a path, as systems have it
MOST = 2_000_000  # pictures: ImageNet has 1.3 million
# Why something is left out, in words for one and for several.
HIDDEN = "hidden file{s}"
HIDDEN_FOLDER = "hidden folder{s}"
OTHER_KIND = "file{s} of another kind"
OUTSIDE = "picture{s} outside the class folders"
DEAD = "dead link{s}"
UNREADABLE = "file{s} that cannot be read"
UNREADABLE_FOLDER = "folder{s} that cannot be read"
SPECIAL = "special file{s}"
EMPTY = "empty file{s}"
SEEN = "link{s} to a folder that is in the list already"
NO_PICTURE = "file{s} that are no PNG, JPEG or WebP inside"


class Facts(NamedTuple):
    """What tells whether a file is as it was: its size in bytes, and when it and its entry changed
    last, in nanoseconds."""

    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, found: os.stat_result) -> "Facts":
        """Take them from what the system says of a file."""
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class File(NamedTuple):
    """A picture file: its path, the class folder it lies below, and its facts."""

    path: str
    folder: str
    facts: Facts


@dataclass
class LeftOut:
    """What is no picture: how many by reason, and the first of each."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, path: str) -> None:
        """Count one more."""
        self.counts[reason] += 1
        self.first.setdefault(reason, path)


@dataclass
class Walk:
    """All that lies below a root.

    Attributes:
        root: the folder that holds the class folders.
        inside: whether that is the only subfolder, `val`, of the folder that was given.
        names: the class folders, in the order the system has them.
        files: the pictures, in no order.
        left_out: by class folder; "" is what lies beside them.
    """

    root: str
    inside: bool
    names: list[str]
    files: list[File] = field(default_factory=list)
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    _others: int = 0
    _seen: set[tuple[int, int]] = field(default_factory=set)

    def leave_out(self, folder: str, reason: str, path: str) -> None:
        """Take note of what is no picture; InputError where there is far too much of it."""
        self.left_out.setdefault(folder, LeftOut()).add(reason, path)
        self.check(1)

    def check(self, others: int = 0) -> None:
        """Raise InputError where this is no folder of pictures, or one without end."""
        self._others += others
        if self._others > OTHERS + 2 * len(self.files):
            raise InputError(
                f"{shown(self.root)} holds more than {OTHERS:,} files and folders without "
                "pictures: give the folder that holds one subfolder per class"
            )
        if len(self.files) > MOST:
            raise InputError(
                f"{shown(self.root)} holds more than {MOST:,} pictures: give a part of them"
            )

    def is_new(self, path: str) -> bool:
        """Return whether a folder was not walked yet, whatever it is called."""
        found = os.stat(path)
        place = (found.st_dev, found.st_ino)
        new = place not in self._seen
        self._seen.add(place)
        return new


def shown(path: str | os.PathLike[str]) -> str:
    """Return a path as text that can be written anywhere, on one line: bytes that are no UTF-8 as
    \\xe9, line breaks as \\n."""
    return errors.shown(os.fsencode(path).decode("utf-8", "backslashreplace"), LONGEST)


def is_hidden(name: str) -> bool:
    """Return whether a name is one that systems hide or leave behind."""
    return name.startswith(".") or name.lower() in JUNK


def begin(folder: str | os.PathLike[str]) -> Walk:
    """Find the class folders: those of the folder, or of its only subfolder where that is `val`.

    Raises InputError where there is no such folder.
    """
    root = os.fspath(folder)
    if not os.path.isdir(root):
        raise InputError(
            f"there is no folder {shown(root)}: give a folder with one subfolder per class"
        )
    walk = _beside(root, False)
    return _beside(os.path.join(root, "val"), True) if walk.names == ["val"] else walk


def _beside(root: str, inside: bool) -> Walk:
    walk = Walk(root, inside, [])
    try:
        walk.is_new(root)
        for entry in _entries(root):
            if _is_folder(entry) and not is_hidden(entry.name):
                walk.names.append(entry.name)
                walk.check(1)
            elif entry.name != "classes.txt":
                reason = _reason(entry)
                walk.leave_out("", OUTSIDE if isinstance(reason, Facts) else reason, entry.path)
    except OSError as error:
        raise InputError(f"{shown(root)} cannot be read: give a folder that can be") from error
    return walk


def finish(walk: Walk) -> Walk:
    """Walk all class folders: at any depth, links followed, each folder once.

    Of a folder and a link to it the folder itself counts, whichever comes first.
    """
    real: deque[tuple[str, str]] = deque()
    links: deque[tuple[str, str]] = deque()
    for name in sorted(walk.names):
        path = os.path.join(walk.root, name)
        (links if os.path.islink(path) else real).append((name, path))
    while real or links:
        folder, path = (real or links).popleft()
        try:
            if not walk.is_new(path):
                walk.leave_out(folder, SEEN, path)
                continue
            inner = sorted(_pictures(walk, folder, path))
        except OSError:
            walk.leave_out(folder, UNREADABLE_FOLDER, path)
            continue
        for linked, below in inner:
            (links if linked else real).append((folder, below))
    return walk


def _pictures(walk: Walk, folder: str, path: str) -> Iterator[tuple[bool, str]]:
    """Add the pictures of one folder; yield its subfolders, and whether they are links."""
    for entry in _entries(path):
        if _is_folder(entry) and not is_hidden(entry.name):
            walk.check(1)
            yield entry.is_symlink(), entry.path
            continue
        reason = _reason(entry)
        if isinstance(reason, Facts):
            walk.files.append(File(entry.path, folder, reason))
            walk.check()
        else:
            walk.leave_out(folder, reason, entry.path)


def _entries(path: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(path) as entries:
        yield from entries


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to where one may not look, or to itself
        return False


def _reason(entry: os.DirEntry[str]) -> Facts | str:
    """Return the facts of a picture file, or why an entry is none."""
    if is_hidden(entry.name):
        return HIDDEN_FOLDER if _is_folder(entry) else HIDDEN
    picture = os.path.splitext(entry.name)[1].lower() in SUFFIXES
    if not picture and not entry.is_symlink():
        return OTHER_KIND
    try:
        found = entry.stat()
    except OSError:
        return DEAD if entry.is_symlink() else UNREADABLE
    if not picture:
        return OTHER_KIND
    if not stat.S_ISREG(found.st_mode):
        return SPECIAL
    if not found.st_size:
        return EMPTY
    return Facts.of(found) if os.access(entry.path, os.R_OK) else UNREADABLE
