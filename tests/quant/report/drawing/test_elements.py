"""HTML of our own: text from outside stays text, wherever it is put."""

from html.parser import HTMLParser

import pytest

from quant.report.drawing.elements import Html, charted, data_url, folded, join, table, tag, text

HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "</title></style><b>&amp;",
    "a\u202eb\x00c\nd",
    "\udcff broken",
]


class Read(HTMLParser):
    """The elements and the text of some HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("hostile", HOSTILE)
def test_text_from_outside_makes_no_element(hostile: str) -> None:
    page = join([tag("p", hostile, title=hostile), table([hostile], [[hostile]]), hostile])
    read = Read(page)
    names = [name for name, _ in read.tags]
    assert names == ["p", "div", "table", "thead", "tr", "th", "tbody", "tr", "td"]
    assert dict(read.tags)["p"].keys() == {"title"}
    assert read.text == 4 * text_of(hostile)
    page.encode("utf-8")  # also what a file's name has that is no UTF-8


def text_of(hostile: str) -> str:
    return Read(text(hostile)).text


def test_letters_that_hide_or_turn_others_are_replaced() -> None:
    assert text_of("a\u202eb\x00c\nd\udcff") == "a\ufffdb\ufffdc d\ufffd"


def test_endless_text_is_cut_and_data_is_not() -> None:
    assert len(text("x" * 10_000)) < 2100
    url = data_url(b"x" * 10_000, "image/jpeg")
    assert f'src="{url}"' in tag("img", src=url)


def test_html_of_our_own_stays() -> None:
    assert tag("p", Html("<b>x</b>"), None, class_="n", aria_label="a", title=None) == (
        '<p class="n" aria-label="a"><b>x</b></p>'
    )
    assert tag("br") == "<br>"
    assert tag("rect", x=1) == '<rect x="1"></rect>'  # in SVG an element without an end goes on


def test_a_percentage_stays_on_one_line() -> None:
    assert text("56.7 % of 4") == "56.7\u00a0% of 4"


def test_only_long_tables_are_folded_away() -> None:
    short, long = (table(["a"], [[n] for n in range(count)]) for count in (12, 13))
    opened = [
        dict(Read(charted(Html(""), "s", one, "All")).tags)["details"].keys()
        for one in (short, long)
    ]
    assert opened == [{"open"}, set()]
    assert "All as numbers" in charted(Html(""), "s", short, "All")
    assert "<summary>S</summary>" in folded("S", short)
