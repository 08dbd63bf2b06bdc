"""The report in a real browser: it asks for nothing, follows the theme, and paper has it all."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from quant.allocation.allocation_file import from_json, read_json
from quant.report.subject import Subject

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = pytest.mark.browser
GROUND = "getComputedStyle(document.documentElement).backgroundColor"


@pytest.fixture(scope="module")
def file(written: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("browser") / "report.html"
    path.write_text(written, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator["sync_api.Browser"]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_it_asks_for_nothing_and_fits(file: Path, browser: "sync_api.Browser", width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800})
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto(file.as_uri())
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
    assert said == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    broken = "[...document.images].filter(i => !i.complete || !i.naturalWidth).length"
    assert page.evaluate(broken) == 0
    page.close()


def test_it_follows_the_theme_and_paper_is_light(file: Path, browser: "sync_api.Browser") -> None:
    grounds = {}
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        page.goto(file.as_uri())
        grounds[scheme] = page.evaluate(GROUND)
        page.emulate_media(media="print")
        grounds[f"{scheme} on paper"] = page.evaluate(GROUND)
        page.close()
    assert grounds["light"] == grounds["light on paper"] == grounds["dark on paper"]
    assert grounds["dark"] != grounds["light"]


def test_on_paper_every_table_is_open(file: Path, browser: "sync_api.Browser") -> None:
    page = browser.new_page()
    page.goto(file.as_uri())
    seen = "[...document.querySelectorAll('details td')].filter(c => c.checkVisibility()).length"
    every = page.evaluate("document.querySelectorAll('details td').length")
    assert page.evaluate(seen) < every
    page.emulate_media(media="print")
    assert page.evaluate(seen) == every
    page.close()


def test_the_bits_are_downloaded_from_the_file(
    file: Path, browser: "sync_api.Browser", subject: Subject, tmp_path: Path
) -> None:
    page = browser.new_page()
    page.goto(file.as_uri())
    with page.expect_download() as coming:
        page.get_by_text("Bits of run 4 (JSON)").click()
    assert coming.value.suggested_filename == "run-4.json"
    coming.value.save_as(tmp_path / "run-4.json")
    found = from_json(read_json(tmp_path / "run-4.json"), subject.opened.layers)
    assert found == subject.allocation
    page.close()
