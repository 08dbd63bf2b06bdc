"""The live budget in a real browser: what it draws by itself, and what it tells Python."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.test_browser import browsing, runs, serving, settle

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = pytest.mark.browser

QKV, MATMUL, FC1 = "blocks.0.attn.qkv", "blocks.0.attn.matmul1", "blocks.1.mlp.fc1"


@pytest.fixture(scope="module")
def server(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, script = tmp_path_factory.mktemp("server"), "tests/app/components/budget_slider_page.py"
    command = ("-m", "streamlit", "run", script)
    with serving(repository, folder, *command, PYTHONPATH=str(repository)) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def page(chromium: str) -> Iterator[sync_api.Page]:
    with browsing(chromium, viewport={"width": 1100, "height": 900}) as page:
        yield page


def slider_of(page: sync_api.Page) -> sync_api.Locator:
    slider = page.get_by_role("slider", name="Average bits")
    slider.wait_for()
    settle(page)
    return slider


def bar(page: sync_api.Page, name: str) -> sync_api.Locator:
    return page.get_by_role("button", name=f"{name}: ")


def heard(page: sync_api.Page) -> list[list[object]]:
    return ast.literal_eval(page.get_by_test_id("stCode").inner_text())


def wait_until_heard(page: sync_api.Page, *events: list[object]) -> None:
    code = page.get_by_test_id("stCode")
    sync_api.expect(code).to_have_text(re.compile(re.escape(repr(list(events))) + r"\s*"))


def place(slider: sync_api.Locator, row: int) -> tuple[float, float]:
    """Return where to press for a row of five; the thumb is 1.1rem wide."""
    box = slider.bounding_box()
    assert box is not None
    thumb = 17.6
    return box["x"] + thumb / 2 + (box["width"] - thumb) * row / 4, box["y"] + box["height"] / 2


def shown(page: sync_api.Page) -> str:
    return page.locator(".value").inner_text()


def test_a_drag_draws_in_the_browser_and_commits_once(page: sync_api.Page, server: str) -> None:
    sent = runs(page)
    page.goto(f"{server}/?separate=yes")
    slider = slider_of(page)
    assert shown(page) == "3.0 bits"
    before = len(sent)
    page.mouse.move(*place(slider, 1))
    page.mouse.down()
    page.mouse.move(*place(slider, 2), steps=4)
    assert shown(page) == "4.2 bits"
    wait_until_heard(page, ["move"])
    settle(page)
    assert len(sent) == before + 1  # that the drag began
    assert bar(page, FC1).locator(".bar").all_inner_texts() == ["3", "3"]
    page.mouse.move(*place(slider, 4), steps=6)
    page.mouse.move(*place(slider, 3), steps=3)
    assert shown(page) == "6.0 bits"
    assert page.locator(".mixed td").all_inner_texts()[:2] == ["4.40 MB", "7.70 G"]
    assert page.locator(".mixed .note").inner_text() == "predicted, 65.0 to 80.0 %"
    assert page.locator(".plain .note").inner_text() == "measured"
    assert page.locator(".bought").inner_text() == "matmul1 to 8 bits"
    assert bar(page, MATMUL).locator(".bar").all_inner_texts() == ["8", "8"]
    page.wait_for_timeout(500)
    assert len(sent) == before + 1
    assert page.locator(".budget").get_attribute("data-committed") == "1"
    page.mouse.up()
    page.locator(".budget[data-committed='3']").wait_for()
    settle(page)
    assert len(sent) == before + 2
    assert heard(page) == [["move"], ["commit", 3]]
    assert "6.0 bits: 4.40 MB" in page.locator("[aria-live]").inner_text()


def test_what_is_dragged_back_is_committed_too(page: sync_api.Page, server: str) -> None:
    page.goto(server)
    slider = slider_of(page)
    page.mouse.move(*place(slider, 1))
    page.mouse.down()
    page.mouse.move(*place(slider, 3), steps=3)
    page.mouse.move(*place(slider, 1), steps=3)
    page.mouse.up()
    wait_until_heard(page, ["move"], ["commit", 1])  # what was stopped can go on


def test_python_is_followed_and_heard_anew(page: sync_api.Page, server: str) -> None:
    page.goto(server)
    slider = slider_of(page)
    for _ in range(2):
        slider.press("End")
        page.locator(".budget[data-committed='4']").wait_for()
        page.get_by_role("button", name="Back to the second budget").click()
        page.locator(".budget[data-committed='1']").wait_for()
        assert shown(page) == "3.0 bits"
        assert slider.input_value() == "1"
    settle(page)
    assert heard(page) == 2 * [["move"], ["commit", 4]]


def test_keys_step_and_commit_when_they_are_let_go(page: sync_api.Page, server: str) -> None:
    page.goto(server)
    slider = slider_of(page)
    slider.focus()
    for _ in range(3):
        page.keyboard.down("ArrowRight")
    assert shown(page) == "8.0 bits"
    page.keyboard.up("ArrowRight")
    wait_until_heard(page, ["move"], ["commit", 4])
    page.keyboard.press("Home")
    wait_until_heard(page, ["move"], ["commit", 4], ["move"], ["commit", 0])
    page.keyboard.press("Tab")  # leaves, and says nothing
    settle(page)
    assert len(heard(page)) == 4


def test_it_is_told_in_words(page: sync_api.Page, server: str) -> None:
    page.goto(f"{server}/?separate=yes")
    slider = slider_of(page)
    slider.press("ArrowRight")
    said = "4.2 bits: 3.10 MB, 5.20 G BitOps, predicted 70.1 %"
    assert slider.get_attribute("aria-valuetext") == said
    labels = [b.get_attribute("aria-label") for b in page.locator(".layer").all()]
    assert labels[1:4] == [
        f"{QKV}: weights 4, activations 5 bits",
        f"{MATMUL}: second operand 2, first operand 2 bits",
        f"{FC1}: weights 3, activations 3 bits",
    ]
    assert page.locator(".label").all_inner_texts() == ["", "0", "1", ""]
    news = page.locator(".layer.new").all()
    assert [b.get_attribute("data-index") for b in news] == ["0", "1", "3"]


def test_a_click_locks_and_a_click_with_shift_chooses(page: sync_api.Page, server: str) -> None:
    page.goto(server)
    slider_of(page)
    bar(page, FC1).click()
    sync_api.expect(bar(page, FC1)).to_have_accessible_name(re.compile(", locked$"))
    sync_api.expect(bar(page, FC1)).to_be_focused()
    bar(page, QKV).click(modifiers=["Shift"])
    page.locator(".layer.chosen").wait_for()
    page.locator(".name").hover()
    assert page.locator(".readout").inner_text().startswith(f"{QKV}: ")
    bar(page, FC1).click()
    page.locator(".layer.locked").wait_for(state="detached")
    wait_until_heard(page, ["lock", FC1], ["choose", QKV], ["lock", FC1])


def test_bars_are_reached_by_keys(page: sync_api.Page, server: str) -> None:
    page.goto(server)
    slider = slider_of(page)
    slider.focus()
    page.keyboard.press("Tab")
    sync_api.expect(bar(page, "patch_embed.proj")).to_be_focused()
    for key, name in [
        ("ArrowRight", QKV),
        ("ArrowRight", MATMUL),
        ("ArrowDown", FC1),
        ("ArrowUp", QKV),
        ("End", "head"),
        ("ArrowRight", "head"),
        ("Home", "patch_embed.proj"),
        ("ArrowDown", QKV),
    ]:
        page.keyboard.press(key)
        sync_api.expect(bar(page, name)).to_be_focused()
    assert page.locator(".layer[tabindex='0']").count() == 1
    page.keyboard.press("Enter")
    wait_until_heard(page, ["lock", QKV])
    page.keyboard.press("Space")
    wait_until_heard(page, ["lock", QKV], ["lock", QKV])
    page.keyboard.press("Shift+Enter")
    wait_until_heard(page, ["lock", QKV], ["lock", QKV], ["choose", QKV])
    sync_api.expect(bar(page, QKV)).to_be_focused()
