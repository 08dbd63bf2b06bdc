"""Choose which images calibrate and which are measured, and read them in batches."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from assets.errors import InputError
from assets.sets.image_set import ImageSet

BATCH = 16


def take(images: ImageSet, count: int | None, seed: int = 0) -> ImageSet:
    """Take `count` images (default all) in a random order that `seed` fixes.

    Raises:
        InputError: `count` is not positive, or more than there are.
    """
    if count is not None and not 0 < count <= len(images):
        raise InputError(f"{count} images asked of {len(images)}: use 1 to {len(images)}")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed)).tolist()
    return images.subset(order[:count])


def divide(
    images: ImageSet, calibration: int, limit: int | None = None, seed: int = 0
) -> tuple[ImageSet, ImageSet]:
    """Divide one set into images that calibrate and up to `limit` others that are measured.

    `seed` fixes which ones.

    Raises:
        InputError: nothing would be left of either.
    """
    if not 0 < calibration < len(images):
        raise InputError(
            f"{calibration} calibration images of {len(images)}: use 1 to {len(images) - 1}, "
            "so that others are left to measure"
        )
    if limit is not None and limit < 1:
        raise InputError(f"a limit of {limit} images: use 1 or more")
    shuffled = take(images, None, seed)
    end = len(images) if limit is None else min(len(images), calibration + limit)
    return shuffled.subset(range(calibration)), shuffled.subset(range(calibration, end))


def batches(images: ImageSet, size: int = BATCH) -> Iterator[tuple[Tensor, Tensor]]:
    """Read images (B, 3, H, W) and labels (B,) in order, `size` at a time."""
    yield from DataLoader(images, batch_size=size)


def pictures(images: ImageSet, size: int = BATCH) -> Iterator[Tensor]:
    """Read images (B, 3, H, W) alone."""
    for batch, _ in batches(images, size):
        yield batch
