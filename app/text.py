"""Text as Streamlit draws it: Markdown of our own, in which text from outside stays plain.

Streamlit takes nearly every text for Markdown, so that a file's name could make the browser fetch
a picture from anywhere. Whatever is no literal goes through `escape`; what is Markdown of our own
is written as `Markdown("**{}** has {} layers").format(name, count)`. A check of `make lint`
(`scripts/check_text.py`) finds what does neither.
"""

import re
import unicodedata
from collections.abc import Iterable
from html import escape as escape_html
from string import Formatter
from typing import Any, SupportsIndex, overload

from app.public import without_paths

LONGEST, LEGIBLE = 2000, 40  # letters of one text from outside; of one that is quoted
JOINER = "\u2060"  # no width, no line break: it parts letters that would mean something together

_SPACE = re.compile(r"[\s\x1c-\x1f]*[\n\v\f\r\x1c-\x1e\x85\u2028\u2029][\s\x1c-\x1f]*|[ \t]+")
_MEANING = re.compile(r"[\\`*\[\]$~&]|(?<![^\W_])_|_(?![^\W_])")  # not the _ within a name
# Of a heading, a quotation, a list, a line below a heading.
_START = re.compile(r"^( ?)([#>]|[+-](?= |$)|[=-](?=[=-]* ?$)|\d{1,9}(?=[.)](?: |$)))")
# What Streamlit looks for in letters: icons, colours and addresses.
_PAIRS = re.compile(r":(?=[^\W\d]|[\w+-]+:|/|$)|@|www(?=\.)", re.IGNORECASE)
_HIDDEN = {"Cc", "Cs", *("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")}


class Markdown(str):
    """Markdown of our own; `format` and `join` escape what they put into it."""

    def format(self, *args: object, **kwargs: object) -> "Markdown":
        """Put values into the text: strings escaped, unless they are Markdown themselves."""
        return Markdown(_Escaping().vformat(self, args, kwargs))

    def join(self, texts: Iterable[str]) -> "Markdown":
        """Join texts, each escaped unless it is Markdown itself."""
        return Markdown(super().join(map(escape, texts)))

    def replace(self, old: str, new: str, count: SupportsIndex = -1) -> "Markdown":
        """Replace a text, where the new one is escaped unless it is Markdown itself."""
        return Markdown(super().replace(old, escape(new), count))


class _Escaping(Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        text = format(value, format_spec)
        return text if isinstance(value, (Markdown, int, float)) else escape(text)


def clean(text: object) -> str:
    """Return a text on one line, without what cannot be sent or would hide or turn other letters.

    Such as halves of surrogate pairs, which stand for bytes of a file's name that are no UTF-8.
    """
    whole = without_paths(str(text)[: 2 * LONGEST])
    kept = _SPACE.sub(" ", whole if len(whole) <= LONGEST else f"{whole[:LONGEST]} …")
    return "".join("\ufffd" if _hidden(letter) else letter for letter in kept)


def _hidden(letter: str) -> bool:
    return letter in _HIDDEN or unicodedata.category(letter) in _HIDDEN


@overload
def escape(text: None) -> None: ...


@overload
def escape(text: object) -> Markdown: ...


def escape(text: object) -> Markdown | None:
    """Return a text so that Streamlit draws its letters and nothing else; Markdown stays."""
    if text is None or isinstance(text, Markdown):
        return text
    plain = _MEANING.sub(r"\\\g<0>", clean(text)).replace("<", "&lt;")
    return Markdown(_PAIRS.sub(rf"\g<0>{JOINER}", _START.sub(_at_start, plain)))


def _at_start(found: re.Match[str]) -> str:
    space, sign = found.groups()
    return f"{space}{sign}\\" if sign.isdigit() else f"{space}\\{sign}"


def told(error: Exception) -> Markdown:
    """Return an error's message as a sentence."""
    return escape(f"{str(error).rstrip('.')}.")


def short(text: str) -> str:
    """Return a text that is told to whoever wrote it: its beginning is enough."""
    return text if len(text) <= LEGIBLE else f"{text[:LEGIBLE]} …"


def for_chart(text: object) -> str:
    """Return a text so that Plotly draws its letters: it takes tags for HTML."""
    return escape_html(clean(text), quote=False)
