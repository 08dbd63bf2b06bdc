"""Hostile texts in a real browser: it draws their letters and asks no other host for anything."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlparse

import pytest

from app.text import JOINER
from tests.app.outside.hostile_texts import HOSTILE
from tests.app.test_browser import browsing, serving, settle

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = pytest.mark.browser

TAGS = (
    "a, img, b, strong, em, del, code, pre, table, ul, ol, blockquote, h1, h2, h3, h4, h5, h6, hr"
)
MEANING = ".katex, [data-testid=stIconMaterial], [style*=color], .stMarkdownBadge"
TESTED = ("stMarkdown", "stCaptionContainer", "stAlert", "stWidgetLabel", "stMetric", "stProgress")


@pytest.fixture(scope="module", params=["tests/app/outside/hostile_page.py", "streamlit_app.py"])
def server(
    request: pytest.FixtureRequest, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    folder, command = tmp_path_factory.mktemp("server"), ("-m", "streamlit", "run", request.param)
    with serving(repository, folder, *command, PYTHONPATH=str(repository)) as port:
        yield f"http://127.0.0.1:{port}", request.param


@pytest.fixture
def page(chromium: str) -> Iterator[sync_api.Page]:
    with browsing(chromium, viewport={"width": 1200, "height": 900}) as page:
        yield page


def test_hostile_texts_are_letters(page: sync_api.Page, server: tuple[str, str]) -> None:
    address, script = server
    asked: set[str | None] = set()
    page.on("request", lambda request: asked.add(urlparse(request.url).hostname))
    if script == "streamlit_app.py":
        for parameter in ("image", "class", "layer", "depth", "model", "view", "run"):
            for text in (HOSTILE[0], HOSTILE[6]):
                page.goto(f"{address}/?{parameter}={quote(text)}")
                page.get_by_test_id("stCaptionContainer").first.wait_for()
                settle(page)
    else:
        page.goto(address)
        page.get_by_text("All drawn").wait_for()
        settle(page)
        for number, text in enumerate(HOSTILE):
            block = page.locator(f".st-key-text-{number}")
            letters = " ".join(text.split())
            seen = block.inner_text().replace(JOINER, "")
            assert seen.count(letters) >= 9, f"{letters}: {seen}"
            drawn = block.locator(TAGS).evaluate_all("all => all.map(each => each.outerHTML)")
            assert not [tag for tag in drawn if "stMetric" not in tag], text
            assert not block.locator(".katex, [data-testid=stMarkdownBadge]").count(), text
    assert asked <= {"127.0.0.1", None, ""}
