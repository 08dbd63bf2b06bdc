"""Made-up links: what a parameter says is read or left out, and the address shown says the same."""

import base64
from types import SimpleNamespace
from unittest.mock import patch

from hypothesis import event, given
from hypothesis import strategies as st

from app.components.paste_box import decoded
from app.parts.gallery import IMAGES, PAIRS, UPLOAD, Labelled, picture_of
from app.state import address, entry, selection
from app.state.runs import RUN
from assets.errors import InputError
from assets.pictures import digits
from quant.primitives.bits import MENU
from tests.fuzz.guard import cases, outcome

TEXTS = st.one_of(
    st.text(max_size=40),
    st.text("0123456789.-+eE_ ١٢²½", max_size=20),
    st.sampled_from(("9" * 5000, "x" * 9000, "-0", "1e400", "NaN", "inf", "0x4", "\ud800", "\0")),
    st.sampled_from(("![x](http://x.y/z.png)", "<img src=//x>", ":red[x]", "../../etc/passwd")),
    st.sampled_from(("pair-3", "image-7", "4", "8", "248", "lrp", "size", "1", "lrp-qvit", "3.5")),
)
NUMBERS = st.integers(0, 5000).map(str)
PARAMETERS = [each.parameter for each in address.ENTRIES]
LINKS = st.dictionaries(st.sampled_from(PARAMETERS) | st.text(max_size=9), TEXTS, max_size=9)
digits.pair("validation", 0)  # reads the bundled digits, which a pickle holds
NUMBERED = (selection.TARGET, selection.RIVAL, RUN)


def opened(link: dict[str, str]) -> tuple[dict[str, object], dict[str, str], int]:
    """Open a link in a new session: what it keeps, the address it shows, and how much it says."""
    said: list[str] = []
    browser = SimpleNamespace(
        session_state={}, query_params=dict(link), toast=lambda text, **_: said.append(text)
    )
    with patch.object(entry, "st", browser), patch.object(address, "st", browser):
        address.read()
        address.show()
        kept = {each.parameter: each.get() for each in address.ENTRIES}
        for each in NUMBERED:
            value = each.get()
            assert value is None or 0 <= value < 10**entry.DIGITS
    assert all(len(text.splitlines()) == 1 and len(text) < 1000 for text in said)
    return kept, browser.query_params, len(said)


@given(LINKS)
@cases(400)
def test_links(link: dict[str, str]) -> None:
    found = outcome(lambda: opened(link), InputError)
    assert found is not None  # a link is never refused
    kept, shown, said = found
    assert {kept["w"], kept["a"], *kept["widths"]} <= set(MENU) and 2 <= kept["bits"] <= 8
    assert {name: link[name] for name in link if name not in PARAMETERS}.items() <= shown.items()
    if any(name in PARAMETERS and name in shown for name in link):
        event("read")
    assert opened(shown) == (kept, shown, 0)
    assert said <= len(link)


@given(
    TEXTS | st.tuples(st.sampled_from(("pair", "image", "upload")), TEXTS | NUMBERS).map("-".join)
)
@cases(200)
def test_images_of_links(identifier: str) -> None:
    browser = SimpleNamespace(session_state={}, query_params={})
    with patch.object(entry, "st", browser):
        found = outcome(lambda: picture_of(identifier, [PAIRS, IMAGES, UPLOAD], None), InputError)
    if found is not None:
        event("read")
        assert isinstance(found, Labelled) and identifier.startswith("pair-")
        assert found.picture().mode == "RGB"


@given(st.one_of(TEXTS, st.binary(max_size=99).map(base64.b64encode).map(bytes.decode), st.none()))
@cases(200)
def test_what_a_browser_sends_as_pasted(sent: object) -> None:
    found = outcome(lambda: [decoded(sent)], InputError)
    assert found is not None and isinstance(found[0], bytes)
