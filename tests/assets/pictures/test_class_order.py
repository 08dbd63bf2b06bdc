"""Which class a folder is: lists of classes in all ways they are written, and two sorted orders."""

from pathlib import Path

import pytest
import torchvision.datasets

from assets.errors import InputError
from assets.pictures import class_order as module
from assets.pictures.class_order import NATURAL, PLAIN, ClassOrder, class_order
from assets.pictures.folders import begin


def order_of(root: Path, names: list[str]) -> ClassOrder:
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / "0.png").touch()
    return class_order(begin(root), len(names))


@pytest.mark.parametrize(
    "names",
    [
        [str(number) for number in range(1, 11)],
        [str(number) for number in range(0, 1000)],
        ["apple", "Banana", "cherry"],
        ["n2", "n10", "N1"],
        ["Class", "class", "CLASS"],
        ["img1a", "img01a", "imga"],
        ["²", "1", "x"],
    ],
)
def test_what_torchvision_would_sort_otherwise_is_known(tmp_path: Path, names: list[str]) -> None:
    order = order_of(tmp_path, names)
    theirs = torchvision.datasets.ImageFolder(str(tmp_path)).class_to_idx
    ours = order.indices
    assert sorted(ours.values()) == list(range(len(names)))
    assert order.decided == NATURAL
    if ours == theirs:
        assert not order.others
    else:
        assert {name: order.others[PLAIN][ours[name]] for name in names} == theirs


def test_names_that_sort_alike_both_ways_have_one_order(tmp_path: Path) -> None:
    assert not order_of(tmp_path, [str(number) for number in range(10)]).others


@pytest.mark.parametrize(
    "written",
    [
        b"\xef\xbb\xbfbee\r\nant\r\n",
        b"bee\nant\n\n\n",
        b"  bee \n\tant",
        b"bee\rant\r",
    ],
)
def test_a_list_may_be_written_as_editors_do(tmp_path: Path, written: bytes) -> None:
    (tmp_path / "classes.txt").write_bytes(written)
    order = order_of(tmp_path, ["ant", "bee"])
    assert order.indices == {"ant": 1, "bee": 0}
    assert order.decided == f"classes.txt ({tmp_path}/classes.txt)"
    assert not order.others


def test_accents_may_be_written_apart(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("zebra\nlynx bor\u00e9al\n", encoding="utf-8")
    assert order_of(tmp_path, ["lynx bore\u0301al", "zebra"]).indices == {
        "lynx bore\u0301al": 1,
        "zebra": 0,
    }


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("bee\nant\n".encode("utf-16"), "is not text in UTF-8"),
        ("be\u00e9\nant\n".encode("latin-1"), "is not text in UTF-8"),
        (b"bee\x00\nant", "is not text in UTF-8"),
        (b"bee\nbee\n", r"lists 1 different classes and the model has 2.*it has bee twice"),
        (b"bee\n\nant\n", r"lists 3 different classes .*an empty line"),
        (b"ant\nwasp\n", "does not list bee: add it"),
        (b"x" * 200, "is too large"),
    ],
)
def test_a_list_that_does_not_suit_is_refused_in_words(
    tmp_path: Path, written: bytes, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIST_BYTES", 100)
    (tmp_path / "classes.txt").write_bytes(written)
    with pytest.raises(InputError, match=words):
        order_of(tmp_path, ["ant", "bee"])


def test_a_list_that_is_a_dead_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").symlink_to("/nowhere")
    with pytest.raises(InputError, match=r"classes\.txt is a link to no file"):
        order_of(tmp_path, ["ant", "bee"])
