"""Choose which images calibrate and score, and which are measured; read them in batches."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from assets.errors import InputError
from assets.models.load import LoadedModel
from assets.sets.contents import alike
from assets.sets.image_set import ImageSet, load_images

BATCH = 16
SCORABLE = 1024  # images that may score besides those that calibrate, at most
Open = Callable[[str | None, LoadedModel, str], ImageSet]


def take(images: ImageSet, count: int | None, seed: int = 0) -> ImageSet:
    """Take `count` images (default all) in a random order that `seed` fixes.

    Raises:
        InputError: `count` is not positive, or more than there are.
    """
    if count is not None and not 0 < count <= len(images):
        raise InputError(f"{count} images asked of {len(images)}: use 1 to {len(images)}")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed)).tolist()
    return images.subset(order[:count])


@dataclass(frozen=True, eq=False)
class Draw:
    """Images that calibrate and score a model, and others that are measured: none does both.

    That holds of what images show: the same picture under another name, in the same folder or in
    another, is not measured either (`contents.alike`). Images are opened when they are asked for,
    and every image set may raise InputError.

    Attributes:
        data: the folder that is measured on; None is the bundled digits.
        calibration: the folder of the images that calibrate; None is `data`, or the digits' own
            split for it.
        count: how many images calibrate.
        limit: how many images are measured at most, after the first `skip`; None is all.
        seed: of the order in which images calibrate.
        measured_seed: of the order in which images are measured, where they are of the same folder
            as those that calibrate; None is `seed`.
        taken: images that are not measured either, as bits were chosen on them: places in a source,
            by its key.
        open: opens a folder's images for a model and a split, as `load_images`.
    """

    loaded: LoadedModel
    data: str | None
    calibration: str | None
    count: int
    limit: int | None = None
    seed: int = 0
    measured_seed: int | None = None
    skip: int = 0
    taken: Mapping[str, Collection[int]] = field(default_factory=dict)
    open: Open = load_images

    @cached_property
    def calibrating(self) -> ImageSet:
        """The images that calibrate."""
        return take(self._pool, self.count, self.seed)

    @cached_property
    def measured(self) -> ImageSet:
        """The images that are measured: none of them calibrates, and none can score."""
        if self.limit is not None and self.limit < 1:
            raise InputError(f"a limit of {self.limit} images: use 1 or more")
        order = self._order
        if not len(order):
            raise self._nothing_left()
        if not 0 <= self.skip < len(order):
            raise InputError(
                f"--skip {self.skip} of {len(order)} images: use 0 to {len(order) - 1}"
            )
        stop = None if self.limit is None else self.skip + self.limit
        used = self._calibrates | self._taken
        places = range(len(order))[self.skip : stop]
        left = [place for place in places if order.indices[place] not in used]
        if not left:
            raise self._nothing_left()
        return order.subset(left)

    @property
    def most(self) -> int:
        """How many images there are to measure."""
        if self._shared and len(self._data) <= self.count:
            return 0
        return len(set(self._order.indices) - self._calibrates)

    @cached_property
    def copies(self) -> int:
        """How many images are not measured as they calibrate under another name."""
        known = self._calibrates
        if self._shared and self.calibration is None:
            known = known - set(self.calibrating.indices)
        return len(known)

    @cached_property
    def scorable(self) -> ImageSet:
        """Images that may score: those that calibrate, then others that are not measured.

        Where the measured ones are of the same folder, the others are taken from the end of the
        order, so that they stay the same while there is room for more to be measured. There are
        1,024 others at most.
        """
        every = take(self._pool, None, self.seed)
        if not self.most:
            return every
        there = set(self.measured.indices) if self._shared else set()
        others = [p for p in range(self.count, len(every)) if every.indices[p] not in there]
        if self._shared:
            others.reverse()
        others = others[:SCORABLE]
        again = alike(every.subset(others), self.measured)
        others = [place for place in others if every.indices[place] not in again]
        return every.subset([*range(min(self.count, len(every))), *others])

    @cached_property
    def _pool(self) -> ImageSet:
        folder = self.data if self.calibration is None else self.calibration
        return self.open(folder, self.loaded, "calibration")

    @cached_property
    def _data(self) -> ImageSet:
        if self.data is not None and self.calibration is None:
            return self._pool  # a folder has no splits
        return self.open(self.data, self.loaded, "validation")

    @property
    def _shared(self) -> bool:
        """Whether the images that calibrate and those that are measured lie in one folder."""
        return self._pool.key == self._data.key

    @cached_property
    def _order(self) -> ImageSet:
        """The images that may be measured, in their order; those that calibrate may be among them
        where another seed chooses them."""
        order = self._every_in_order()
        if self.measured_seed is not None:
            return order
        places = range(len(order))
        return order.subset(p for p in places if order.indices[p] not in self._calibrates)

    def _every_in_order(self) -> ImageSet:
        if not self._shared:
            return take(self._data, None)
        if not 0 < self.count < len(self._data):
            raise InputError(
                f"{self.count} calibration images of {len(self._data)}: use 1 to "
                f"{len(self._data) - 1}, so that others are left to measure"
            )
        seed = self.seed if self.measured_seed is None else self.measured_seed
        return take(self._data, None, seed).subset(range(self.count, len(self._data)))

    @cached_property
    def _calibrates(self) -> set[int]:
        """The places of all images that calibrate, under whatever name."""
        return alike(self._data, self.calibrating)

    @cached_property
    def _taken(self) -> set[int]:
        """The places of all images that bits were chosen on, under whatever name."""
        found = set(self.taken.get(self._data.source.key, ()))
        for images in (self._pool, self._data):
            places = self.taken.get(images.source.key, ())
            there = tuple(place for place in places if 0 <= place < len(images.source))
            found |= alike(self._data, replace(images, indices=there))
        return found

    def _nothing_left(self) -> InputError:
        return InputError(
            f"draw {self.seed + 1} calibrates on all images that it would measure: give others"
        )


def batches(images: ImageSet, size: int = BATCH) -> Iterator[tuple[Tensor, Tensor]]:
    """Read images (B, 3, H, W) and labels (B,) in order, `size` at a time."""
    yield from DataLoader(images, batch_size=size)


def pictures(images: ImageSet, size: int = BATCH) -> Iterator[Tensor]:
    """Read images (B, 3, H, W) alone."""
    for batch, _ in batches(images, size):
        yield batch
