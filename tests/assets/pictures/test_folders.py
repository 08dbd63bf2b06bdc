"""Folders as people have them: what is a picture, which class it is, why the rest is left out."""

import os
import shutil
import socket
from pathlib import Path

import pytest
from PIL import Image

from assets.errors import InputError
from assets.pictures import folders, sources
from assets.pictures.sources import FolderSource, fingerprint, open_folder

CLASSES = ("ant", "bee")


def draw(path: Path, shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(path, "png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One picture in each of two class folders."""
    for shade, name in enumerate(CLASSES):
        draw(tmp_path / "set" / name / "0.png", shade)
    return tmp_path / "set"


def opened(root: Path) -> FolderSource:
    return open_folder(root, len(CLASSES))


def found(root: Path) -> dict[str, int]:
    """The class of each picture, by its path below the root."""
    return {path.relative_to(root).as_posix(): label for path, label in opened(root).files}


def left_out(root: Path) -> dict[str, int]:
    return opened(root).fates.described(CLASSES)["left_out"]


def test_a_class_is_the_first_folder_whatever_is_below_it(root: Path) -> None:
    draw(root / "ant" / "bee" / "1.png")
    draw(root / "bee" / "2024" / "may" / "2.PNG")
    draw(root / "bee" / "ant" / "ant" / "3.jpEg")
    assert found(root) == {
        "ant/0.png": 0,
        "ant/bee/1.png": 0,
        "bee/0.png": 1,
        "bee/2024/may/2.PNG": 1,
        "bee/ant/ant/3.jpEg": 1,
    }
    assert [(fate.folder, fate.label, fate.images) for fate in opened(root).fates.folders] == [
        ("ant", 0, 2),
        ("bee", 1, 3),
    ]


def test_what_systems_hide_or_leave_behind_is_nothing(root: Path) -> None:
    expected = found(root)
    for name in ("._0.png", ".hidden.png", "Thumbs.db", "desktop.ini"):
        (root / "ant" / name).write_bytes(b"\x00\x05\x16\x07" * 9)
    for name in ("__MACOSX", ".git", "@eaDir"):
        draw(root / name / "0.png")
        draw(root / "bee" / name / "0.png")
    assert found(root) == expected
    assert left_out(root) == {"hidden files": 4, "hidden folders": 6}


def test_val_is_the_root_where_all_beside_it_is_hidden(root: Path, tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    root.rename(outer / "val")
    for name in (".cache", "__MACOSX"):
        draw(outer / name / "val" / "0.png")
    (outer / "classes.txt").write_text("bee\nant\n")
    assert found(outer) == {"val/ant/0.png": 1, "val/bee/0.png": 0}
    assert "all in its subfolder val" in opened(outer).fates.sentences[0]
    (outer / "more").mkdir()
    with pytest.raises(InputError, match="does not list more"):
        opened(outer)


def test_folders_that_are_splits_are_no_classes(tmp_path: Path) -> None:
    for split in ("train", "val"):
        draw(tmp_path / split / "ant" / "0.png")
    with pytest.raises(InputError, match="holds train and val, which are no classes: give one"):
        opened(tmp_path)


def test_links_are_followed_and_no_folder_is_walked_twice(root: Path, tmp_path: Path) -> None:
    draw(tmp_path / "elsewhere" / "inner" / "1.png")
    draw(tmp_path / "single.png")
    (root / "ant" / "more").symlink_to(tmp_path / "elsewhere")
    (root / "ant" / "again").symlink_to(tmp_path / "elsewhere" / "inner")
    (root / "ant" / "2.png").symlink_to(tmp_path / "single.png")
    (root / "ant" / "up").symlink_to(root)
    (root / "bee" / "self").symlink_to(root / "bee")
    (root / "ant" / "to-bee").symlink_to(root / "bee")
    (root / "bee" / "to-ant").symlink_to(root / "ant")
    pictures = found(root)
    assert len(pictures) == 4
    assert pictures["ant/0.png"] == pictures["ant/2.png"] == 0 == sum(pictures.values()) - 1
    assert left_out(root) == {"links to a folder that is in the list already": 5}


def test_a_class_folder_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (root / "ant").rename(tmp_path / "real")
    (root / "ant").symlink_to(tmp_path / "real")
    assert found(root) == {"ant/0.png": 0, "bee/0.png": 1}


def test_what_cannot_be_a_picture_is_counted_by_its_reason(root: Path) -> None:
    place = root / "ant"
    (place / "gone.png").symlink_to("/nowhere/gone.png")
    (place / "loop.png").symlink_to("loop.png")
    (place / "lost").symlink_to("/nowhere/at/all")
    os.mkfifo(place / "pipe.png")
    (place / "null.png").symlink_to("/dev/null")
    (place / "empty.png").touch()
    (place / "text.png").write_text("no picture")
    (place / "notes.txt").write_text("about")
    draw(root / "outside.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(place / "socket.png"))
        assert found(root) == {"ant/0.png": 0, "bee/0.png": 1}
        fates = opened(root).fates
    assert fates.described(CLASSES)["left_out"] == {
        "dead links": 3,
        "special files": 3,
        "empty files": 1,
        "files that are no PNG, JPEG or WebP inside": 1,
        "files of another kind": 1,
        "pictures outside the class folders": 1,
    }
    (ant, bee) = fates.described(CLASSES)["folders"]
    assert not bee["left_out"]
    first = {reason["reason"]: reason["first"] for reason in ant["left_out"]}
    assert first["empty files"] == str(place / "empty.png")
    assert "left out: " in fates.sentences[1]
    assert "3 dead links" in fates.sentences[1]


def test_what_may_not_be_read_is_left_out(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(root / "bee" / "1.png")
    draw(root / "bee" / "locked" / "2.png")
    real, scan = os.access, os.scandir

    def denied(path: str) -> object:
        if path.endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "access", lambda path, mode: "1.png" not in path and real(path, mode))
    monkeypatch.setattr(os, "scandir", denied)
    assert found(root) == {"ant/0.png": 0, "bee/0.png": 1}
    assert left_out(root) == {"files that cannot be read": 1, "folders that cannot be read": 1}


def test_where_nothing_is_left_it_is_said_why(root: Path) -> None:
    for name in CLASSES:
        (root / name / "0.png").unlink()
        (root / name / "._0.png").touch()
        (root / name / "0.png").symlink_to("/nowhere")
    with pytest.raises(InputError, match="holds no pictures in class folders") as refused:
        opened(root)
    assert "left out: 2 hidden files, 2 dead links" in str(refused.value)


@pytest.mark.parametrize("place", ["/proc", "/"])
def test_a_folder_without_end_is_refused(place: str) -> None:
    with pytest.raises(InputError, match=r"more than 20,000 files and folders without pictures"):
        fingerprint(place)
    with pytest.raises(InputError):
        open_folder(Path(place), len(CLASSES))


def test_too_much_beside_the_pictures_is_refused_and_as_much_as_them_is_not(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "OTHERS", 20)
    for number in range(30):
        draw(root / "ant" / f"{number}.png")
        (root / "ant" / f"{number}.txt").touch()
    assert len(found(root)) == 31
    for number in range(60):
        (root / "bee" / f"{number}.txt").touch()
    with pytest.raises(InputError, match="without pictures: give the folder that holds"):
        opened(root)
    monkeypatch.setattr(folders, "OTHERS", 20_000)
    monkeypatch.setattr(folders, "MOST", 30)
    with pytest.raises(InputError, match="more than 30 pictures"):
        opened(root)


def test_folders_deeper_than_a_path_may_be_long_end(root: Path) -> None:
    there = os.open(root / "ant", os.O_RDONLY)
    for _ in range(30):
        os.mkdir("n" * 200, dir_fd=there)
        inner = os.open("n" * 200, os.O_RDONLY, dir_fd=there)
        os.close(there)
        there = inner
    os.close(there)
    try:
        assert len(found(root)) == 2
        assert left_out(root) == {"folders that cannot be read": 1}
    finally:
        shutil.rmtree(root / "ant")


def test_names_that_are_no_utf8_are_names(root: Path) -> None:
    shutil.copy(root / "ant" / "0.png", os.fsencode(root) + b"/ant/caf\xe9.png")
    os.rename(root / "bee", os.fsencode(root) + b"/b\xe9e")
    source = opened(root)
    assert len(source) == 3
    assert source.picture(1).size == (8, 8)
    source.key.encode()
    assert [fate.folder for fate in source.fates.folders] == ["ant", "b\\xe9e"]
    (root / "classes.txt").write_bytes(b"b\xe9e\nant\n")
    assert [label for _, label in opened(root).files] == [1, 1, 0]


def test_more_files_than_are_looked_into_are_taken_by_name(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "ant" / "text.png").write_text("no picture")
    monkeypatch.setattr(sources, "SNIFFED", 2)
    source = opened(root)
    assert len(source) == 3
    with pytest.raises(InputError, match=r"ant/text\.png is no PNG, JPEG or WebP picture"):
        source.check(1)


@pytest.mark.parametrize("by_bytes", [True, False])
def test_the_key_of_a_large_folder_is_of_sizes_and_times(
    root: Path, monkeypatch: pytest.MonkeyPatch, by_bytes: bool
) -> None:
    monkeypatch.setattr(sources, "READ_FILES", 2 if by_bytes else 1)
    before = opened(root).key
    os.utime(root / "ant" / "0.png", ns=(5, 5))
    assert (opened(root).key == before) is by_bytes


def test_a_fingerprint_changes_with_all_that_decides_what_is_listed(root: Path) -> None:
    prints = [fingerprint(root)]

    def changed() -> bool:
        prints.append(fingerprint(root))
        return len(set(prints)) == len(prints)

    assert fingerprint(root) == prints[0]
    draw(root / "ant" / "1.png")
    assert changed()
    (root / "ant" / "1.png").unlink()
    (root / "ant" / "2.png").write_text("no picture")
    assert changed()
    draw(root / "ant" / "2.png")
    assert changed()
    (root / "classes.txt").write_text("ant\nbee\n")
    assert changed()
    facts = (root / "classes.txt").stat()
    (root / "classes.txt").write_text("bee\nant\n")
    os.utime(root / "classes.txt", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert changed()
    (root / "cat").mkdir()
    assert changed()
    (root / "classes.txt").unlink()
    (root / "cat").rmdir()
    place = root / "bee" / "0.png"
    facts, held = place.stat(), place.read_bytes()
    place.write_bytes(held[:-1] + b"x")
    os.utime(place, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert changed()


def test_names_with_line_breaks_are_told_on_one_line(root: Path) -> None:
    (root / "ant" / "a\nb.png").write_bytes(b"\xff\xd8\xff")
    source = opened(root)
    with pytest.raises(InputError, match=r"a\\nb\.png cannot|a\\nb\.png is no"):
        source.check(next(i for i, path in enumerate(source.paths) if "\n" in path))
    draw(root / "b\nee" / "0.png")
    (root / "classes.txt").write_text("ant\nbee")
    with pytest.raises(InputError, match=r"classes\.txt does not list b\\nee"):
        opened(root)
