import pytest
import torch
from PIL import Image

from assets.errors import InputError
from assets.models.load import load_model
from assets.sets.image_set import load_images
from assets.sets.selection import Draw, batches, pictures, take


@pytest.fixture(scope="module")
def images():
    return load_images(None, load_model("digits-swin"), "calibration")


def drawn(images, *counts):
    """The images that calibrate and those that are measured, all out of one set."""
    draw = Draw(load_model("digits-swin"), None, None, *counts, open=lambda *asked: images)
    measured = draw.measured  # first, as it says more of a count that cannot be
    return draw.calibrating, measured


def test_a_seed_fixes_the_order_and_no_image_comes_twice(images):
    first, again, other = take(images, 40), take(images, 40), take(images, 40, seed=1)
    assert first.indices == again.indices != other.indices
    assert len(set(first.indices)) == 40
    assert set(take(images, None).indices) == set(images.indices)
    assert take(images, 10).indices == first.indices[:10]


def test_no_image_both_calibrates_and_is_measured(images):
    calibration, measured = drawn(images, 32)
    assert len(calibration) == 32
    assert not set(calibration.indices) & set(measured.indices)
    assert len(measured) == len(images) - 32
    assert calibration.indices == take(images, 32).indices
    assert drawn(images, 32, 50)[1].indices == measured.indices[:50]
    assert len(drawn(images, 500, 50)[1]) == len(images) - 500


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
        drawn(images, count)


def test_a_limit_below_one_is_refused(images):
    with pytest.raises(InputError, match="a limit of 0 images: use 1 or more"):
        drawn(images, 8, 0)


@pytest.fixture(scope="module", params=[None, 20, 40, 500])
def of(request, tmp_path_factory):
    """A folder of so many pictures in ten classes, or the bundled digits, as draws are asked of."""
    if request.param is None:
        return None
    root = tmp_path_factory.mktemp("pictures")
    for number in range(request.param):
        place = root / str(number % 10)
        place.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (number % 256, number // 256, 0)).save(place / f"{number}.png")
    return str(root)


def places(images):
    """Where pictures come from: their source and their place in it."""
    return {(images.source.key, index) for index in images.indices}


@pytest.mark.parametrize("limit", [None, 1, 100])
@pytest.mark.parametrize("seed", [0, 1])
def test_what_calibrates_or_scores_is_never_measured(of, limit, seed):
    loaded = load_model("digits-swin")
    for count in (1, 19, 32):
        draw = Draw(loaded, of, None, count, limit, seed)
        if of is not None and len(draw._pool) <= count:
            assert draw.most == 0
            with pytest.raises(InputError):
                _ = draw.measured
            continue
        measured, scorable = places(draw.measured), places(draw.scorable)
        assert len(draw.measured) == min(draw.most, limit or draw.most)
        assert places(draw.calibrating) <= scorable
        assert not scorable & measured
        assert scorable | measured >= places(load_images(of, loaded, "calibration"))
        assert draw.scorable.indices[:count] == draw.calibrating.indices


def test_what_scores_is_what_scored_before_as_far_as_that_is_not_measured(of):
    """Of a folder the first images of the order, as many as calibrate; of the digits any number."""
    draw = Draw(load_model("digits-swin"), of, None, 32, 60)
    pool = load_images(of, load_model("digits-swin"), "calibration")
    for count in (1, 32) if of is not None else (1, 32, 256):
        if count <= len(pool):
            assert draw.scorable.subset(range(count)).key == take(pool, count).key


def test_more_images_score_alike_however_many_are_measured(of):
    few, many = (Draw(load_model("digits-swin"), of, None, 32, limit) for limit in (60, 100))
    count = min(len(few.scorable), len(many.scorable))
    assert few.scorable.indices[:count] == many.scorable.indices[:count]


def test_a_folder_that_all_calibrates_can_score(images):
    few = images.subset(range(20))
    draw = Draw(load_model("digits-swin"), None, None, 20, open=lambda *asked: few)
    assert draw.most == 0
    assert draw.scorable.key == draw.calibrating.key == take(few, 20).key
