"""Text from outside stays text: escaped wherever Streamlit would draw Markdown."""

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.text import LONGEST, Markdown, clean, escape, for_chart
from tests.app.outside.hostile_texts import HOSTILE


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_means_something_is_left(text: str) -> None:
    """What the browser makes of them is asked in `test_hostile_browser`."""
    drawn = escape(text)
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*\[\]$~<]", drawn)
    assert not re.match(r" ?([#>]|[+-] |[=-]+$|\d+[.)] )", drawn)
    assert "\n" not in drawn


@pytest.mark.parametrize("text", [":material/home:", ":smile:", ":red[a]", ":blue-badge[a]"])
def test_icons_and_colours_are_taken_apart(text: str) -> None:
    """Streamlit looks for them in what Markdown left as text, so that a backslash is no help."""
    assert not re.search(r":\w", escape(text).replace("\\", ""))


@pytest.mark.parametrize("text", ["$x$", "$$x$$", "a $5 and $6"])
def test_formulas_are_escaped(text: str) -> None:
    assert not re.search(r"(?<!\\)\$", escape(text))


def test_links_that_need_no_brackets_are_taken_apart() -> None:
    drawn = escape("https://evil.test www.evil.test a@evil.test")
    assert not re.search(r"https?://|www\.|@\w", drawn)


@pytest.mark.parametrize(
    "text", ["digits-vit", "deit_tiny_patch16_224", "blocks.3.attn.qkv", "4 (5)"]
)
def test_names_stay_as_they_are(text: str) -> None:
    assert escape(text) == text


def test_what_cannot_be_sent_or_hides_is_replaced() -> None:
    assert clean("a\udce9b") == "a\ufffdb"
    assert clean("a\x00\x1b[31mb") == "a\ufffd\ufffd[31mb"
    assert clean("gpj.\u202egnp") == "gpj.\ufffdgnp"
    escape("\ud800" * 3).encode("utf-8")


def test_endless_texts_end() -> None:
    assert len(escape("*" * 10 * LONGEST)) < 3 * LONGEST


def test_values_are_escaped_and_markdown_is_not() -> None:
    inner = Markdown("**{}**").format("*a*")
    assert inner == r"**\*a\***"
    assert escape(inner) is inner
    assert Markdown("{} {x:.1f} {y}").format(inner, x=-2.5, y="_b_") == rf"{inner} -2.5 \_b\_"
    assert Markdown(", ").join([inner, "[c]"]) == rf"{inner}, \[c\]"
    assert isinstance(inner.replace("a", "*"), Markdown)
    assert escape(f"{inner}") != inner  # an f-string is no Markdown: safe where one forgets
    assert escape(None) is None


def test_charts_get_no_tags() -> None:
    assert for_chart("<a href='http://evil.test'>x</a> & y") == (
        "&lt;a href='http://evil.test'&gt;x&lt;/a&gt; &amp; y"
    )


@pytest.fixture(scope="module")
def check(repository: Path):
    spec = importlib.util.spec_from_file_location("check", repository / "scripts/check_text.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "line",
    [
        "st.error(str(error))",
        "st.error(f'{error}')",
        "st.caption(name)",
        "st.caption('a' + name)",
        "st.caption('a' if good else name)",
        "st.caption(body=name)",
        "column.markdown(sentence(x))",
        "st.button('a', help=name)",
        "st.image(picture, name)",
        "st.image(picture, caption=name)",
        "st.progress(0.5, text=name)",
        "st.metric('a', value)",
        "st.radio('a', names)",
        "st.radio('a', names, format_func=str)",
        "st.tabs(names)",
        "st.write('a')",
        "st.markdown(Markdown(name))",
        "text = Markdown(f'{name}')",
        "column_config.TextColumn('a', help=name)",
    ],
)
def test_a_text_that_is_not_escaped_is_found(check, line: str) -> None:
    assert list(check.complaints_of(line, "a.py"))


@pytest.mark.parametrize(
    "line",
    [
        "st.error('a')",
        "st.error(escape(str(error)))",
        "st.caption(HINT)",
        "st.caption('a' if good else 'b')",
        "st.caption(escape(a) if good else HINT)",
        "st.markdown(Markdown('**{}**').format(name))",
        "st.markdown(Markdown(' ').join(names))",
        "st.radio('a', names, format_func=lambda name: escape(name))",
        "st.radio('a', [1, 2])",
        "st.selectbox('a', names, format_func=str)",
        "one_of(label, names)",
    ],
)
def test_what_is_escaped_is_not_complained_of(check, line: str) -> None:
    assert not list(check.complaints_of(line, "a.py"))


def test_nothing_from_outside_is_drawn_as_markdown(check, capsys: pytest.CaptureFixture) -> None:
    assert check.main() == 0, capsys.readouterr().out


def test_a_number_of_thousands_of_digits_is_left_out_in_words(
    open_page: Callable[..., AppTest],
) -> None:
    link = dict.fromkeys(("class", "against", "run", "bits", "w", "a"), "9" * 5000)
    app = open_page(**link, image="pair-" + "9" * 5000)
    said = " ".join(toast.value for toast in app.toast)
    for parameter in link:
        assert f"{parameter}=9999" in said
    assert "is not among these" in app.error[0].value
