"""Open a picture from anywhere as plain RGB; what cannot be a picture is refused in words."""

import struct
import warnings
import zlib
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from assets.errors import InputError

FORMATS = ("PNG", "JPEG", "WEBP")  # told by content, not by name
MAX_PIXELS = 50_000_000
BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError)


def open_image(source: Path | str | bytes | BinaryIO) -> Image.Image:
    """Return a picture as RGB: upright, transparency on white, 16-bit grey scaled to 8.

    Of an animation the first frame.  Raises InputError for what is no PNG, JPEG or WebP, is
    damaged, or has more than 50 million pixels.
    """
    data, name = _read(source)
    _check(data, name)
    try:
        picture = Image.open(BytesIO(data), formats=FORMATS)
        picture.load()
        return _rgb(ImageOps.exif_transpose(picture))
    except BROKEN as error:
        raise InputError(f"{name} is damaged and cannot be decoded: save it anew") from error


def _read(source: Path | str | bytes | BinaryIO) -> tuple[bytes, str]:
    """Return the bytes and what to call them in a message."""
    if isinstance(source, bytes):
        return source, "the picture"
    if not isinstance(source, (str, Path)):
        return source.read(), str(getattr(source, "name", "the picture"))
    try:
        return Path(source).read_bytes(), Path(source).name
    except OSError as error:
        raise InputError(f"{source} cannot be read: give the path of a picture file") from error


def _check(data: bytes, name: str) -> None:
    """Raise InputError unless the bytes are a whole picture of a permitted kind and size."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures; the limit below is lower and answers in words.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(BytesIO(data), formats=FORMATS)
        pixels = picture.width * picture.height
        if pixels <= MAX_PIXELS:
            picture.verify()
    except UnidentifiedImageError as error:
        raise InputError(f"{name} is no PNG, JPEG or WebP picture: convert it to one") from error
    except Image.DecompressionBombError as error:
        raise _too_large(name) from error
    except BROKEN as error:
        raise InputError(f"{name} is damaged: save it anew") from error
    if pixels > MAX_PIXELS:
        raise _too_large(name)


def _too_large(name: str) -> InputError:
    return InputError(f"{name} has more than {MAX_PIXELS // 1_000_000} million pixels: shrink it")


def _rgb(picture: Image.Image) -> Image.Image:
    """Convert any of the modes that the permitted formats decode to."""
    if picture.mode.startswith("I"):  # 16-bit grey, which Pillow would clip at 255
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if "A" in picture.mode or "a" in picture.mode or "transparency" in picture.info:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    return picture.convert("RGB")
