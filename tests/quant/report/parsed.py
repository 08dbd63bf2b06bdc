"""Read a report as a browser would: elements that are closed, text, what is fetched."""

import re
from html.parser import HTMLParser

EMPTY = {"br", "img", "meta"}
FETCHING = {"src", "srcset", "href", "action", "data", "poster", "background", "xlink:href"}


class Page(HTMLParser):
    """A parsed page.

    Attributes:
        tags: each element's name and attributes;  text: all letters, style left out.
        rows: of each table, the head among them;  faults: elements that close another.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.rows: list[list[list[str]]] = []
        self.text, self.faults, self._open = "", [], []
        self.feed(html)
        self.close()
        self.faults += self._open
        self.text = " ".join(self.text.replace("\u00a0", " ").split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in EMPTY:
            self._open.append(tag)
        if tag == "table":
            self.rows.append([])
        if tag == "tr":
            self.rows[-1].append([])
        if tag in ("td", "th"):
            self.rows[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self.text += data if {"td", "th", "dt", "dd"} & set(self._open) else f" {data} "
        if {"td", "th"} & set(self._open):
            self.rows[-1][-1][-1] += data.replace("\u00a0", " ")

    def named(self, tag: str) -> list[dict[str, str]]:
        """The attributes of each element of a name."""
        return [attributes for name, attributes in self.tags if name == tag]

    def table(self, head: str) -> list[dict[str, str]]:
        """The table with a column of this name, a row a dictionary."""
        table = next(rows for rows in self.rows if head in rows[0])
        return [dict(zip(table[0], row, strict=True)) for row in table[1:]]

    @property
    def fetched(self) -> list[str]:
        """What the page would ask for: nothing but what it holds itself."""
        addresses = [
            value for _, found in self.tags for name, value in found.items() if name in FETCHING
        ]
        return [address for address in addresses if not address.startswith("data:")]


def style_fetches(html: str) -> list[str]:
    """What the style sheet would ask for."""
    style = "".join(re.findall(r"<style>(.*?)</style>", html, re.S))
    return re.findall(r"url\(|@import|https?:", style)
