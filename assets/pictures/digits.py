"""Cluttered digits: real handwritten digits on a busy canvas, with the place of each digit known.

The sources are the 1,797 handwritten 8x8 digits that scikit-learn ships.  They are split once, so
that no handwriting is in two splits; a picture is a function of (split, index) alone.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.ndimage import maximum_filter

from assets.pictures import ink

SPLITS = ("train", "calibration", "validation")
LENGTHS = {"calibration": 512, "validation": 2000}  # training draws without end
CLASSES = tuple("0123456789")
SIZE = 64
SEED = 20240613
SHARES = {"train": 0.65, "calibration": 0.10}  # of the sources of each class; validation: the rest

MASK_ALPHA = 0.5  # a pixel is the digit's where ink covers at least half of it
FRAGMENTS = 1000  # pieces of strokes cut beforehand per split: cutting them anew is slow
PAIR_STREAM = 1000  # keeps pictures of pairs apart from single digits of the same index


@dataclass(frozen=True, eq=False)
class Sample:
    """One picture (RGB, 64x64), its class and where the digit's ink is (bool, 64x64)."""

    image: Image.Image
    label: int
    mask: np.ndarray


@dataclass(frozen=True, eq=False)
class Pair:
    """One picture of two digits of different classes, with the ink of each (bool, 64x64)."""

    image: Image.Image
    labels: tuple[int, int]
    masks: tuple[np.ndarray, np.ndarray]


class Sources(NamedTuple):
    """The handwritten digits of one split."""

    numbers: np.ndarray  # (n,) place in scikit-learn's data set
    labels: np.ndarray  # (n,)
    glyphs: tuple[Image.Image, ...]  # enlarged, grey
    fragments: tuple[np.ndarray, ...]  # pieces of those glyphs' strokes, for clutter


@lru_cache(maxsize=len(SPLITS))
def sources(split: str) -> Sources:
    """Return the handwritten digits of a split; ValueError for an unknown split."""
    from sklearn.datasets import load_digits  # slow to import, and needed for digits only

    if split not in SPLITS:
        raise ValueError(f"there is no split {split!r}: use one of {', '.join(SPLITS)}")
    bunch = load_digits()
    numbers = np.sort(np.concatenate([_share(split, bunch.target, k) for k in range(10)]))
    glyphs = tuple(ink.enlarge(bunch.images[n]) for n in numbers)
    generator = np.random.default_rng([SEED, SPLITS.index(split)])
    picks = generator.integers(len(glyphs), size=FRAGMENTS)
    pieces = tuple(
        ink.fragment(generator, glyphs[k], int(generator.integers(7, 13))) for k in picks
    )
    return Sources(numbers, bunch.target[numbers], glyphs, pieces)


def _share(split: str, labels: np.ndarray, label: int) -> np.ndarray:
    """Return the source numbers of one class that belong to a split."""
    members = np.flatnonzero(labels == label)
    shuffled = np.random.default_rng([SEED, label]).permutation(members)
    first = round(SHARES["train"] * len(members))
    second = first + round(SHARES["calibration"] * len(members))
    return dict(zip(SPLITS, np.split(shuffled, [first, second]), strict=True))[split]


def sample(split: str, index: int, difficulty: float = 1.0) -> Sample:
    """Draw the picture at an index of a split.

    Difficulty 0 is one large upright digit, 1 (every published figure) a digit of 26 to 40 pixels
    among fragments of other digits.
    """
    chosen, generator = sources(split), _generator(split, index, 0)
    number = int(generator.integers(len(chosen.labels)))
    pose = ink.random_pose(generator, *_heights(difficulty), tilt=6 + 10 * difficulty)
    digit = ink.stamp(chosen.glyphs[number], pose, SIZE)
    clutter = _clutter(generator, chosen, digit, round(difficulty * generator.integers(4, 10)))
    image = ink.compose(generator, [digit], clutter)
    return Sample(image, int(chosen.labels[number]), digit >= MASK_ALPHA)


def pair(split: str, index: int) -> Pair:
    """Draw two whole digits of different classes, side by side or one above the other."""
    chosen, generator = sources(split), _generator(split, index, PAIR_STREAM)
    first = int(generator.integers(len(chosen.labels)))
    others = np.flatnonzero(chosen.labels != chosen.labels[first])
    numbers = (first, int(generator.choice(others)))
    digits = _side_by_side(generator, [chosen.glyphs[n] for n in numbers])
    clutter = _clutter(generator, chosen, np.maximum(*digits), int(generator.integers(2, 5)))
    image = ink.compose(generator, digits, clutter)
    labels = (int(chosen.labels[numbers[0]]), int(chosen.labels[numbers[1]]))
    return Pair(image, labels, (digits[0] >= MASK_ALPHA, digits[1] >= MASK_ALPHA))


def _generator(split: str, index: int, stream: int) -> np.random.Generator:
    if index < 0:
        raise IndexError(f"index {index} is negative")
    return np.random.default_rng([SEED, SPLITS.index(split) + stream, index])


def _heights(difficulty: float) -> tuple[float, float]:
    """Return the least and greatest height of a digit, in pixels."""
    if not 0 <= difficulty <= 1:
        raise ValueError(f"difficulty {difficulty} is not within 0 to 1")
    return 42 - 16 * difficulty, 50 - 10 * difficulty


def _side_by_side(generator: np.random.Generator, glyphs: list[Image.Image]) -> list[np.ndarray]:
    """Stamp two digits, each within its own half of the picture, so that they cannot overlap."""
    across = bool(generator.integers(2))
    digits = []
    for half, glyph in zip((0.0, 0.5), glyphs, strict=True):
        pose = ink.random_pose(generator, 22, 26, tilt=10)
        free = generator.uniform(0, 1)
        place = (half * SIZE, 0.0, SIZE / 2, SIZE) if across else (0.0, half * SIZE, SIZE, SIZE / 2)
        digits.append(ink.stamp(glyph, ink.move_into(pose, place, free), SIZE))
    return digits


def _clutter(
    generator: np.random.Generator, chosen: Sources, digit: np.ndarray, fragments: int
) -> np.ndarray:
    """Scatter fragments of other digits' strokes where the digit is not; alpha (64, 64)."""
    clutter = np.zeros((SIZE, SIZE), np.float32)
    taken = maximum_filter(digit > 0.1, 7)  # and 3 pixels on each side
    for piece in generator.integers(len(chosen.fragments), size=fragments):
        ink.place(generator, clutter, chosen.fragments[piece], taken)
    return clutter
