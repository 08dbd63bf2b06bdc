import numpy as np
import pytest
import torch
from torch import Tensor

from lrp.metrics.localisation import Localiser, hits, mass


@pytest.fixture
def maps() -> Tensor:
    return torch.randn(6, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def masks() -> Tensor:
    return torch.rand(6, 64, 64, generator=torch.Generator().manual_seed(1)) < 0.1


def enlarged(values: Tensor) -> np.ndarray:
    return np.kron(values.numpy(), np.ones((8, 8)))


def test_mass_is_the_sum_over_the_masks_pixels(maps, masks):
    for share, values, mask in zip(mass(maps, masks).tolist(), maps, masks, strict=True):
        inside = everywhere = 0.0
        for value, ink in zip(enlarged(values).flat, mask.numpy().flat, strict=True):
            everywhere += max(value, 0)
            inside += max(value, 0) if ink else 0
        assert share == pytest.approx(inside / everywhere, abs=1e-5)


def test_mass_of_finer_maps_is_that_of_their_areas(masks):
    fine = torch.rand(6, 128, 128, generator=torch.Generator().manual_seed(2))
    coarse = torch.from_numpy(fine.numpy().reshape(6, 64, 2, 64, 2).mean((2, 4)))
    torch.testing.assert_close(mass(fine, masks), mass(coarse, masks))


def test_mass_knows_its_ends(masks):
    on_ink, elsewhere = masks.float(), -masks.float()
    assert mass(on_ink, masks).tolist() == [1] * 6
    assert mass(1 - on_ink, masks).tolist() == [0] * 6
    assert mass(elsewhere, masks).tolist() == [0] * 6  # nowhere positive
    even = mass(torch.ones(6, 8, 8), masks)
    torch.testing.assert_close(even, masks.float().mean((1, 2)))


def test_a_hit_is_ink_near_the_middle_of_the_strongest_patch(maps, masks):
    for hit, values, mask in zip(hits(maps, masks).tolist(), maps, masks, strict=True):
        row, column = np.unravel_index(int(values.argmax()), (8, 8))
        y, x = row * 8 + 3.5, column * 8 + 3.5  # between the four pixels in its middle
        near = [
            (i - y) ** 2 + (j - x) ** 2 <= (15 / 224 * 64) ** 2
            for i, j in np.argwhere(mask.numpy())
        ]
        assert hit == any(near)


def test_hits_and_misses():
    masks = torch.zeros(4, 64, 64, dtype=torch.bool)
    masks[:, 20, 20] = True
    maps = torch.zeros(4, 64, 64)
    maps[0, 20, 20] = 1  # on it
    maps[1, 20, 24] = 1  # four pixels off: 64 * 15 / 224 is 4.3
    maps[2, 20, 25] = 1  # five
    maps[3, 20, 20] = -1  # strongest against: the point is elsewhere
    assert hits(maps, masks).tolist() == [True, True, False, False]


def test_methods_are_kept_apart_and_meet_the_masks_in_order(maps, masks):
    find = Localiser(masks)
    for part in (slice(0, 4), slice(4, 6)):
        find("one", maps[part])
        find("other", -maps[part])
    for name, values in (("one", maps), ("other", -maps)):
        assert torch.equal(find.mass[name], mass(values, masks))
        assert torch.equal(find.hits[name], hits(values, masks))


def test_each_map_needs_a_mask(maps, masks):
    for function in (mass, hits):
        with pytest.raises(ValueError, match="one mask for each map"):
            function(maps, masks[:2])
