"""Image sets: pictures with labels, prepared as the model wants them."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from PIL import Image
from timm.data import ImageNetInfo
from torch import Tensor
from torch.utils.data import Dataset

from assets.errors import InputError
from assets.models.load import BUNDLED, LoadedModel
from assets.pictures import digits
from assets.pictures.class_order import IMAGENET_CLASSES
from assets.pictures.fates import Fates
from assets.pictures.folders import shown
from assets.pictures.sources import FolderSource, Source, open_digits, open_folder


@dataclass(frozen=True, eq=False)
class ImageSet(Dataset[tuple[Tensor, int]]):
    """A map-style data set of prepared pictures and class indices."""

    name: str
    classes: tuple[str, ...]
    key: str  # identifies the pictures and labels, for caches
    source: Source
    prepare: Callable[[Image.Image], Tensor]
    indices: tuple[int, ...]  # which pictures of the source, in order

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return picture `index` prepared for the model, (3, H, W), and its class."""
        return self.prepare(self.picture(index)), self.label(index)

    def picture(self, index: int) -> Image.Image:
        """Return picture `index` as it is, RGB."""
        return self.source.picture(self.indices[index])

    def label(self, index: int) -> int:
        """Return the class of picture `index`."""
        return self.source.label(self.indices[index])

    @property
    def fates(self) -> Fates | None:
        """What became of each folder; None for the bundled digits."""
        return self.source.fates if isinstance(self.source, FolderSource) else None

    def subset(self, indices: Iterable[int]) -> "ImageSet":
        """Return the set of some of these pictures; IndexError for one that is not there."""
        chosen = tuple(self.indices[index] for index in indices)
        digest = hashlib.sha256(repr(chosen).encode()).hexdigest()[:12]
        return replace(self, indices=chosen, key=f"{self.source.key}-{digest}")


def load_images(
    source: str | Path | None, loaded: LoadedModel, split: str = "validation"
) -> ImageSet:
    """Open the pictures of a folder, or with source None the digits that come with the model.

    A folder holds one folder per class, with pictures at any depth below: WordNet ids for a model
    of 1,000 classes, or names that a classes.txt in or beside it lists in the model's order, or as
    many as the model has classes, in natural order (2 before 10).  Raises InputError for what
    cannot be matched.
    """
    if source is not None:
        pictures: Source = open_folder(Path(source), loaded.num_classes)
        name = shown(Path(source).resolve().name or source)
    elif has_digits(loaded):
        pictures, name = open_digits(split), f"digits, {split}"
    else:
        raise InputError(f"no pictures come with {loaded.name}: give a folder with --data")
    everything = tuple(range(len(pictures)))
    return ImageSet(
        name, class_names(loaded), pictures.key, pictures, loaded.transform(), everything
    )


def has_digits(loaded: LoadedModel) -> bool:
    """Return whether the bundled digits suit the model."""
    return loaded.name in BUNDLED and loaded.num_classes == len(digits.CLASSES)


def class_names(loaded: LoadedModel) -> tuple[str, ...]:
    """Return what to call each class: digits, ImageNet's short names, or "class 17"."""
    if has_digits(loaded):
        return digits.CLASSES
    if loaded.num_classes == IMAGENET_CLASSES:
        return _imagenet_names()
    return tuple(f"class {index}" for index in range(loaded.num_classes))


@lru_cache(maxsize=1)
def _imagenet_names() -> tuple[str, ...]:
    """Return the first synonym of each ImageNet class, in the order of its index."""
    return tuple(text.split(",")[0] for text in ImageNetInfo().label_descriptions())
