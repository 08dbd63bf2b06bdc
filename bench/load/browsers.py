"""The same with pages of Chromium: `python -m bench.load.browsers`. Takes some GB of memory."""

import shutil
import sys
import tempfile
import time
from pathlib import Path

from bench.load.sessions import AT_ONCE, PAGE, TOP1, prepare, print_seconds
from bench.slider import ARGUMENTS, BROWSERS, served

PATIENCE = 300_000  # ms


def main() -> int:
    """Let the sliders of many pages go at once, and print when each page showed figures."""
    from playwright.sync_api import sync_playwright

    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"browsers: none found (looked for {', '.join(BROWSERS)})", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        with (
            served("streamlit_app.py", (), Path(folder)) as server,
            sync_playwright() as playwright,
        ):
            chromium = playwright.chromium.launch(executable_path=browser, args=ARGUMENTS)
            pages = [chromium.new_context().new_page() for _ in range(AT_ONCE)]
            for page in pages:
                page.set_default_timeout(PATIENCE)
                page.goto(f"{server.address}/{PAGE}")
                page.locator(".budget").get_by_role("slider").wait_for()
            time.sleep(5)
            released, seconds = [], []
            for number, page in enumerate(pages):
                slider = page.locator(".budget").get_by_role("slider")
                slider.focus()
                slider.press("ArrowRight" if number % 2 else "ArrowLeft")
                released.append(time.monotonic())
            print(f"{AT_ONCE} sliders let go within {released[-1] - released[0]:.1f} s")
            for page, moment in zip(pages, released, strict=True):
                page.get_by_text(TOP1).first.wait_for()
                seconds.append(time.monotonic() - moment)
            print_seconds("first figures", seconds)
            shown = [page.get_by_text(TOP1).first.is_visible() for page in pages]
            print(f"{sum(shown)} of {AT_ONCE} pages show figures")
            chromium.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
