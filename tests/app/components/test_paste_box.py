"""What comes from the clipboard is taken for base64 of a picture's size, or for nothing."""

import base64

import pytest

from app.components import paste_box
from app.components.paste_box import decoded


def test_base64_is_decoded() -> None:
    assert decoded(base64.b64encode(b"some bytes").decode()) == b"some bytes"


@pytest.mark.parametrize("sent", [None, 7, ["aGk="], "not base64!", "aGk", "é" * 8])
def test_anything_else_is_no_picture(sent: object) -> None:
    assert decoded(sent) == b""


def test_more_than_the_limit_is_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paste_box, "LIMIT", 9)
    assert decoded(base64.b64encode(b"123456789").decode()) == b"123456789"
    assert decoded(base64.b64encode(b"1" * 20).decode()) == b""
