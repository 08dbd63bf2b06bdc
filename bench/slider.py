"""The budget slider in headless Chromium: how soon a step is painted, how soon it is committed."""

import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

ROOT = Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FRAME = 16.0  # ms
DRAGS, COMMITS, FIRSTS = 4, 25, 10
DASHBOARD = "/budget?model=digits-vit"

# A step counts as painted when the task after its frame runs; as drawn when the text is its row's.
# A commit lasts from the release until Python's answer is on the page.
WATCH = """slider => {
  const board = slider.closest(".budget"), seen = { steps: [], drawn: 0, commits: [] }
  let released = 0, started = 0
  slider.addEventListener("input", () => { started = performance.now() }, { capture: true })
  slider.addEventListener("input", () => {
    const begun = started, text = (2 + 0.05 * slider.value).toFixed(2) + " bit"
    if (board.querySelector(".value").textContent === text) seen.drawn++
    requestAnimationFrame(() => {
      const painted = new MessageChannel()
      painted.port1.onmessage = () => seen.steps.push(performance.now() - begun)
      painted.port2.postMessage(0)
    })
  })
  window.addEventListener("pointerup", () => { released = performance.now() }, { capture: true })
  new MutationObserver(() => {
    if (board.dataset.committed !== slider.value) return
    if (released) seen.commits.push(performance.now() - released)
    released = 0
  }).observe(board, { attributeFilter: ["data-committed"] })
  window.seen = seen
}"""


def main() -> None:
    """Measure 121 budgets of 74 and of 218 layers, and commits beside an idle and a busy torch."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"slider: no browser found (looked for {', '.join(BROWSERS)})")
        return
    print(f"\nbudget slider, 121 budgets\n{'':<44} median (p5 to p95) ms")
    for arguments in ((), ("separate",), ("large", "separate")):
        with opened(browser, arguments) as (page, slider):
            _steps(page, slider, " ".join(arguments) or "74 layers")
    for arguments in ((), ("busy",)):
        with opened(browser, arguments) as (page, slider):
            _commits(page, slider, " ".join(arguments) or "idle")
    with opened(browser, (), "streamlit_app.py", DASHBOARD) as (page, slider):
        _commits(page, slider, "the dashboard while it measures")
        _first_accuracies(page, slider)


def _steps(page: "Page", slider: "Locator", name: str) -> None:
    """Drag over all rows and back, one pointer event a row."""
    for _ in range(DRAGS):
        _press(page, slider, 0)
        for row in [*range(121), *reversed(range(120))]:
            page.mouse.move(*_place(slider, row))
        page.mouse.up()
        page.wait_for_timeout(300)
    seen = page.evaluate("seen")
    within = sum(step <= FRAME for step in seen["steps"]) / len(seen["steps"])
    _print(f"step to paint, {name}", seen["steps"])
    print(f"{'':<44} {within:.1%} within {FRAME:.0f} ms, {seen['drawn']} of "
          f"{len(seen['steps'])} steps drawn")  # fmt: skip


def _commits(page: "Page", slider: "Locator", name: str) -> None:
    """Let go of the slider here and there, and wait for Python each time."""
    for count in range(COMMITS):
        _press(page, slider, 10 + 100 * (count % 2))
        page.mouse.move(*_place(slider, 40 + count), steps=5)
        page.mouse.up()
        while page.evaluate("seen.commits.length") <= count:  # no `eval`: the page allows none
            page.wait_for_timeout(20)
        page.wait_for_timeout(150)
    _print(f"release to commit, {name}", page.evaluate("seen.commits"))


def _first_accuracies(page: "Page", slider: "Locator") -> None:
    """Let go of the slider at budgets not measured before, and wait for what is measured first."""
    found = []
    for count in range(FIRSTS):
        _press(page, slider, 100)
        page.mouse.move(*_place(slider, 81 + count), steps=5)
        page.mouse.up()
        started, value = time.monotonic(), page.locator(".value").inner_text().strip()
        page.get_by_text(f"sensitivity {value}:").first.wait_for()
        found.append(1000 * (time.monotonic() - started))
        page.wait_for_timeout(500)
    _print("release to first accuracy, digits-vit", found)


def _print(name: str, found: Sequence[float]) -> None:
    cuts = statistics.quantiles(found, n=20)
    print(f"{name:<44} {statistics.median(found):6.1f} ({cuts[0]:.1f} to {cuts[-1]:.1f})")


def _press(page: "Page", slider: "Locator", row: int) -> None:
    page.mouse.move(*_place(slider, row))
    page.mouse.down()


def _place(slider: "Locator", row: int) -> tuple[float, float]:
    box = slider.bounding_box()
    thumb = 17.6  # px
    return (
        box["x"] + thumb / 2 + (box["width"] - thumb) * row / 120,
        box["y"] + box["height"] / 2,
    )


@contextlib.contextmanager
def opened(
    browser: str, arguments: Sequence[str], script: str = "bench/slider_page.py", path: str = ""
) -> "Iterator[tuple[Page, Locator]]":
    """Serve a page with the slider, open it, and watch the slider once nothing is awaited."""
    from playwright.sync_api import sync_playwright

    with served(script, arguments) as server, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=ARGUMENTS)
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(180_000)
        page.goto(server.address + path)
        slider = page.locator(".budget").get_by_role("slider")
        slider.wait_for()
        page.wait_for_timeout(1000)
        page.get_by_text("Until then bits are spent").wait_for(state="detached")
        page.wait_for_timeout(2000)
        slider.evaluate(WATCH)
        yield page, slider
        chromium.close()


class Served(NamedTuple):
    """A server of ours."""

    address: str
    pid: int


@contextlib.contextmanager
def served(script: str, arguments: Sequence[str], home: Path | None = None) -> "Iterator[Served]":
    """Serve a page on a free port, with a home of its own if one is given."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{(port := probe.getsockname()[1])}"
    command = [sys.executable, "-m", "streamlit", "run", script]
    command += ["--server.headless", "true", "--server.port", str(port), "--", *arguments]
    kept = {} if home is None else {"BITLENS_HOME": str(home)}
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT), **kept},
    )
    try:
        _wait_for(f"{address}/_stcore/health")
        yield Served(address, process.pid)
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(address: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(urllib.error.URLError):
            urllib.request.urlopen(address, timeout=5).close()
            return
        time.sleep(0.25)
    raise RuntimeError(f"no server at {address} after {seconds:g} s")
