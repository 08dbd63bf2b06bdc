"""Views of images: what they keep of them, by looking for it."""

import pytest
import torch
import torch.nn.functional as F

from quant.primitives.views import LEAST, with_views


def slopes(size: tuple[int, int] = (40, 60)) -> torch.Tensor:
    """Four images (3, H, W) whose channels are a pixel's row, its column and one, 0 to 1."""
    rows, columns = (torch.linspace(0, 1, n) for n in size)
    ramp = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
    return torch.cat([ramp, torch.ones(1, *size)]).expand(4, -1, -1, -1)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_images_come_first_and_views_are_crops_in_proportion(count: int) -> None:
    images = slopes()
    found = with_views(images, count)
    assert found.shape == ((1 + count) * 4, 3, 40, 60)
    assert torch.equal(found[:4], images)
    mirrored = []
    for view in found[4:]:
        down, across = (
            (view[0, 30, 30] - view[0, 10, 30]) * 2,
            (view[1, 20, 45] - view[1, 20, 15]) * 2,
        )
        assert LEAST**0.5 - 0.05 < down < 1.05  # the share of the height that is seen
        assert float(across.abs()) == pytest.approx(float(down), abs=0.06)  # and of the width
        assert torch.allclose(view[2], torch.ones(40, 60), atol=1e-5)
        mirrored.append(bool(across < 0))
    assert count < 3 or 0 < sum(mirrored) < len(mirrored)


def test_views_are_the_same_again_and_differ_from_one_another() -> None:
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    found = with_views(images, 4)
    assert torch.equal(found, with_views(images, 4))
    flat = found.flatten(1)
    assert (torch.cdist(flat, flat) + torch.eye(15) > 0.1).all()


def test_the_mean_colour_of_smooth_images_stays_near() -> None:
    small = torch.rand(8, 3, 2, 2, generator=torch.Generator().manual_seed(2))
    images = F.interpolate(small, size=(32, 32), mode="bilinear")
    views = with_views(images, 1)[8:]
    assert (views.mean((2, 3)) - images.mean((2, 3))).abs().max() < 0.3
    assert views.min() >= images.min() - 1e-5  # nothing is made up at the edges
    assert views.max() <= images.max() + 1e-5
