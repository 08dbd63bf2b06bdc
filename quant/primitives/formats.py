"""Number formats: what each is called and costs, and how values are rounded to its elements.

A width is a whole number everywhere: 2 to 8 are integers of so many bits, 16 and 32 floats, and
what has a name of its own stands for itself by a number above 100 (`FORMATS`).

    MXFP4, MXFP6   OCP Microscaling Formats 1.0: blocks of 32 share a scale 2^k (E8M0)
    NVFP4          NVIDIA: blocks of 16 share an FP8 scale, and the tensor one float32
    FP8            OCP 8-bit floating point, E4M3: one float32 scale a tensor, or a row of weights
    PALn           palettes of Core ML: 2^n float values a tensor, with a scale a row
    DYN8           integers of 8 bits whose range is found as it runs, a row (a token) at a time
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

HALF, FLOAT = 16, 32
INTEGERS = tuple(range(2, 9))


@dataclass(frozen=True)
class Element:
    """A small floating-point type without infinities: sign, exponent and `mantissa` bits.

    Attributes:
        lowest: the exponent of the least normal number; below it steps stay as they are there.
        largest: the greatest number; what is above becomes it.
    """

    mantissa: int
    lowest: int
    largest: float

    @property
    def top(self) -> int:
        """The exponent of the greatest number: emax of the OCP definition."""
        return int(np.floor(np.log2(self.largest)))

    def round(self, x: Tensor) -> Tensor:
        """Round x (...) to the nearest number of this type, ties to even, and saturate."""
        exponent = torch.frexp(x).exponent.sub_(1).clamp_min_(self.lowest).sub_(self.mantissa)
        step = torch.ldexp(torch.ones_like(x), exponent)
        return (x / step).round_().mul_(step).clamp_(-self.largest, self.largest)


E2M1, E2M3, E4M3 = Element(1, 0, 6.0), Element(3, 0, 7.5), Element(3, -6, 448.0)


@dataclass(frozen=True)
class Format:
    """A number format that is no plain integer.

    Attributes:
        bits: of one value, with its share of the scales of blocks.
        element: what values are rounded to, if it is a small float.
        block: values that share a scale; 0 where a row or a tensor does.
        palette: bits of a palette's index; 0 for others.
    """

    name: str
    bits: float
    element: Element | None = None
    block: int = 0
    palette: int = 0


BF16, FP8, MXFP4, MXFP6, NVFP4, DYNAMIC = 116, 108, 204, 206, 304, 508
PALETTES = {bits: 400 + bits for bits in (1, 2, 3, 4, 6, 8)}
FORMATS: dict[int, Format] = {
    HALF: Format("FP16", 16),
    FLOAT: Format("float", 32),
    BF16: Format("BF16", 16),
    FP8: Format("FP8", 8, E4M3),
    MXFP4: Format("MXFP4", 4.25, E2M1, 32),
    MXFP6: Format("MXFP6", 6.25, E2M3, 32),
    NVFP4: Format("NVFP4", 4.5, E2M1, 16),
    DYNAMIC: Format("DYN8", 8),
    **{code: Format(f"PAL{n}", n, palette=n) for n, code in PALETTES.items()},
}
WIDTHS = (*INTEGERS, *FORMATS)
SMALL_FLOATS = frozenset(code for code, format in FORMATS.items() if format.element is not None)
_BY_NAME = {
    **{str(code): code for code in (*INTEGERS, HALF, FLOAT)},
    **{f.name.upper(): code for code, f in FORMATS.items()},
}
_PRICES = np.full(max(WIDTHS) + 1, np.nan)
_PRICES[list(WIDTHS)] = [FORMATS[c].bits if c in FORMATS else c for c in WIDTHS]


def check_width(code: int) -> None:
    """Check that `code` stands for a width.

    Raises:
        ValueError: it does not.
    """
    if isinstance(code, bool) or not isinstance(code, int) or code not in WIDTHS:
        names = ", ".join(f.name for f in FORMATS.values() if f.name != "float")
        raise ValueError(f"{code!r} bits: use a whole number from 2 to 8, 16, float, or {names}")


def price(code: int) -> float:
    """Return what one value costs in bits, with its share of its block's scale."""
    return float(_PRICES[code])


def prices(codes: np.ndarray) -> np.ndarray:
    """Return the bits that values of these widths (...) cost: multiples of a quarter."""
    found: np.ndarray = _PRICES[codes]
    return found


def label(code: int) -> str:
    """Return what a width is called: "4", "16", "float", "MXFP4"."""
    return FORMATS[code].name if code > HALF else str(code)


def plain(code: int) -> int | str:
    """Return a width as files hold it: a number, or a format's name."""
    return code if code <= FLOAT else FORMATS[code].name


def is_name(text: str) -> bool:
    """Return whether a format has this name."""
    return text.upper() in _BY_NAME


def from_plain(width: int | str) -> int:
    """Return the width that a file holds: as `plain` wrote it, a number is no text.

    Raises:
        ValueError: it is none.
    """
    if isinstance(width, str) and width.isdecimal():
        check_width(width)  # type: ignore[arg-type]
    return read_width(width)


def read_width(width: int | str) -> int:
    """Return the width that a number or a name stands for.

    Raises:
        ValueError: none is called so.
    """
    if isinstance(width, str):
        if is_name(width):
            return _BY_NAME[width.upper()]
        width = int(width[:4]) if width.isdecimal() else width
    # Numbers above 32 stand for formats in here only.
    check_width(str(width) if isinstance(width, int) and width > FLOAT else width)  # type: ignore[arg-type]
    return int(width)
