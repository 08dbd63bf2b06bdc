"""Delete an image's cells in the order a map ranks them, and watch its class's probability."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrp.maps.cells import PICTURES, grid

STEPS = 14


def deleted(cells: int, steps: int = STEPS) -> Tensor:
    """Return how many of `cells` are gone at each step, from none to all: (steps + 1,).

    Raises:
        ValueError: a step would delete nothing, or there is none between the ends.
    """
    if not 2 <= steps <= cells:
        raise ValueError(f"{steps} steps to delete {cells} cells: use 2 to {cells}")
    return (torch.arange(steps + 1) * cells / steps).round().long()


def ends(model: nn.Module, images: Tensor) -> Tensor:
    """Return the class probabilities of B images and, last, of one with all deleted: (B + 1, K)."""
    with torch.inference_mode():
        return model(torch.cat([images, torch.zeros_like(images[:1])])).softmax(1)


def curves(
    model: nn.Module,
    images: Tensor,
    maps: Tensor,
    target: Tensor,
    steps: int = STEPS,
    generator: torch.Generator | None = None,
    known: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the probability of `target` as cells go: most relevant first, least relevant first.

    MoRF and LeRF (Samek et al., arXiv:1509.06321), each (B, steps + 1). A cell that is gone has
    the data set's mean colour, which normalisation makes 0.

    Args:
        images: (B, 3, H, W), normalised.
        maps: (B, h, w) of any size; a cell's value is the mean of the map in it, signed.
        generator: draws the order of equal values (default: always the same).
        known: what `ends` found for these images; all maps share it.

    Raises:
        ValueError: a map is not finite, or the steps do not suit the cells.
    """
    size = grid(model, *images.shape[-2:])
    rank = _ranks(maps, size, generator or torch.Generator().manual_seed(0))
    counts = deleted(rank.shape[1], steps)[1:-1, None].to(rank.device)
    most = rank[:, None] < counts  # (B, S - 1, cells)
    least = rank[:, None] >= rank.shape[1] - counts
    gone = torch.cat([most, least], 1)
    inner = _probabilities(model, images, target, gone, size)
    outer = (ends(model, images) if known is None else known)[:, target]  # (B + 1, B)
    first, last = outer[:-1].diagonal(), outer[-1]
    morf, lerf = (torch.cat([first[:, None], part, last[:, None]], 1) for part in inner.chunk(2, 1))
    return morf, lerf


def _ranks(maps: Tensor, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Rank the cells of each map, 0 the most relevant: (B, h, w) -> (B, cells).

    Equal values rank in a random order: a map is not rewarded for what it does not say.
    """
    if not torch.isfinite(maps).all():
        raise ValueError("a map is not finite: leave its method out")
    values = F.adaptive_avg_pool2d(maps, size).flatten(1)
    drawn = torch.rand(values.shape, generator=generator, dtype=torch.float64)
    shuffled = drawn.argsort(1).to(values.device)
    order = values.gather(1, shuffled).argsort(dim=1, descending=True, stable=True)
    return shuffled.gather(1, order).argsort(1)


def _probabilities(
    model: nn.Module, images: Tensor, target: Tensor, gone: Tensor, size: tuple[int, int]
) -> Tensor:
    """Return the target's probability with the cells `gone` (B, n, cells): (B, n)."""
    places, probabilities = _places(size, images), []
    numbers = torch.arange(len(images), device=images.device).repeat_interleave(gone.shape[1])
    parts = zip(numbers.split(PICTURES), gone.flatten(0, 1).split(PICTURES), strict=True)
    with torch.inference_mode():
        for image, cells in parts:
            pictures = images[image].masked_fill(cells[:, places][:, None], 0)
            probabilities.append(model(pictures).softmax(1).gather(1, target[image, None]))
        return torch.cat(probabilities).reshape(gone.shape[:2])


def _places(size: tuple[int, int], images: Tensor) -> Tensor:
    """Return the number of the cell that each pixel is in: (H, W)."""
    (rows, columns), (height, width) = size, images.shape[-2:]
    row = torch.arange(height, device=images.device) * rows // height
    column = torch.arange(width, device=images.device) * columns // width
    return row[:, None] * columns + column
