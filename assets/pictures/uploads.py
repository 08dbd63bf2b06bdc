"""Open a picture from anywhere as plain RGB; what cannot be a picture is refused in words."""

import re
import warnings
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from assets.errors import InputError, shown
from assets.files import read_file

FORMATS = ("PNG", "JPEG", "WEBP")  # told by content, not by name
MAX_PIXELS = 50_000_000  # of a picture, and of what resizing makes of it
MAX_BYTES = 200_000_000  # 50 million pixels of noise in a PNG file have 150
MAX_EXIF = 70_000  # bytes: a part of a JPEG file has at most 65,533
PNG, MAX_CHUNKS = b"\x89PNG\r\n\x1a\n", 50_000  # 200 MB in the usual chunks are 25,000
JPEG, MARKER = b"\xff\xd8", re.compile(rb"\xff([\x02-\xcf\xd9-\xfe])")
SCAN, END = b"\xda", b"\xd9"
MAX_SCANS, MAX_SEGMENTS = 100, 1000  # a progressive JPEG has about ten scans
# How a picture is turned upright by the orientation that a camera wrote into it.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def open_image(source: Path | str | bytes | BinaryIO) -> Image.Image:
    """Return a picture as RGB: upright, transparency on white, 16-bit grey scaled to 8.

    Of an animation the first frame.  Raises InputError for what is no PNG, JPEG or WebP, is
    damaged, or has more than 50 million pixels or 200 MB; for a path that is no regular file too.
    """
    data, name = _read(source)
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures, and of damage beside the pixels.
            warnings.simplefilter("ignore")
            picture = _decoded(data, name)
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"{name} is no PNG, JPEG or WebP picture: convert it to one") from error
    except Image.DecompressionBombError as error:
        raise _too_large(name) from error
    except MemoryError as error:
        raise InputError(f"{name} needs more memory than there is: shrink it") from error
    except Exception as error:  # Pillow raises any kind over bytes made to mislead it
        raise InputError(f"{name} is damaged and cannot be decoded: save it anew") from error
    picture.info["name"] = name
    return picture


def check_resized(picture: Image.Image, height: float, width: float) -> None:
    """Raise InputError where a picture that is resized to cover so many pixels gets too many.

    Of a thin picture the other side becomes as many times longer.
    """
    scale = min(picture.width / width, picture.height / height)
    if picture.width * picture.height > MAX_PIXELS * scale**2:
        name, size = picture.info.get("name", "the picture"), f"{picture.width:,} by "
        raise InputError(
            f"{name} has {size}{picture.height:,} pixels: too thin to be resized, crop it"
        )


def _read(source: Path | str | bytes | BinaryIO) -> tuple[bytes, str]:
    """Return the bytes and what to call them in a message."""
    if isinstance(source, (str, Path)):
        return read_file(source, "picture", MAX_BYTES), shown(Path(source).name, 80)
    if isinstance(source, bytes):
        data, name = source, "the picture"
    else:
        data = source.read(MAX_BYTES + 1)
        name = shown(getattr(source, "name", "the picture"), 80)
    if len(data) > MAX_BYTES:
        raise InputError(f"{name} has more than {MAX_BYTES // 1_000_000} MB: shrink it")
    return data, name


def _decoded(data: bytes, name: str) -> Image.Image:
    """Decode a picture of a permitted kind and size; any error where it is not whole."""
    if not _few_parts(data):
        raise InputError(f"{name} is made of too many parts: save it anew")
    picture = Image.open(BytesIO(data), formats=FORMATS)
    if picture.width * picture.height > MAX_PIXELS:
        raise _too_large(name)
    picture.verify()  # after this it has to be opened anew
    picture = Image.open(BytesIO(data), formats=FORMATS)
    picture.load()
    return _rgb(_upright(picture))


def _few_parts(data: bytes) -> bool:
    """Return whether a JPEG or PNG has no parts without end, each of which takes time."""
    if data.startswith(PNG):
        return _few_chunks(data)
    return not data.startswith(JPEG) or _few_segments(data)


def _few_chunks(data: bytes) -> bool:
    place = len(PNG)
    for _ in range(MAX_CHUNKS):
        place += 12 + int.from_bytes(data[place : place + 4], "big")
    return place >= len(data)


def _few_segments(data: bytes) -> bool:
    """Return it of a JPEG: a scan of a progressive one is a pass over all pixels."""
    scans, place = 0, len(JPEG)
    for _ in range(MAX_SEGMENTS):
        marker = MARKER.search(data, place)
        if marker is None or marker[1] == END:
            return True
        scans += marker[1] == SCAN
        if scans > MAX_SCANS:
            break
        place = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return False


def _too_large(name: str) -> InputError:
    return InputError(f"{name} has more than {MAX_PIXELS // 1_000_000} million pixels: shrink it")


def _upright(picture: Image.Image) -> Image.Image:
    """Turn a picture as its EXIF says; one that says nothing readable stays as it is.

    Pillow's `exif_transpose` writes the EXIF anew too, which fails on a broken rational.
    """
    parts = (picture.info.get(key) or "" for key in ("exif", "Raw profile type exif"))
    if any(len(part) > MAX_EXIF for part in parts):
        return picture
    try:
        turn = TURNS.get(int(picture.getexif().get(ExifTags.Base.Orientation, 1)))
    except Exception:  # of a damaged EXIF; the pixels are whole
        return picture
    return picture if turn is None else picture.transpose(turn)


def _rgb(picture: Image.Image) -> Image.Image:
    """Convert any of the modes that the permitted formats decode to."""
    if picture.mode.startswith("I"):  # 16-bit grey, which Pillow would clip at 255
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if "A" in picture.mode or "a" in picture.mode or "transparency" in picture.info:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    return picture if picture.mode == "RGB" else picture.convert("RGB")
