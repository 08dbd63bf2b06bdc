"""Where pictures and their labels come from: the bundled digits, or a folder on disk."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from timm.data import ImageNetInfo
from timm.data.readers.reader_image_folder import find_images_and_targets
from timm.utils.misc import natural_key

from assets.errors import InputError
from assets.pictures import digits
from assets.pictures.uploads import open_image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
WORDNET_ID = re.compile(r"n\d{8}")
IMAGENET_CLASSES = 1000


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


@dataclass(frozen=True)
class FolderSource:
    """Picture files, one folder a class."""

    files: tuple[tuple[Path, int], ...]
    key: str  # as a `DigitSource`'s

    def __len__(self) -> int:
        return len(self.files)

    def picture(self, index: int) -> Image.Image:
        """Return picture `index`, RGB; InputError naming the file where it is damaged."""
        return open_image(self.files[index][0])

    def label(self, index: int) -> int:
        """Return the class of picture `index`."""
        return self.files[index][1]


Source = DigitSource | FolderSource


def open_digits(split: str) -> DigitSource:
    """Return a split of the bundled digits; InputError where it has no fixed length."""
    if split not in digits.LENGTHS:
        raise InputError(f"there is no split {split!r}: use {' or '.join(digits.LENGTHS)}")
    return DigitSource(split, f"digits-{split}-{digits.SEED}")


def open_folder(folder: Path, num_classes: int) -> FolderSource:
    """Return the pictures of a folder of class folders, labelled with the model's class indices.

    Raises InputError where there is no picture or the classes cannot be matched.
    """
    root = _root(folder)
    names = _class_folders(root)
    to_itself = {name: name for name in names}  # so that timm's reader hands back names
    found, _ = find_images_and_targets(str(root), types=SUFFIXES, class_to_idx=to_itself)
    if not found:
        raise InputError(
            f"{root} holds no pictures in class folders: put PNG, JPEG or WebP files in one "
            "folder per class"
        )
    mapping = _class_indices(root, names, num_classes)
    files = tuple((Path(file), mapping[name]) for file, name in found)
    return FolderSource(files, _key(root, files))


def _root(folder: Path) -> Path:
    """Return the folder that holds the class folders: itself, or its only subfolder `val`."""
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}: give a folder with one subfolder per class")
    subfolders = [path for path in folder.iterdir() if path.is_dir()]
    return subfolders[0] if [path.name for path in subfolders] == ["val"] else folder


def _class_folders(root: Path) -> list[str]:
    """Return the names of the class folders as timm's reader sorts them: 2 before 10."""
    folders = [path.name for path in root.iterdir() if path.is_dir()]
    return sorted((name for name in folders if not name.startswith(".")), key=natural_key)


def _class_indices(root: Path, names: Sequence[str], num_classes: int) -> dict[str, int]:
    """Return the class index of each folder name: WordNet ids, classes.txt, or sorted order."""
    listed = _listed_classes(root)
    if listed is not None:
        return _indices(listed, names, num_classes, "classes.txt")
    if num_classes == IMAGENET_CLASSES and all(WORDNET_ID.fullmatch(name) for name in names):
        return _indices(ImageNetInfo().label_names(), names, num_classes, "ImageNet's list")
    if len(names) == num_classes:
        return {name: index for index, name in enumerate(names)}
    remedy = "a classes.txt with one class folder's name per line, in the model's order"
    if num_classes == IMAGENET_CLASSES:
        remedy += ", or name the folders by WordNet id (n01440764)"
    raise InputError(f"{root} has {len(names)} classes and the model {num_classes}: add {remedy}")


def _listed_classes(root: Path) -> list[str] | None:
    """Return the lines of classes.txt in the folder or beside it, or None."""
    for path in (root / "classes.txt", root.parent / "classes.txt"):
        if path.is_file():
            try:
                return path.read_text(encoding="utf-8-sig").strip().splitlines()
            except UnicodeDecodeError as error:
                raise InputError(f"{path} is not text: write one class per line") from error
    return None


def _indices(
    listed: Sequence[str], names: Sequence[str], num_classes: int, where: str
) -> dict[str, int]:
    """Return each name's place in a list; InputError where the list does not suit."""
    index = {name.strip(): place for place, name in enumerate(listed)}
    if len(listed) != num_classes or len(index) != num_classes:
        raise InputError(
            f"{where} lists {len(index)} different classes and the model has {num_classes}: "
            "list each class of the model once, in its order"
        )
    unknown = [name for name in names if name not in index]
    if unknown:
        raise InputError(f"{where} does not list {unknown[0]}: add it, or remove that folder")
    return {name: index[name] for name in names}


def _key(root: Path, files: Sequence[tuple[Path, int]]) -> str:
    """Return a name for these files as they are now: paths, labels, sizes, times."""
    digest = hashlib.sha256()
    for path, label in files:
        facts = path.stat()
        line = f"{path.relative_to(root)} {label} {facts.st_size} {facts.st_mtime_ns}\n"
        digest.update(line.encode())
    return f"{root.name}-{digest.hexdigest()[:12]}"
