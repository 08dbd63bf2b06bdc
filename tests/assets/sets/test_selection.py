import pytest
import torch

from assets.errors import InputError
from assets.models.load import load_model
from assets.sets.image_set import load_images
from assets.sets.selection import batches, divide, pictures, take


@pytest.fixture(scope="module")
def images():
    return load_images(None, load_model("digits-swin"), "calibration")


def test_a_seed_fixes_the_order_and_no_image_comes_twice(images):
    first, again, other = take(images, 40), take(images, 40), take(images, 40, seed=1)
    assert first.indices == again.indices != other.indices
    assert len(set(first.indices)) == 40
    assert set(take(images, None).indices) == set(images.indices)
    assert take(images, 10).indices == first.indices[:10]


def test_no_image_both_calibrates_and_is_measured(images):
    calibration, measured = divide(images, 32)
    assert len(calibration) == 32
    assert not set(calibration.indices) & set(measured.indices)
    assert len(measured) == len(images) - 32
    assert calibration.indices == take(images, 32).indices
    assert divide(images, 32, 50)[1].indices == measured.indices[:50]
    assert len(divide(images, 500, 50)[1]) == len(images) - 500


def test_batches_keep_order_and_labels(images):
    chosen = take(images, 10)
    found = list(batches(chosen, 4))
    assert [len(labels) for _, labels in found] == [4, 4, 2]
    assert torch.cat([labels for _, labels in found]).tolist() == [
        chosen.label(i) for i in range(10)
    ]
    assert torch.equal(found[1][0][1], chosen[5][0])
    alone = list(pictures(chosen, 4))
    assert all(torch.equal(a, b) for a, (b, _) in zip(alone, found, strict=True))


@pytest.mark.parametrize("count", [0, -1, 10_000])
def test_counts_that_cannot_be_are_refused(images, count):
    with pytest.raises(InputError, match=f"{count} images asked of 512: use 1 to 512"):
        take(images, count)
    with pytest.raises(InputError, match="others are left to measure"):
        divide(images, count)


def test_a_limit_below_one_is_refused(images):
    with pytest.raises(InputError, match="a limit of 0 images: use 1 or more"):
        divide(images, 8, 0)
