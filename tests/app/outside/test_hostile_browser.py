"""Hostile texts in a real browser: it draws their letters and asks no other host for anything."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlparse

import pytest

from app.text import JOINER
from tests.app.outside.hostile_texts import HOSTILE
from tests.app.test_browser import ARGUMENTS, PATIENCE, free_port, settle, wait_until_up

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
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "streamlit", "run", request.param]
    command += ["--server.headless", "true", "--server.port", str(port)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(repository)}
    with (tmp_path_factory.mktemp("server") / "log.txt").open("w") as log:
        process = subprocess.Popen(
            command, cwd=repository, stdout=log, stderr=subprocess.STDOUT, env=environment
        )
        try:
            wait_until_up(address)
            yield address, request.param
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture
def page(chromium: str) -> Iterator[sync_api.Page]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.set_default_timeout(PATIENCE * 1000)
        yield page
        browser.close()


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
