"""Made-up folders: pictures as a plain walk finds them, with the class of their first folder, or
one sentence.

Trees hold links (to files, to folders, in circles, to nothing), pipes, hidden things, wrong
contents, and names that are no UTF-8, too long for a message, or mean something to a shell.
"""

import io
import os
import tempfile
from functools import partial
from pathlib import Path

from hypothesis import event, given
from hypothesis import strategies as st
from PIL import Image

from assets.errors import InputError
from assets.pictures.sources import FolderSource, fingerprint, open_folder
from tests.fuzz.guard import cases, outcome

SUFFIXES = (b".png", b".jpg", b".jpeg", b".webp")
BEGINNINGS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")
FOLDERS = (
    *(b"a", b"b", b"10", b"2", b"A", b"val", b"train", b"n01440764", b"x.png", b"-rf", b" ", b"*"),
    *(b"\xff\xfe", "é".encode(), "e\u0301".encode(), b"new\nline", b".hidden", b"__MACOSX"),
    *(b"%s", b"l" * 255, "９".encode(), "²".encode(), b"classes.txt", b"9" * 200),
)
FILES = (
    *(b"0.png", b"1.JPG", b"2.webp", b"10.jpeg", b".png", b".a.png", b"._0.png", b"a.txt", b"png"),
    *(b"\xe9.png", b"new\nline.png", b"Thumbs.db", b"classes.txt", b"p" * 251 + b".png"),
)
TARGETS = (
    *(b".", b"..", b"../..", b"a", b"b", b"../a", b"../b", b"0.png", b"../a/0.png", b"gone", b"x"),
    *(b"/dev/null", b"/dev/zero", b"loop", b"../../outside"),
)


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, kind)
    return buffer.getvalue()


CONTENTS = {  # by name, so that a case is printed in a few lines
    **{kind: picture(kind) for kind in ("PNG", "JPEG", "WEBP", "GIF")},
    "empty": b"",
    "text": b"text",
    "cut": picture("PNG")[:30],
    "begun": b"\xff\xd8\xff",
    "zeros": bytes(99),
}
LISTS = (
    *(b"a\nb\n", b"b\r\na", b"\xef\xbb\xbfa\nb", b"a\n\nb", b"a\na", b"", b"\xff\xfea\0b\0"),
    *(b"\xff\xfe\na", b"a\nb\nc", b"x" * 99, "é\na".encode(), b"2\n10"),
)
NODES = st.one_of(
    st.sampled_from(sorted(CONTENTS)),
    st.sampled_from(TARGETS).map(lambda target: ("link", target)),
    st.just(("pipe", b"")),
)
INNER = st.dictionaries(st.sampled_from(FILES), NODES, max_size=4)


def with_folders(inner: st.SearchStrategy[dict]) -> st.SearchStrategy[dict]:
    folders = st.dictionaries(st.sampled_from(FOLDERS), inner | NODES, max_size=5)
    return st.tuples(folders, INNER).map(lambda two: {**two[0], **two[1]})


ANY = st.recursive(INNER, with_folders, max_leaves=6)
CLASS = ANY.map(lambda tree: {b"ok.png": "PNG", **tree})
CLASSES = st.dictionaries(st.sampled_from(FOLDERS), st.one_of(CLASS, CLASS, ANY), max_size=4)
TREES = st.tuples(with_folders(INNER), CLASSES).map(lambda two: {**two[0], **two[1]})


def plant(root: bytes, tree: dict) -> None:
    os.mkdir(root)
    for name, node in tree.items():
        path = os.path.join(root, name)
        if isinstance(node, dict):
            plant(path, node)
        elif isinstance(node, str):
            write(path, CONTENTS[node])
        elif node[0] == "pipe":
            os.mkfifo(path)
        else:
            os.symlink(node[1], path)


def write(path: bytes, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in {"__macosx", "thumbs.db"}


def class_folders(root: str) -> list[str]:
    names = [name for name in os.listdir(root) if os.path.isdir(os.path.join(root, name))]
    return [name for name in names if not hidden(name)]


def reachable(root: str) -> dict[str, set[str]]:
    """By the real path of each folder below the class folders, the classes that lead to it."""
    found: dict[str, set[str]] = {}
    for name in class_folders(root):
        todo = [os.path.join(root, name)]
        while todo:
            place = os.path.realpath(todo.pop())
            if place == os.path.realpath(root) or name in found.get(place, ()):
                continue
            found.setdefault(place, set()).add(name)
            todo += [os.path.join(place, inner) for inner in class_folders(place)]
    return found


def is_picture(path: str) -> bool:
    name = os.path.basename(path)
    if hidden(name) or os.path.splitext(name)[1].lower().encode() not in SUFFIXES:
        return False
    return os.path.isfile(path) and Path(path).read_bytes().startswith(BEGINNINGS)


def really(path: str) -> str:
    """A file's own place, but links to files are files by themselves."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def check(top: str, given: str, classes: int) -> None:
    fingerprints = [outcome(lambda: fingerprint(given), InputError) for _ in range(2)]
    assert fingerprints[0] == fingerprints[1]
    source = outcome(lambda: open_folder(Path(given), classes), InputError)
    if source is None:
        return
    event("read")
    root = os.path.join(given, "val") if class_folders(given) == ["val"] else given
    led = reachable(root)
    expected = {os.path.join(place, name) for place in led for name in os.listdir(place)}
    assert sorted(map(really, source.paths)) == sorted(filter(is_picture, expected))
    labels: dict[str, int] = {}
    for path, label in zip(source.paths, source.labels, strict=True):
        parts = os.path.relpath(path, root).split(os.sep)
        assert not any(map(hidden, parts)) and 0 <= label < classes
        assert labels.setdefault(parts[0], label) == label
        assert parts[0] in led[os.path.realpath(os.path.dirname(path))]
    assert len(set(labels.values())) == len(labels) <= len(class_folders(root))
    assert sum(one.images for one in source.fates.folders) == len(source)
    check_pictures(source)


def check_pictures(source: FolderSource) -> None:
    for index in range(len(source)):
        opened = outcome(partial(source.picture, index), InputError)
        assert opened is None or opened.mode == "RGB"
        outcome(partial(source.check, index), InputError)
        assert outcome(partial(source.digest, index), InputError)


@given(TREES | CLASSES, st.sampled_from((None, None, None, *LISTS)), st.integers(0, 9))
@cases(300)
def test_folders(tree: dict, listed: bytes | None, more: int) -> None:
    with tempfile.TemporaryDirectory() as top:
        given = os.path.join(top, "x", "root")
        os.mkdir(os.path.dirname(given))
        plant(os.fsencode(given), tree)
        if listed is not None and b"classes.txt" not in tree:
            write(os.fsencode(os.path.join(given, "classes.txt")), listed)
        before = listing(top)
        # Most trees are of a model with as many classes, as others are refused at once.
        check(top, given, {0: 2, 1: 1000}.get(more, max(1, len(class_folders(given)))))
        assert listing(top) == before


def listing(top: str) -> list[tuple[str, int]]:
    return sorted(
        (os.path.join(place, name), os.lstat(os.path.join(place, name)).st_mtime_ns)
        for place, folders, files in os.walk(top)
        for name in (*folders, *files)
    )
