"""How widths look: the colour, the letter and the name of each, in charts and on the slider. Pure.

What costs as much looks alike: a format stands where whole bits of its price do.
"""

from collections.abc import Iterable

from quant.primitives.bits import MENU
from quant.primitives.formats import FLOAT, HALF, label, price
from quant.report.drawing.colours import DARK_BITS, LIGHT_BITS

# Letters of widths: "2" to "8" are bits, "1" one bit, "9" is 16 bits and "f" float.
LETTERS = "123456789f"
# On either side of 2 to 8 bits, as the scale goes on.
LIGHT_WIDTHS = ["#00112c", *LIGHT_BITS, "#f0e59a", "#ffffff"]
DARK_WIDTHS = ["#2b4474", *DARK_BITS, "#fff6b8", "#ffffff"]


def letter(width: int) -> str:
    """Return the letter that stands for a width: of all that cost as much."""
    bits = price(width)
    return LETTERS[-1] if bits == FLOAT else LETTERS[-2] if bits == HALF else str(int(bits))


def number(width: int) -> int:
    """Return where a width stands on the scale of colours, from 1 bit up."""
    return LETTERS.index(letter(width)) + 1


def palette(dark: bool) -> list[str]:
    """Return the colours of the scale, from 1 bit up."""
    return DARK_WIDTHS if dark else LIGHT_WIDTHS


def named(widths: Iterable[int]) -> dict[str, str]:
    """Return what each letter among widths is called: "MXFP4", or "PAL8, 8" for two of a price."""
    names: dict[str, list[str]] = {}
    for width in widths:
        names.setdefault(letter(width), []).append(label(width))
    return {of: ", ".join(names[of]) for of in sorted(names, key=LETTERS.index)}


def written(width: int) -> int | str:
    """Return a width as tables show it: whole bits as a number."""
    return width if width in MENU else label(width)
