"""HTML of a few elements, in which text from outside stays text."""

import base64
import unicodedata
from collections.abc import Iterable, Sequence
from html import escape

OPEN_ROWS = 12  # of a table that is not folded away
LONGEST = 2000  # letters of one text from outside
_EMPTY = {"br", "img", "meta"}  # HTML's, which have no end; SVG's have one
_HIDDEN = {"Cc", "Cs"}
_TURNING = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")


class Html(str):
    """HTML of our own: what is put into an element and is no Html is escaped."""


def text(value: object) -> Html:
    """Return a text so that its letters are drawn and nothing else; Html stays as it is."""
    if isinstance(value, Html):
        return value
    whole = str(value)
    cut = whole if len(whole) <= LONGEST else f"{whole[:LONGEST]} …"
    plain = escape("".join(_legible(letter) for letter in cut))
    return Html(plain.replace(" %", "\u00a0%"))  # a number and its sign stay on one line


def _legible(letter: str) -> str:
    """Stand in for what cannot be written as UTF-8, and for what hides or turns other letters."""
    if letter in "\n\t":
        return " "
    hidden = letter in _TURNING or unicodedata.category(letter) in _HIDDEN
    return "\ufffd" if hidden else letter


def tag(name: str, /, *inside: object, **attributes: object) -> Html:
    """Return an element; None among what is inside, or as an attribute, is left out.

    Attributes are written with a hyphen for each underscore, and without one at their end.
    """
    named = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _EMPTY:
        return Html(f"<{name}{named}>")
    return Html(f"<{name}{named}>{join(inside)}</{name}>")


def join(parts: Iterable[object], between: str = "") -> Html:
    """Return parts one after another."""
    return Html(between.join(text(part) for part in parts if part is not None))


def table(head: Sequence[str], rows: Sequence[Sequence[object]], words: int = 1) -> Html:
    """Return a table whose first `words` columns are words; the others are numbers."""

    def cells(name: str, row: Sequence[object]) -> Html:
        kinds = (None if place < words else "n" for place in range(len(row)))
        return join(tag(name, cell, class_=kind) for cell, kind in zip(row, kinds, strict=True))

    body = tag("tbody", *(tag("tr", cells("td", row)) for row in rows))
    whole = tag("table", tag("thead", tag("tr", cells("th", head))), body)
    return tag("div", whole, class_="wide")


def folded(summary: str, inside: Html, open_: bool = False) -> Html:
    """Return what is shown when its summary is clicked; on paper it always is."""
    return tag("details", tag("summary", summary), inside, open="" if open_ else None)


def charted(chart: Html, sentence: object, numbers: Html, name: str) -> Html:
    """Return a chart, what it says in a sentence, and its table, folded away if it is long."""
    short = numbers.count("<tr>") <= OPEN_ROWS + 1
    figure = tag("figure", chart, tag("figcaption", sentence))
    return join([figure, folded(f"{name} as numbers", numbers, short)])


def data_url(data: bytes, kind: str) -> Html:
    """Return data as a URL that holds it."""
    return Html(f"data:{kind};base64,{base64.b64encode(data).decode()}")
