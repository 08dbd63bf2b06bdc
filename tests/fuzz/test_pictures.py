"""Made-up and damaged pictures: read as RGB of a bounded size, or refused in one sentence."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from hypothesis import event, given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from assets.errors import InputError
from assets.pictures.uploads import MAX_PIXELS, check_resized, open_image
from tests.fuzz.guard import cases, outcome
from tests.fuzz.mutations import damaged

SIZES = (0, 1, 7, 24, 255, 7071, 16383, 65535, 2**24, 2**31 - 1, 2**32 - 1)
Parts = list[tuple[bytes, bytes]]  # of a file: what each part is called, and what it holds


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def exif() -> bytes:
    facts = Image.Exif()
    facts[0x0112] = 6
    facts[0x011A] = 72.5
    facts[0x010E] = "a picture"
    return facts.tobytes()


def originals() -> dict[str, list[bytes]]:
    """Small pictures of every kind that is read, by format."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 24, 4), np.uint8)
    rgb, rgba = Image.fromarray(noise[..., :3]), Image.fromarray(noise)
    grey = rgb.convert("L")
    deep = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    palette = rgb.convert("P")
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * 300, zip=True)
    text.add_itxt("Title", "ü" * 30, "de", "Titel", zip=True)
    return {
        "PNG": [
            *(encoded(one, "PNG") for one in (rgb, rgba, grey, deep, palette, rgb.convert("1"))),
            encoded(rgba.convert("LA"), "PNG", pnginfo=text, exif=exif()),
            encoded(palette, "PNG", transparency=0, icc_profile=bytes(200)),
            encoded(rgb, "PNG", save_all=True, append_images=[rgb, rgb]),
        ],
        "JPEG": [
            *(encoded(one, "JPEG") for one in (rgb, grey, rgb.convert("CMYK"))),
            encoded(rgb, "JPEG", progressive=True, exif=exif(), icc_profile=bytes(200)),
            encoded(rgb, "JPEG", restart_marker_rows=1, comment=b"c" * 90, subsampling=0),
        ],
        "WEBP": [
            *(encoded(one, "WEBP", lossless=True, exif=exif()) for one in (rgb, rgba)),
            encoded(rgb, "WEBP"),
            encoded(rgba, "WEBP", save_all=True, append_images=[rgba, rgba]),
        ],
    }


ORIGINALS = originals()
ALL = [data for files in ORIGINALS.values() for data in files]


def png_parts(data: bytes) -> Parts:
    parts, place = [], 8
    while place < len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        parts.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + size]))
        place += 12 + size
    return parts


def png(parts: Parts) -> bytes:
    """A PNG file; all its checksums are right."""
    chunks = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def jpeg_parts(data: bytes) -> Parts:
    """Segments up to the scan, whose pixels are a part by themselves."""
    parts, place = [], 2
    while data[place + 1] != 0xDA:
        size = int.from_bytes(data[place + 2 : place + 4], "big")
        parts.append((data[place : place + 2], data[place + 4 : place + 2 + size]))
        place += 2 + size
    return [*parts, (b"", data[place:])]


def jpeg(parts: Parts) -> bytes:
    segments = (
        kind + (struct.pack(">H", (len(body) + 2) % 65536) if kind else b"") + body
        for kind, body in parts
    )
    return b"\xff\xd8" + b"".join(segments)


def webp_parts(data: bytes) -> Parts:
    parts, place = [], 12
    while place < len(data):
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        parts.append((data[place : place + 4], data[place + 8 : place + 8 + size]))
        place += 8 + size + size % 2
    return parts


def webp(parts: Parts) -> bytes:
    body = b"".join(
        kind + struct.pack("<I", len(part)) + part + bytes(len(part) % 2) for kind, part in parts
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


FORMATS: dict[str, tuple[Callable[[bytes], Parts], Callable[[Parts], bytes]]] = {
    "PNG": (png_parts, png),
    "JPEG": (jpeg_parts, jpeg),
    "WEBP": (webp_parts, webp),
}


@st.composite
def rebuilt(draw) -> bytes:
    """A file whose parts were dropped, repeated, moved, swapped for others' or damaged."""
    kind = draw(st.sampled_from(sorted(FORMATS)))
    take_apart, build = FORMATS[kind]
    parts = take_apart(draw(st.sampled_from(ORIGINALS[kind])))
    others = take_apart(draw(st.sampled_from(ORIGINALS[kind])))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(parts) - 1))
        name, body = parts[at]
        new = draw(
            st.sampled_from(
                (
                    [],
                    [(name, body)] * draw(st.integers(2, 300)),
                    [draw(st.sampled_from(others))],
                    [(name, draw(damaged([body])))],
                    [(name, sized(draw, body))],
                    [(draw(st.sampled_from(others))[0], body)],
                )
            )
        )
        parts[at : at + 1] = new
        if not parts:
            break
    return build(parts)


def sized(draw, body: bytes) -> bytes:
    """Set two sizes beside each other, as width and height are in all three formats."""
    at = draw(st.integers(0, min(len(body), 16)))
    form = draw(st.sampled_from((">II", ">HH", "<II", "<HH")))
    most = 2 ** (8 * struct.calcsize(form[:2]))
    numbers = [draw(st.sampled_from(SIZES)) % most for _ in range(2)]
    return body[:at] + struct.pack(form, *numbers) + body[at + struct.calcsize(form) :]


def check(data: bytes) -> None:
    picture = outcome(lambda: open_image(data), InputError)
    if picture is None:
        return
    event("read")
    assert picture.mode == "RGB"
    assert np.asarray(picture).shape == (picture.height, picture.width, 3)
    assert 0 < picture.width * picture.height <= MAX_PIXELS
    scale = max(224 / picture.width, 224 / picture.height)
    small = picture.width * scale * picture.height * scale <= 2 * MAX_PIXELS
    assert outcome(lambda: [check_resized(picture, 224, 224)], InputError) is None or small


@given(damaged(ALL))
@cases(400)
def test_damaged_pictures(data: bytes) -> None:
    check(data)


@given(rebuilt())
@cases(400)
def test_pictures_of_other_parts(data: bytes) -> None:
    check(data)


@given(st.binary(max_size=200), st.sampled_from([data[:32] for data in ALL]))
@cases(100)
def test_bytes_that_begin_as_a_picture(data: bytes, begin: bytes) -> None:
    check(data)
    check(begin + data)
