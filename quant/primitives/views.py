"""Other views of images: crops and mirror images, as a model's training has them."""

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import resized_crop

LEAST = 0.4  # of an image's area that a view keeps


def with_views(images: Tensor, count: int) -> Tensor:
    """Return images (B, 3, H, W) and `count` views of each, ((1 + count) B, 3, H, W).

    A view is a crop of `LEAST` of the area to all of it, as wide as high in the image's own
    proportions, and mirrored every other time. They are the same for the same images and count.
    """
    generator = torch.Generator().manual_seed(len(images))
    drawn = torch.rand(count, len(images), 4, generator=generator).tolist()
    seen = [
        _view(image, *numbers) for row in drawn for image, numbers in zip(images, row, strict=True)
    ]
    return torch.cat([images, torch.stack(seen)]) if seen else images


def _view(image: Tensor, area: float, down: float, right: float, mirror: float) -> Tensor:
    """Return a view of an image (3, H, W), told by numbers from 0 to 1."""
    height, width = image.shape[1:]
    side = (LEAST + (1 - LEAST) * area) ** 0.5
    size = max(1, round(height * side)), max(1, round(width * side))
    top, left = round((height - size[0]) * down), round((width - size[1]) * right)
    view: Tensor = resized_crop(image, top, left, *size, [height, width], antialias=True)
    return view.flip(2) if mirror < 0.5 else view
