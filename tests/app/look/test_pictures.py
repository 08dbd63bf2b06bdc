"""Pictures as the page arranges and sends them."""

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from app.look import pictures

GREY = Image.new("RGB", (40, 40), (128, 128, 128))


def channels(picture: Image.Image, x: int, y: int) -> tuple[int, int, int]:
    red, green, blue = np.asarray(picture)[y, x][:3].astype(int)
    return int(red), int(green), int(blue)


@pytest.mark.parametrize("size", [(300, 40), (40, 300), (50, 50)])
def test_a_thumbnail_is_a_square_of_the_middle(size: tuple[int, int]) -> None:
    picture = Image.new("RGB", size, "red")
    middle = (size[0] // 2 - 15, size[1] // 2 - 15)
    picture.paste(Image.new("RGB", (30, 30), "blue"), middle)
    small = pictures.thumbnail(picture, 96)
    assert small.size == (96, 96)
    red, _, blue = channels(small, 48, 48)
    assert blue > red


def test_a_data_url_holds_the_picture() -> None:
    head, _, body = pictures.data_url(GREY).partition(",")
    assert head == "data:image/webp;base64"
    assert Image.open(BytesIO(base64.b64decode(body))).size == GREY.size


def test_pictures_stand_in_a_row_with_clear_gaps() -> None:
    row = pictures.side_by_side([GREY, Image.new("RGB", (20, 40), "red")], gap=8)
    assert row.size == (40 + 8 + 20, 40)
    assert row.getpixel((44, 10))[3] == 0
    assert row.getpixel((50, 10)) == (255, 0, 0, 255)
