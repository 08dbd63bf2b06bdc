from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from lrp.maps.cells import PICTURES, grid
from lrp.metrics.deletion import curves, deleted, ends


class Weighted(nn.Module):
    """Two classes; each of 4 x 4 patches of 8 pixels speaks for class 0 by its own weight."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = weights.repeat_interleave(8, 0).repeat_interleave(8, 1) / 64
        self.patch_embed = SimpleNamespace(patch_size=(8, 8))
        self.sizes: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.sizes.append(len(images))
        logit = (images.mean(1) * self.weights).sum((1, 2))
        return torch.stack([logit, torch.zeros_like(logit)], 1)


@pytest.fixture
def weights() -> Tensor:
    return torch.randn(4, 4, generator=torch.Generator().manual_seed(1))


def one_by_one(model: nn.Module, image: Tensor, order: list[int], side: int, target: int, at: set):
    """Grey one cell after another in a picture of bytes, 128 being grey, and ask the model."""
    pixels = np.asarray(to_picture(image)).copy()
    cells = pixels.shape[0] // side
    found = []
    for gone in range(side * side + 1):
        if gone:
            row, column = divmod(order[gone - 1], side)
            for y in range(row * cells, (row + 1) * cells):
                for x in range(column * cells, (column + 1) * cells):
                    pixels[y, x] = 128
        if gone in at:
            with torch.no_grad():
                logits = model(to_input(Image.fromarray(pixels))[None])[0].double()
            found.append(float(logits.exp()[target] / logits.exp().sum()))
    return found


def to_picture(image: Tensor) -> Image.Image:
    values = (image.permute(1, 2, 0).numpy() * 64 + 128).round().clip(0, 255)
    return Image.fromarray(values.astype(np.uint8))


def to_input(picture: Image.Image) -> Tensor:
    return torch.from_numpy((np.asarray(picture, np.float32) - 128) / 64).permute(2, 0, 1)


def test_curves_are_those_of_deleting_one_cell_after_another(model, images):
    images = torch.stack([to_input(to_picture(image)) for image in images])
    side = grid(model, 32, 32)[0]
    maps = torch.randn(len(images), side, side, generator=torch.Generator().manual_seed(2))
    target = torch.tensor([4, 0, 2])
    morf, lerf = curves(model, images, maps, target, steps=8)
    at = set(deleted(side * side, 8).tolist())
    for t, image in enumerate(images):
        values = maps[t].flatten().tolist()
        order = sorted(range(len(values)), key=lambda cell: -values[cell])
        for curve, way in ((morf, order), (lerf, order[::-1])):
            expected = one_by_one(model, image, way, side, int(target[t]), at)
            torch.testing.assert_close(curve[t], torch.tensor(expected), rtol=1e-4, atol=1e-6)


def test_the_best_order_of_a_linear_model_cannot_be_beaten(weights):
    model, image = Weighted(weights), torch.ones(1, 3, 32, 32)
    best, worst = curves(model, image, weights[None], torch.tensor([0]), steps=16)
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        other = torch.randn(1, 4, 4, generator=generator)
        morf, lerf = curves(model, image, other, torch.tensor([0]), steps=16)
        assert (best <= morf + 1e-6).all() and (morf <= worst + 1e-6).all()
        assert (best <= lerf + 1e-6).all() and (lerf <= worst + 1e-6).all()


def test_a_map_is_read_in_cells_by_its_mean(weights):
    model, images = Weighted(weights), torch.ones(1, 3, 32, 32)
    target = torch.tensor([0])
    pixels = weights.repeat_interleave(8, 0).repeat_interleave(8, 1)
    noise = torch.randn(32, 32, generator=torch.Generator().manual_seed(3))
    for row in range(4):  # noise without a mean in any cell
        for column in range(4):
            cell = noise[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8]
            cell -= cell.mean()
    expected = curves(model, images, weights[None], target)
    for values in (pixels, pixels + 0.01 * noise):
        torch.testing.assert_close(curves(model, images, values[None], target), expected)


def test_a_batch_gives_what_its_images_give_one_at_a_time(model, images):
    maps = torch.randint(0, 3, (3, 4, 4), generator=torch.Generator().manual_seed(4)).float()
    target = torch.tensor([1, 3, 0])
    together = curves(model, images, maps, target, generator=torch.Generator().manual_seed(7))
    generator = torch.Generator().manual_seed(7)
    for t in range(3):
        one = slice(t, t + 1)
        alone = curves(model, images[one], maps[one], target[one], generator=generator)
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[one], b, rtol=1e-4, atol=1e-6)


def test_a_constant_map_is_not_rewarded_for_its_order():
    # Only the first row of patches counts: a map that always went from the top would be perfect.
    weights = torch.zeros(4, 4)
    weights[0] = 4
    count = 400
    morf, lerf = curves(
        Weighted(weights),
        torch.ones(count, 3, 32, 32),
        torch.ones(count, 4, 4),
        torch.zeros(count, dtype=torch.long),
        steps=16,
    )
    gap = lerf.mean(1) - morf.mean(1)
    assert gap.std() > 0.05  # the order does matter
    assert abs(gap.mean()) < 4 * gap.std() / count**0.5


def test_the_same_generator_gives_the_same_order(weights):
    model, images = Weighted(weights), torch.ones(2, 3, 32, 32)
    constant, target = torch.zeros(2, 4, 4), torch.zeros(2, dtype=torch.long)
    first, again, other = (
        curves(model, images, constant, target, generator=torch.Generator().manual_seed(seed))[0]
        for seed in (5, 5, 6)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_forward_passes_are_bounded_and_known_ends_are_not_asked_again(weights):
    model, images = Weighted(weights), torch.ones(5, 3, 32, 32)
    target, maps = torch.zeros(5, dtype=torch.long), weights.expand(5, 4, 4)
    known = ends(model, images)
    assert model.sizes == [6]
    model.sizes.clear()
    found = curves(model, images, maps, target, steps=14, known=known)
    assert max(model.sizes) <= PICTURES
    assert sum(model.sizes) == 5 * 2 * 13
    torch.testing.assert_close(found, curves(model, images, maps, target, steps=14))


@pytest.mark.parametrize(
    ("patch", "size", "expected"),
    [
        ((16, 16), (224, 224), (14, 14)),
        ((4, 4), (224, 224), (14, 14)),  # Swin: four by four patches a cell
        ((14, 14), (518, 518), (13, 13)),  # 37 patches a side
        ((8, 8), (64, 128), (8, 16)),
        ((32, 32), (16, 64), (1, 2)),
    ],
)
def test_cells_are_patches_joined_until_they_are_few(patch, size, expected):
    model = Weighted(torch.zeros(4, 4))
    model.patch_embed.patch_size = patch
    assert grid(model, *size) == expected


def test_a_model_without_patches_has_cells_too():
    assert grid(nn.Flatten(), 224, 224) == (14, 14)


def test_uneven_cells_cover_each_pixel_once():
    seen = []

    class Watch(nn.Module):
        patch_embed = SimpleNamespace(patch_size=(1, 1))

        def forward(self, pictures: Tensor) -> Tensor:
            seen.append(pictures[:, 0] == 0)
            return torch.zeros(len(pictures), 2)

    assert grid(Watch(), 37, 37) == (13, 13)
    curves(Watch(), torch.ones(1, 3, 37, 37), torch.randn(1, 37, 37), torch.tensor([0]), steps=13)
    most, least = torch.cat(seen)[: 2 * 12].reshape(2, 12, 37, 37)
    for gone, rest in zip(most, least.flip(0), strict=True):  # the first k cells, all but those k
        assert torch.equal(gone, ~rest)
    assert (most[1:] & ~most[:-1]).any((1, 2)).all() and (most[1:] | ~most[:-1]).all()


def test_steps_are_spread_evenly():
    assert deleted(196).tolist() == list(range(0, 197, 14))
    assert deleted(16, 3).tolist() == [0, 5, 11, 16]


@pytest.mark.parametrize("steps", [1, 17])
def test_steps_that_do_not_suit_are_refused(steps, weights):
    with pytest.raises(ValueError, match=f"{steps} steps to delete 16 cells: use 2 to 16"):
        curves(
            Weighted(weights),
            torch.ones(1, 3, 32, 32),
            weights[None],
            torch.tensor([0]),
            steps=steps,
        )


def test_a_map_that_is_not_finite_is_refused(weights):
    maps = weights[None].clone()
    maps[0, 1, 1] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        curves(Weighted(weights), torch.ones(1, 3, 32, 32), maps, torch.tensor([0]))
