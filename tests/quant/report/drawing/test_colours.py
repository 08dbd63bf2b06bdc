"""Colours: told apart by every eye."""

import numpy as np
import pytest

from quant.report.drawing.colours import DARK_BITS, LIGHT_BITS, MARKERS, OTHER


@pytest.mark.parametrize("colours", [LIGHT_BITS, DARK_BITS], ids=["light", "dark"])
def test_more_bits_are_lighter_for_every_eye(colours: list[str]) -> None:
    assert len(colours) == 7  # 2 to 8 bits
    rgb = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours])
    assert (np.diff(rgb @ [0.2126, 0.7152, 0.0722]) > 0).all()


def test_kinds_differ_by_their_symbol_too() -> None:
    markers = [*MARKERS.values(), OTHER]
    assert len({marker.symbol for marker in markers}) == len(markers)
