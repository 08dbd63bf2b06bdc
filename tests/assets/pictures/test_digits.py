"""The bundled digits: reproducible, honestly split, and masks that tell where the ink is."""

from collections import Counter

import numpy as np
import pytest
from scipy import ndimage, stats
from sklearn.datasets import load_digits

from assets.pictures import digits

LUMA = np.array([0.299, 0.587, 0.114])


def luminance(picture) -> np.ndarray:
    return np.asarray(picture, float) / 255 @ LUMA


def inked(picture) -> np.ndarray:
    """Find ink without the generator: the smaller side of the best two-way split (Otsu)."""
    grey = ndimage.gaussian_filter(luminance(picture), 0.6)
    levels = np.linspace(grey.min(), grey.max(), 66)[1:-1]

    def between(level: float) -> float:
        above = grey > level
        share = above.mean()
        return share * (1 - share) * (grey[above].mean() - grey[~above].mean()) ** 2

    above = grey > max(levels, key=between)
    return above if above.mean() < 0.5 else ~above


def test_a_picture_depends_on_split_and_index_alone() -> None:
    first = digits.sample("validation", 7)
    digits.sample("train", 3)
    digits.sources.cache_clear()
    again = digits.sample("validation", 7)
    assert first.image.tobytes() == again.image.tobytes()
    assert first.label == again.label
    assert np.array_equal(first.mask, again.mask)


def test_pictures_differ_between_indices_and_splits() -> None:
    drawn = [digits.sample(s, i).image.tobytes() for s in digits.SPLITS for i in range(20)]
    drawn += [digits.pair(s, i).image.tobytes() for s in digits.SPLITS for i in range(20)]
    assert len(set(drawn)) == len(drawn)


def test_no_handwriting_is_in_two_splits() -> None:
    parts = [set(digits.sources(split).numbers.tolist()) for split in digits.SPLITS]
    everything = set().union(*parts)
    assert sum(map(len, parts)) == len(everything) == len(load_digits().target)


@pytest.mark.parametrize("split", digits.SPLITS)
def test_each_split_has_its_share_of_each_class(split: str) -> None:
    wanted = {"train": 0.65, "calibration": 0.10, "validation": 0.25}[split]
    all_labels = load_digits().target
    chosen = digits.sources(split)
    assert np.array_equal(all_labels[chosen.numbers], chosen.labels)
    shares = np.bincount(chosen.labels) / np.bincount(all_labels)
    assert np.abs(shares - wanted).max() < 0.01


def test_validation_labels_are_spread_over_the_classes() -> None:
    labels = [digits.sample("validation", i).label for i in range(1000)]
    assert stats.chisquare(np.bincount(labels, minlength=10)).pvalue > 1e-4


def test_pictures_are_rgb_of_64_pixels() -> None:
    drawn = digits.sample("calibration", 0)
    assert (drawn.image.mode, drawn.image.size) == ("RGB", (64, 64))
    assert (drawn.mask.dtype, drawn.mask.shape) == (np.dtype(bool), (64, 64))


def test_without_clutter_the_mask_is_the_ink() -> None:
    overlaps = []
    for index in range(30):
        drawn = digits.sample("train", index, difficulty=0.0)
        ink = inked(drawn.image)
        overlaps.append((drawn.mask & ink).sum() / (drawn.mask | ink).sum())
    assert np.median(overlaps) > 0.9
    assert min(overlaps) > 0.7


def test_the_mask_covers_the_digit_and_no_clutter() -> None:
    for index in range(60):
        drawn = digits.sample("validation", index)
        ink = inked(drawn.image)
        assert (drawn.mask & ink).sum() > 0.85 * drawn.mask.sum(), index
        pieces, _ = ndimage.label(ink)
        touching = np.isin(pieces, np.unique(pieces[drawn.mask & ink])) & ink
        near = ndimage.binary_dilation(drawn.mask, iterations=3)
        assert (touching & ~near).sum() <= 0.1 * drawn.mask.sum(), index


def test_clutter_grows_with_difficulty_and_the_digit_shrinks() -> None:
    def means(difficulty: float) -> tuple[float, float]:
        drawn = [digits.sample("train", i, difficulty) for i in range(40)]
        heights = [np.ptp(np.flatnonzero(d.mask.any(axis=1))) + 1 for d in drawn]
        clutter = [(inked(d.image) & ~ndimage.binary_dilation(d.mask, iterations=2)) for d in drawn]
        return float(np.mean(heights)), float(np.mean([c.sum() for c in clutter]))

    easy, hard = means(0.0), means(1.0)
    assert easy[0] > hard[0] + 5
    assert easy[1] < 0.2 * hard[1]


def test_ink_stands_out_from_the_background() -> None:
    for index in range(40):
        drawn = digits.sample("validation", index)
        core = ndimage.binary_erosion(drawn.mask)
        around = ndimage.binary_dilation(drawn.mask, iterations=3)
        ring = around & ~ndimage.binary_dilation(drawn.mask, iterations=2)
        light = luminance(drawn.image)
        assert abs(light[core].mean() - light[ring].mean()) > 0.35, index


def test_pairs_are_two_separate_digits_of_different_classes() -> None:
    seen: Counter[int] = Counter()
    for index in range(60):
        drawn = digits.pair("validation", index)
        first, second = drawn.masks
        assert drawn.labels[0] != drawn.labels[1]
        assert not (ndimage.binary_dilation(first) & second).any(), index
        assert min(first.sum(), second.sum()) > 25
        ink = inked(drawn.image)
        assert ((first | second) & ink).sum() > 0.8 * (first | second).sum(), index
        seen.update(drawn.labels)
    assert len(seen) == 10


def test_digits_lie_wholly_within_the_picture() -> None:
    for index in range(100):
        mask = digits.sample("validation", index).mask
        edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
        assert edge.sum() <= 3, index


@pytest.mark.parametrize("call", [digits.sample, digits.pair])
def test_wrong_splits_and_indices_are_refused(call) -> None:
    with pytest.raises(ValueError, match="there is no split 'test'"):
        call("test", 0)
    with pytest.raises(IndexError, match="-1"):
        call("train", -1)


def test_difficulty_outside_0_to_1_is_refused() -> None:
    with pytest.raises(ValueError, match=r"difficulty 1\.5"):
        digits.sample("train", 0, 1.5)
