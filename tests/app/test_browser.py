"""The dashboard with a real server and a real browser."""

import base64
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlparse

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

PATIENCE = 120  # seconds until a step that hangs gives up
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
pytestmark = pytest.mark.browser


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_up(address: str) -> None:
    for _ in range(PATIENCE * 4):
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=5).close()
            return
        except URLError:
            time.sleep(0.25)
    raise AssertionError(f"no server at {address}")


@contextmanager
def serving(repository: Path, folder: Path, *streamlit: str, **environment: str) -> Iterator[int]:
    """Run a Streamlit server, `-m streamlit run SCRIPT` or what stands for it; yield its port."""
    port = free_port()
    command = [sys.executable, *streamlit, "--server.headless", "true", "--server.port", str(port)]
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=repository,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )
        try:
            wait_until_up(f"http://127.0.0.1:{port}")
            yield port
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def browsing(chromium: str, **settings: Any) -> Iterator[sync_api.Page]:
    """Open an empty page in Chromium."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page(**settings)
        page.set_default_timeout(PATIENCE * 1000)
        yield page
        browser.close()


@pytest.fixture(scope="module")
def server(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    with serving(repository, folder, "-m", "streamlit", "run", "streamlit_app.py") as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def screenshots(repository: Path) -> Path:
    folder = repository / ".bitlens" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, chromium: str) -> Iterator[sync_api.Page]:
    size = {"width": 1440, "height": 900}
    with browsing(chromium, viewport=size, color_scheme=request.param) as page:
        yield page


def settle(page: sync_api.Page) -> None:
    """Wait until the script has stopped running and the charts are drawn."""
    running = page.get_by_test_id("stStatusWidget")
    page.wait_for_timeout(700)
    running.wait_for(state="detached")
    page.wait_for_timeout(700)


PASTE = """(box, [bytes, type]) => {
  const clipboard = new DataTransfer()
  clipboard.items.add(new File([Uint8Array.from(atob(bytes), c => c.charCodeAt(0))], "x", { type }))
  box.dispatchEvent(new ClipboardEvent("paste", { clipboardData: clipboard, bubbles: true }))
}"""


def until(page: sync_api.Page, condition: str) -> None:
    """Wait until a condition holds; the page allows no `eval`, by which Playwright waits."""
    for _ in range(1200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never so: {condition}")


def runs(page: sync_api.Page) -> list[object]:
    """Gather what the page sends to the server from now on: each message is a run."""
    sent: list[object] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))
    return sent


def middle(locator: sync_api.Locator) -> tuple[float, float]:
    box = locator.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_the_divider_is_dragged_and_stepped_without_a_run(page: sync_api.Page, server: str) -> None:
    sent = runs(page)
    page.goto(f"{server}/?model=digits-swin")
    handle = page.get_by_role("slider", name="Divider between picture and")
    handle.wait_for()
    settle(page)
    before = len(sent)
    x, y = middle(handle)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y, steps=6)
    dragged = int(handle.get_attribute("aria-valuenow") or 0)
    assert dragged > 30
    assert abs(middle(handle)[0] - (x + 60)) < 2
    page.mouse.up()
    for key, expected in [
        ("ArrowRight", dragged + 2),
        ("ArrowLeft", dragged),
        ("PageUp", dragged + 10),
        ("Home", 0),
        ("ArrowLeft", 0),
        ("End", 100),
    ]:
        page.keyboard.press(key)
        assert int(handle.get_attribute("aria-valuenow") or -1) in (expected, expected + 1)
    assert "100 % picture" in (handle.get_attribute("aria-valuetext") or "")
    veil = page.locator(".side.after .veil")
    opacity = page.get_by_label("Opacity of the map")
    x, y = middle(opacity)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 30, y, steps=4)
    assert float(veil.evaluate("e => getComputedStyle(e).opacity")) < 0.5
    assert len(sent) == before  # until the slider is let go, nothing has run
    page.mouse.up()
    settle(page)
    assert len(sent) > before
    assert float(veil.evaluate("e => getComputedStyle(e).opacity")) < 0.5


def test_a_picture_is_pasted_and_what_is_none_is_refused(
    page: sync_api.Page, server: str, repository: Path
) -> None:
    page.goto(f"{server}/?model=digits-swin")
    page.get_by_role("radio", name="Your own").click()
    box = page.get_by_role("textbox", name="Paste a picture")
    picture = (repository / "assets" / "example" / "picture.png").read_bytes()
    box.evaluate(PASTE, [base64.b64encode(picture).decode(), "image/png"])
    page.wait_for_url("**image=upload-*")
    page.get_by_role("button", name="picture 1").wait_for()
    box.evaluate(PASTE, [base64.b64encode(b"no picture").decode(), "image/png"])
    page.get_by_text("What was pasted: the picture is no PNG, JPEG or WebP").wait_for()
    box.evaluate(PASTE, [base64.b64encode(b"some words").decode(), "text/plain"])
    page.get_by_text("There is no picture in the clipboard").wait_for()
    box.click()
    page.keyboard.type("words")
    assert box.inner_text() == ""


def test_a_click_on_a_block_chooses_its_layer(page: sync_api.Page, server: str) -> None:
    page.goto(f"{server}/?model=digits-vit&view=Through+depth&layer=blocks.1.mlp.fc1")
    page.get_by_role("button", name="4: ", exact=False).first.wait_for()
    page.locator("button[data-id='blocks.4']").click()
    page.wait_for_url("**layer=blocks.4.mlp.fc1*")
    pressed = page.locator("button[data-id='blocks.4'][aria-pressed=true]")
    pressed.wait_for()
    settle(page)
    assert page.get_by_role("combobox", name="Layer").input_value() == "blocks.4.mlp.fc1"
    page.get_by_role("radio", name="Map").click()
    page.get_by_text("Read the map at").wait_for()
    settle(page)
    assert page.get_by_role("combobox", name="Read the map at").input_value() == "blocks.4"
    page.get_by_role("link", name="Budget").click()
    chosen = page.locator(".layer.chosen")
    chosen.wait_for()
    assert (chosen.get_attribute("aria-label") or "").startswith("blocks.4.mlp.fc1: ")


def test_the_clipping_threshold_moves_and_says_what_it_does(
    page: sync_api.Page, server: str, screenshots: Path, request: pytest.FixtureRequest
) -> None:
    theme = request.node.callspec.params["page"]
    page.goto(f"{server}/layers?model=digits-swin&preset=repq-vit&layer=layers.1.blocks.0.mlp.fc1")
    said = page.get_by_text("K = 2.0 touches")
    said.wait_for()
    settle(page)
    slider = page.get_by_role("slider", name="Clipping threshold K")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 2, box["y"] + box["height"] / 2, steps=8)
    page.get_by_text("K = 0.3 touches").wait_for()  # still dragged: it follows live
    page.mouse.up()
    settle(page)
    touched = page.get_by_text("K = 0.3 touches").locator("strong").first.inner_text()
    count, total = map(int, touched.split(" of "))
    assert 0 < count <= total
    page.get_by_text("a bit brings").wait_for()
    page.set_viewport_size({"width": 1440, "height": 3000})
    settle(page)
    page.screenshot(path=screenshots / f"layers-{theme}.png")
    page.get_by_role("radio", name="Whole model").click()
    page.get_by_text("suffers most").wait_for()
    settle(page)
    chart = page.get_by_test_id("stVegaLiteChart").locator("canvas, svg").first
    box = chart.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.4, box["y"] + 60)
    page.get_by_text("Chosen: layers.").wait_for()
    page.wait_for_url(lambda address: "layers.1.blocks.0.mlp.fc1" not in address)
    page.get_by_role("radio", name="Lesson").click()
    page.get_by_role("slider", name="Bits").press("ArrowRight")
    page.get_by_text("16 levels stand").wait_for()


def test_a_walk_through_all_pages(
    page: sync_api.Page, server: str, screenshots: Path, request: pytest.FixtureRequest
) -> None:
    theme = request.node.callspec.params["page"]
    elsewhere: list[str] = []
    host = urlparse(server).netloc
    page.on(
        "request",
        lambda r: elsewhere.append(r.url) if host not in r.url and "http" in r.url[:4] else None,
    )

    def shot(name: str) -> None:
        settle(page)
        page.screenshot(path=screenshots / f"{name}-{theme}.png")

    page.goto(server)
    page.get_by_text("for 2").first.wait_for()
    until(page, "[...document.images].filter(i => i.naturalWidth > 0).length >= 3")
    page.screenshot(path=screenshots / f"first-{theme}.png")

    page.get_by_text("Compare with").wait_for()
    page.get_by_role("button", name="6 and 3").click()
    page.wait_for_url("**image=pair-1*")
    shot("explain")
    page.get_by_role("radio", name="Methods side by side").click()
    page.get_by_text("Two methods, one picture").wait_for()
    page.get_by_text("Measure faithfulness").click()
    page.get_by_text("orders this picture best").wait_for()
    shot("methods")
    page.get_by_role("radio", name="Through depth").click()
    page.get_by_text("One layer in detail").wait_for()
    shot("depth")

    page.get_by_role("link", name="Budget").click()
    page.get_by_role("slider", name="Average bits").wait_for()
    shot("budget-first")
    page.get_by_role("link", name="Runs").click()
    page.get_by_role("heading", name="What was measured?").wait_for()
    shot("runs")

    assert page.get_by_test_id("stException").count() == 0
    assert elsewhere == []


def measure_on_few(page: sync_api.Page) -> None:
    """Let evaluations see as few images as can be chosen, and only those that are asked for."""
    page.get_by_role("button", name="Options").click()
    images = page.get_by_role("slider", name="Images to measure on")
    images.focus()
    page.keyboard.press("Home")
    page.get_by_text("Measure to predict").click()
    page.keyboard.press("Escape")
    settle(page)


def widths(page: sync_api.Page) -> list[str]:
    return page.locator(".budget .bar").all_inner_texts()


def test_a_budget_is_dragged_let_go_measured_and_locked(
    page: sync_api.Page, server: str, screenshots: Path, request: pytest.FixtureRequest
) -> None:
    theme = request.node.callspec.params["page"]
    sent = runs(page)
    page.goto(f"{server}/budget?model=digits-swin")
    slider = page.get_by_role("slider", name="Average bits")
    slider.wait_for()
    page.get_by_text("closest to float's.").wait_for()  # sensitivities have been found
    measure_on_few(page)
    box, before, drawn = slider.bounding_box(), len(sent), widths(page)
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 3, y)
    page.mouse.down()
    seen = []
    for place in (0.4, 0.5, 0.6, 0.7):
        page.mouse.move(box["x"] + box["width"] * place, y, steps=4)
        seen.append(widths(page))
    assert all(a != b for a, b in pairwise([drawn, *seen]))  # it is drawn while it is dragged
    page.wait_for_timeout(700)
    assert len(sent) - before <= 1
    assert all(b"moved" in frame for frame in sent[before:])
    page.mouse.up()
    page.wait_for_url("**bits=6*")
    page.get_by_text("100 images, in all").wait_for()
    page.get_by_text("Top-1, measured").wait_for()
    page.get_by_role("radio", name="How it was bought").click()
    page.get_by_text("steps were taken up to this budget").wait_for()
    page.set_viewport_size({"width": 1440, "height": 2200})
    settle(page)
    page.screenshot(path=screenshots / f"budget-bought-{theme}.png")
    page.get_by_role("radio", name="Accuracy against cost").click()
    page.locator(".js-plotly-plot .point").first.wait_for()
    settle(page)
    page.screenshot(path=screenshots / f"budget-{theme}.png")
    page.mouse.click(*middle(page.locator(".js-plotly-plot .point").last))  # measured, not foretold
    page.get_by_text("All layers are locked, as loaded").wait_for()
    layers = page.locator(".budget .layer")
    sync_api.expect(page.locator(".budget .layer.locked")).to_have_count(layers.count())
    page.get_by_role("button", name="Unlock all").click()
    page.locator(".budget .layer.locked").first.wait_for(state="detached")
    settle(page)

    bar = page.get_by_role("button", name="layers.0.blocks.0.mlp.fc1: ")
    had = bar.locator(".bar").all_inner_texts()
    bar.click()
    page.get_by_text("1 layer is locked by hand").wait_for()
    settle(page)
    slider.press("End")
    page.wait_for_url("**bits=8*")
    assert bar.locator(".bar").all_inner_texts() == had
    page.reload()  # a link has no locks
    slider.wait_for()
    settle(page)
    assert page.locator(".budget .value").inner_text() == "8.00 bit"
    assert page.get_by_test_id("stException").count() == 0
