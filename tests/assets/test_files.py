"""Paths that people give: files are read, and all else is refused in one sentence, at once."""

import os
import socket
from pathlib import Path

import pytest

from assets import files
from assets.errors import InputError, shown
from assets.files import read_file


def test_a_file_is_read_by_path_text_and_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("a file")
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in (tmp_path / "a file", str(tmp_path / "link"), "~/a file"):
        assert read_file(path, "picture", 3) == b"abc"


def odd_paths(folder: Path) -> dict[str, tuple[str, str]]:
    (folder / "file").write_bytes(b"1234")
    (folder / "circle").symlink_to(folder / "circle")
    (folder / "dead").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(folder / "socket"))
    server.close()
    with (folder / "sparse").open("wb") as file:
        file.truncate(10**13)
    return {
        "absent": (str(folder / "absent"), "there is no thing at"),
        "dead link": (str(folder / "dead"), "there is no thing at"),
        "below a file": (str(folder / "file" / "x"), "there is no thing at"),
        "unknown home": ("~nobody-of-this-name/x", "there is no thing at"),
        "nothing": ("", "there is no thing at"),
        "folder": (str(folder), "is a folder"),
        "circle": (str(folder / "circle"), "its links lead in a circle"),
        "long name": (str(folder / ("x" * 300)), "the path is too long"),
        "long path": ("/x" * 5000, "the path is too long"),
        "null": (str(folder / "a\0b"), "no null character"),
        "pipe": (str(folder / "pipe"), "it is a device or a pipe"),
        "socket": (str(folder / "socket"), "cannot be read"),
        "device": ("/dev/zero", "it is a device or a pipe"),
        "control": ("/\x1b[31m\n", r"there is no thing at /\\x1b\[31m\\n"),
        "large": (str(folder / "sparse"), "has more than 1 MB"),
    }


@pytest.mark.parametrize(
    "kind",
    [
        *("absent", "dead link", "below a file", "unknown home", "nothing", "folder", "circle"),
        *("long name", "long path", "null", "pipe", "socket", "device", "control", "large"),
    ],
)
def test_odd_paths_are_refused_in_words(kind: str, tmp_path: Path) -> None:
    path, words = odd_paths(tmp_path)[kind]
    with pytest.raises(InputError, match=words) as caught:
        read_file(path, "thing", 1_000_000)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied"), "no permission"),
        (OSError(5, "Input/output error"), "input/output error"),
        (MemoryError(), "more memory than there is"),
    ],
)
def test_what_fails_while_reading_is_told(
    error: Exception, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"1234")

    def failing(*_: object) -> None:
        raise error

    monkeypatch.setattr(files, "read", failing)
    with pytest.raises(InputError, match=words):
        read_file(tmp_path / "file", "thing", 99)


def test_text_from_outside_is_shown_short_and_on_one_line() -> None:
    assert shown("a/b.png") == "a/b.png"
    assert shown("x" * 500, 10) == "x" * 9 + "…"
    assert shown("a\nb\x1b\udcff") == "a\\nb\\x1b\\udcff"
