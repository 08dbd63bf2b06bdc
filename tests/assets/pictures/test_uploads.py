"""Pictures of every kind and condition: opened as RGB, or refused in one sentence."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assets.errors import InputError
from assets.pictures.uploads import open_image

RAMP = np.linspace(0, 255, 40 * 30).reshape(30, 40).astype(np.uint8)


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_common_kinds_open_as_rgb(kind: str) -> None:
    picture = Image.new("RGB", (40, 30), (200, 40, 40))
    opened = open_image(encoded(picture, kind))
    assert (opened.mode, opened.size) == ("RGB", (40, 30))
    assert np.abs(np.asarray(opened, int) - np.asarray(picture, int)).max() <= 6


def test_path_text_bytes_and_stream_give_the_same(tmp_path: Path) -> None:
    data = encoded(Image.fromarray(RAMP).convert("RGB"), "PNG")
    file = tmp_path / "ramp.png"
    file.write_bytes(data)
    pictures = [open_image(s).tobytes() for s in (file, str(file), data, io.BytesIO(data))]
    assert len(set(pictures)) == 1


def test_the_content_counts_and_not_the_name(tmp_path: Path) -> None:
    file = tmp_path / "really_a_png.jpg"
    file.write_bytes(encoded(Image.new("RGB", (4, 4)), "PNG"))
    assert open_image(file).size == (4, 4)


def test_exif_orientation_is_applied() -> None:
    picture = Image.new("RGB", (40, 30), "white")
    picture.paste("black", (0, 0, 10, 10))  # top left
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it turned by 90 degrees clockwise
    opened = open_image(encoded(picture, "JPEG", exif=exif, quality=95))
    assert opened.size == (30, 40)
    assert opened.getpixel((26, 3))[0] < 40  # the black corner is now top right
    assert opened.getpixel((3, 3))[0] > 215


def test_transparency_lies_on_white() -> None:
    picture = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    picture.putpixel((1, 0), (0, 0, 0, 128))
    opened = open_image(encoded(picture, "PNG"))
    assert opened.getpixel((0, 0)) == (255, 255, 255)
    assert all(abs(value - 127) <= 1 for value in opened.getpixel((1, 0)))


def test_transparent_palette_and_grey_lie_on_white() -> None:
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((1, 0), 1)
    opened = open_image(encoded(palette, "PNG", transparency=0))
    assert [opened.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (200, 100, 50)]
    grey = open_image(encoded(Image.new("LA", (1, 1), (7, 0)), "PNG"))
    assert grey.getpixel((0, 0)) == (255, 255, 255)


def test_cmyk_opens_in_its_colours() -> None:
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    red, green, blue = open_image(encoded(cyan, "JPEG", quality=95)).getpixel((4, 4))
    assert red < 30 and green > 200 and blue > 200


def test_sixteen_bit_grey_is_scaled_and_not_clipped() -> None:
    deep = Image.fromarray(RAMP.astype(np.uint16) * 257)
    opened = np.asarray(open_image(encoded(deep, "PNG")))
    assert np.abs(opened[:, :, 1].astype(int) - RAMP).max() <= 1


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_other_modes_open_as_rgb(mode: str) -> None:
    assert open_image(encoded(Image.fromarray(RAMP).convert(mode), "PNG")).mode == "RGB"


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "green")]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert open_image(data).getpixel((8, 8)) == (255, 0, 0)


def test_text_named_png_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "notes.png"
    file.write_text("dear diary", encoding="utf-8")
    with pytest.raises(InputError, match=r"notes\.png is no PNG, JPEG or WebP picture"):
        open_image(file)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF"])
def test_other_kinds_of_picture_are_refused(kind: str) -> None:
    with pytest.raises(InputError, match="is no PNG, JPEG or WebP picture"):
        open_image(encoded(Image.new("RGB", (4, 4)), kind))


def test_nothing_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no PNG"):
        open_image(b"")
    with pytest.raises(InputError, match="cannot be read"):
        open_image(tmp_path / "absent.png")
    with pytest.raises(InputError, match="cannot be read"):
        open_image(tmp_path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_truncated_picture_is_refused(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    for share in (0.01, 0.1, 0.5, 0.9):
        with pytest.raises(InputError):
            open_image(data[: int(len(data) * share)])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_flipped_bytes_give_a_picture_or_an_input_error(kind: str) -> None:
    generator = np.random.default_rng(1)
    noise = generator.integers(0, 256, (32, 32, 3), np.uint8)
    original = np.frombuffer(encoded(Image.fromarray(noise), kind), np.uint8)
    outcomes = set()
    for _ in range(150):
        damaged = original.copy()
        damaged[generator.integers(0, len(damaged), 3)] ^= 0x5A
        try:
            outcomes.add(open_image(damaged.tobytes()).mode)
        except InputError:
            outcomes.add("refused")
    assert outcomes <= {"RGB", "refused"} and "refused" in outcomes


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and carries next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("side", [7_100, 10_000, 40_000])
def test_huge_pictures_are_refused_before_they_are_decoded(side: int) -> None:
    with pytest.raises(InputError, match="more than 50 million pixels"):
        open_image(png_header(side, side))
