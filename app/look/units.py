"""Write quantities the same way everywhere: as reports do, with what only the page needs."""

from typing import TypeVar

from app.text import Markdown
from quant.report.drawing.units import (
    bits,
    count,
    decibels,
    duration,
    factor,
    interval,
    large,
    points,
    points_between,
    share,
    size,
    time,
)

__all__ = [
    "bits",
    "count",
    "decibels",
    "duration",
    "factor",
    "interval",
    "large",
    "points",
    "points_between",
    "share",
    "size",
    "time",
    "unbroken",
]

Text = TypeVar("Text", str, Markdown)


def unbroken(text: Text) -> Text:
    """Keep each % on the line of its number."""
    return text.replace(" %", "\u00a0%")
