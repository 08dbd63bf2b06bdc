"""Arrange and encode pictures for the page; `lrp.maps.pictures` draws relevance in them. Pure."""

import base64
from collections.abc import Sequence
from io import BytesIO

from PIL import Image, ImageOps


def side_by_side(pictures: Sequence[Image.Image], gap: int = 8) -> Image.Image:
    """Put pictures of one height in a row on a transparent ground."""
    width = sum(p.width for p in pictures) + gap * (len(pictures) - 1)
    row = Image.new("RGBA", (width, max(p.height for p in pictures)), (0, 0, 0, 0))
    left = 0
    for picture in pictures:
        row.paste(picture, (left, 0))
        left += picture.width + gap
    return row


def thumbnail(picture: Image.Image, width: int = 96) -> Image.Image:
    """Cut a picture to a centred square of `width`."""
    return ImageOps.fit(picture, (width, width), Image.Resampling.LANCZOS)


def png(picture: Image.Image) -> bytes:
    """Write a picture as a PNG file."""
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def data_url(picture: Image.Image) -> str:
    """Write a picture as a URL, for a component: WebP, a third of a PNG and as quickly written."""
    buffer = BytesIO()
    picture.save(buffer, "WEBP", quality=90, method=2)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
