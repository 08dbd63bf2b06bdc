"""Files that commands write: refused before the work, whole or not at all."""

import argparse
import os
import re
import stat
from pathlib import Path

import pytest

from assets import outputs, terminal
from assets.errors import InputError
from assets.outputs import Output, OutputFolder, tried

pytestmark = pytest.mark.skipif(os.name != "posix", reason="of links, pipes and devices")
NO_ROOT = pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")


def attempt(**options: object) -> None:
    with tried(argparse.Namespace(**options)):
        pass


def everything(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


class Command:
    """A command that counts its work, and returns what it found."""

    SAYS = "works"

    def __init__(self) -> None:
        self.worked = 0

    def add(self, parser: argparse.ArgumentParser) -> None:
        terminal.add_json(parser, "all")
        parser.add_argument("--data")
        parser.add_argument("--plan", type=Output)

    def run(self, options: argparse.Namespace) -> tuple[dict[str, object], str]:
        self.worked += 1
        if options.plan:
            options.plan.write("plan\n")
        return {"found": 1}, "found 1"

    def __call__(self, *arguments: object) -> int:
        words = ["work", *map(str, arguments)]
        return terminal.run(lambda them: terminal.choose("p", "d", {"work": self}, them), words)


@pytest.fixture
def command() -> Command:
    return Command()


def test_a_file_is_written_whole_with_the_rights_of_any_new_file(tmp_path: Path) -> None:
    Output(tmp_path / "x.json").write("é\n")
    assert (tmp_path / "x.json").read_bytes() == "é\n".encode()
    (tmp_path / "plain").touch()
    rights = stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert stat.S_IMODE((tmp_path / "x.json").stat().st_mode) == rights
    assert everything(tmp_path) == ["plain", "x.json"]


def test_a_file_written_again_keeps_its_rights_and_a_link_stays_one(tmp_path: Path) -> None:
    real = tmp_path / "real.json"
    real.write_text("old")
    real.chmod(0o640)
    link = tmp_path / "link.json"
    link.symlink_to("real.json")
    attempt(json=Output(link))
    assert real.read_text() == "old"
    Output(link).write("new")
    assert link.is_symlink() and real.read_text() == "new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "deeper" / "there.json")
    attempt(json=Output(dangling))
    Output(dangling).write("there")
    assert (tmp_path / "deeper" / "there.json").read_text() == "there"


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_an_earlier_file_is_never_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "x.json"
    path.write_text("an earlier result")
    monkeypatch.setattr(outputs.os, fails, full)
    with pytest.raises(InputError, match=r"x\.json cannot be written \(No space left on device\)"):
        Output(path).write("a later one")
    assert path.read_text() == "an earlier result"
    assert everything(tmp_path) == ["x.json"]


def test_a_folder_that_is_not_there_is_made_and_goes_where_nothing_is_written(
    tmp_path: Path, command: Command
) -> None:
    assert command("--json", tmp_path / "none" / "deeper" / "x.json") == 0
    assert everything(tmp_path) == ["none", "none/deeper", "none/deeper/x.json"]
    attempt(json=Output(tmp_path / "unused" / "x.json"), plan=Output(tmp_path / "unused" / "y"))
    assert "unused" not in everything(tmp_path)


def refused(tmp_path: Path) -> dict[str, object]:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "circle").symlink_to("circle")
    return {
        "a folder": tmp_path / "folder",
        "a name that ends as a folder's": f"{tmp_path}/new/",
        "nothing": "",
        "below a file": tmp_path / "file" / "x.json",
        "a long name": tmp_path / ("n" * 300),
        "a circle of links": tmp_path / "circle",
        "a full device": "/dev/full",
        "where the system makes the files": "/proc/x.json",
        "an impossible name": "a\0b",
    }


@pytest.mark.parametrize("what", range(9))
def test_what_cannot_be_written_is_refused_before_any_work(
    tmp_path: Path, command: Command, capsys: pytest.CaptureFixture[str], what: int
) -> None:
    path = list(refused(tmp_path).values())[what]
    before = everything(tmp_path)
    for option in ("--json", "--plan"):
        assert command(option, path) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and command.worked == 0
    assert re.fullmatch(r"(bitlens: .* cannot be written.*\n){2}", printed.err)
    assert everything(tmp_path) == before


@NO_ROOT
def test_what_may_not_be_written_is_refused_before_any_work(
    tmp_path: Path, command: Command
) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    (tmp_path / "kept.json").touch(mode=0o444)
    for path in (tmp_path / "locked" / "x.json", tmp_path / "kept.json"):
        assert command("--json", path) == 2
    assert command.worked == 0


def test_one_file_for_two_outputs_is_refused(
    tmp_path: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x"
    assert command("--json", path, "--plan", f"{tmp_path}/./x") == 2
    path.touch()
    (tmp_path / "hard").hardlink_to(path)
    (tmp_path / "soft").symlink_to(path)
    for other in ("hard", "soft"):
        assert command("--json", path, "--plan", tmp_path / other) == 2
    assert command("--json", "-", "--plan", "/dev/stdout") == 2
    assert command.worked == 0 and "for two outputs" in capsys.readouterr().err
    assert command("--json", "/dev/null", "--plan", "/dev/null") == 0


def test_what_is_read_is_not_written(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BITLENS_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "calibrations").mkdir(parents=True)
    picture, result = tmp_path / "images" / "p.png", tmp_path / "images" / "x.json"
    picture.parent.mkdir()
    history = tmp_path / "home" / "runs.sqlite3"
    for path in (picture, result, history):
        path.write_text("read")
    assert command("--data", picture, "--json", picture) == 2
    assert command("--data", picture.parent, "--json", picture) == 2
    assert command("--json", history) == 2
    assert command.worked == 0
    assert command("--data", picture.parent, "--json", result) == 0


def test_a_result_is_shown_where_its_file_cannot_be_written_after_all(
    tmp_path: Path,
    command: Command,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outputs.os, "replace", full)
    assert command("--json", tmp_path / "x.json") == 2
    printed = capsys.readouterr()
    assert printed.out == "found 1\n"
    assert "No space left on device" in printed.err and printed.err.count("\n") == 1
    assert everything(tmp_path) == []


def test_pipes_and_devices_are_written_as_they_are(tmp_path: Path, command: Command) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert command("--plan", pipe, "--json", "/dev/null") == 0
    assert os.read(reader, 99) == b"plan\n"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode) and stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "link"])
def test_standard_output_has_several_names(
    tmp_path: Path, command: Command, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "link").symlink_to("/dev/stdout")
    target = tmp_path / name if name == "link" else name
    assert command("--json", target) == 0
    assert capsys.readouterr().out == '{\n  "found": 1\n}\n'


def test_files_of_a_folder_are_tried_each(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    with pytest.raises(InputError, match="b' cannot be written: it is a folder"):
        attempt(out=OutputFolder(str(tmp_path), ("a", "b")))
    with pytest.raises(InputError, match="is read too"):
        (tmp_path / "a").touch()
        attempt(out=OutputFolder(str(tmp_path), ("a",)), image=str(tmp_path / "a"))
