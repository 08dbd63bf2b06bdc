"""Ways to damage bytes, as Hypothesis draws them."""

from collections.abc import Callable, Sequence

from hypothesis import strategies as st

# What lengths, sizes and counts are set to.
NUMBERS = (0, 1, 2, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
Draw = Callable[[st.SearchStrategy], object]


def damaged(originals: Sequence[bytes], most: int = 4) -> st.SearchStrategy[bytes]:
    """Draw one of some files, changed up to `most` times."""
    return _damaged(originals, most)


@st.composite
def _damaged(draw, originals: Sequence[bytes], most: int) -> bytes:
    data = draw(st.sampled_from(originals))
    for _ in range(draw(st.integers(0, most))):
        data = draw(st.sampled_from(WAYS))(draw, data, originals)
    return data


def place(draw, data: Sequence) -> int:
    """Draw a place in a file; beginnings, where headers are, are drawn more often."""
    end = len(data)
    return draw(st.one_of(st.integers(0, min(end, 64)), st.integers(0, end)))


def _flipped(draw, data, originals):
    at, mask = place(draw, data), draw(st.integers(1, 255))
    return data[:at] + bytes(byte ^ mask for byte in data[at : at + 1]) + data[at + 1 :]


def _numbered(draw, data, originals):
    at, size = place(draw, data), draw(st.sampled_from((1, 2, 4, 8)))
    order = draw(st.sampled_from(("big", "little")))
    number = (draw(st.sampled_from(NUMBERS)) % 2 ** (8 * size)).to_bytes(size, order)
    return data[:at] + number + data[at + size :]


def _cut(draw, data, originals):
    return data[: place(draw, data)]


def _removed(draw, data, originals):
    at = place(draw, data)
    return data[:at] + data[at + draw(st.integers(1, 64)) :]


def _repeated(draw, data, originals):
    at, size = place(draw, data), draw(st.integers(1, 64))
    return data[: at + size] + data[at : at + size] * draw(st.integers(0, 99)) + data[at + size :]


def _inserted(draw, data, originals):
    at = place(draw, data)
    return data[:at] + draw(st.binary(max_size=64)) + data[at:]


def _spliced(draw, data, originals):
    other = draw(st.sampled_from(originals))
    return data[: place(draw, data)] + other[place(draw, other) :]


WAYS = (_flipped, _numbered, _cut, _removed, _repeated, _inserted, _spliced)
