"""Pictures of relevance: what is red, what is blue, what stays as it was."""

import numpy as np
from PIL import Image

from lrp.maps import pictures

GREY = Image.new("RGB", (40, 40), (128, 128, 128))


def signs() -> np.ndarray:
    values = np.zeros((4, 4))
    values[0, 0], values[3, 3] = 1, -1
    return values


def channels(picture: Image.Image, x: int, y: int) -> tuple[int, int, int]:
    red, green, blue = np.asarray(picture)[y, x][:3].astype(int)
    return int(red), int(green), int(blue)


def test_positive_is_red_negative_is_blue_and_zero_shows_the_picture() -> None:
    shown = pictures.overlay(GREY, signs(), opacity=1, smooth=False)
    red, _, blue = channels(shown, 4, 4)
    assert red > blue + 60
    red, _, blue = channels(shown, 35, 35)
    assert blue > red + 60
    assert channels(shown, 35, 4) == (128, 128, 128)


def test_the_sign_can_be_told_without_red_and_green() -> None:
    # What matters to most colour-blind eyes: the two ends differ in their blue.
    row = np.asarray(pictures.legend(101)).astype(int)[0]
    assert row[95, 2] < row[5, 2] - 30
    lightness = row @ [0.299, 0.587, 0.114]
    assert lightness[50] > lightness[25] > lightness[0]
    assert lightness[50] > lightness[75] > lightness[100]


def test_no_opacity_leaves_the_grey_picture() -> None:
    colourful = Image.new("RGB", (40, 40), (200, 30, 90))
    shown = np.asarray(pictures.overlay(colourful, signs(), opacity=0)).astype(int)
    assert np.ptp(shown, axis=2).max() == 0
    assert abs(shown[0, 0, 0] - (0.299 * 200 + 0.587 * 30 + 0.114 * 90)) < 2


def test_patches_stay_squares_unless_smoothed() -> None:
    squares = np.asarray(pictures.overlay(GREY, signs(), smooth=False))
    smooth = np.asarray(pictures.overlay(GREY, signs(), smooth=True))
    assert len(np.unique(squares.reshape(-1, 3), axis=0)) == 3
    assert len(np.unique(smooth.reshape(-1, 3), axis=0)) > 20


def test_a_map_is_laid_where_it_belongs() -> None:
    values = np.zeros((2, 4))
    values[1, 3] = 1  # bottom right of a wide picture
    shown = np.asarray(pictures.overlay(Image.new("RGB", (80, 40), "grey"), values, smooth=False))
    coloured = np.ptp(shown.astype(int), axis=2) > 0
    assert coloured[20:, 60:].all()
    assert coloured.sum() == 20 * 20


def test_scale_is_by_the_largest_magnitude() -> None:
    assert pictures.scale(np.array([[-4.0, 2.0]])).tolist() == [[-1.0, 0.5]]
    assert pictures.scale(np.zeros((2, 2))).tolist() == [[0, 0], [0, 0]]


def test_scale_by_a_quantile_saturates_what_is_beyond() -> None:
    values = np.ones((10, 100))
    values[0, 0] = 1000
    scaled = pictures.scale(values, 0.99)
    assert scaled[0, 0] == 1
    assert scaled[5, 5] == 1
    assert pictures.scale(np.eye(50), 0.5).max() == 1  # a quantile of 0 falls back to the peak


def test_the_model_input_is_turned_back_into_the_picture() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 6, 3)).astype(np.uint8)
    mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    inputs = ((pixels / 255 - mean) / deviation).transpose(2, 0, 1)
    assert np.array_equal(np.asarray(pictures.from_model_input(inputs, mean, deviation)), pixels)


def test_heat_keeps_the_shape_of_its_map() -> None:
    assert pictures.heat(np.zeros((5, 10)), 200).size == (200, 100)
    assert channels(pictures.heat(np.zeros((2, 2)), 20), 5, 5) == (247, 247, 247)


def test_a_veil_over_a_grey_picture_is_the_overlay() -> None:
    # The browser blends the veil itself, at any opacity: it must show what a download holds.
    values = np.random.default_rng(2).uniform(-1, 1, (7, 7))
    noise = np.random.default_rng(3).integers(0, 256, (60, 80)).astype(np.uint8)
    ground = Image.fromarray(noise).convert("RGB")
    veil = pictures.veil(values, ground.size)
    for opacity in (0.0, 0.35, 1.0):
        faded = veil.getchannel("A").point(lambda a, o=opacity: round(a * o))
        blended = Image.composite(veil.convert("RGB"), ground, faded)
        shown = pictures.overlay(ground, values, opacity)
        difference = np.asarray(blended).astype(int) - np.asarray(shown).astype(int)
        assert np.abs(difference).max() <= 2


def test_smoothing_invents_no_sign() -> None:
    values = np.zeros((6, 6))
    values[2, 3] = 1
    shown = np.asarray(pictures.overlay(GREY, values, opacity=1)).astype(int)
    assert (shown[..., 0] >= shown[..., 2]).all()  # red or grey, nowhere blue


def test_a_scale_for_support_only_starts_at_white() -> None:
    row = np.asarray(pictures.legend(50, lowest=0)).astype(int)[0]
    assert row[0].tolist() == [247, 247, 247]
    assert (row[10:, 0] > row[10:, 2]).all()
