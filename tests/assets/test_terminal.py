"""What the command lines share: one sentence for wrong input, clean stdout, progress on stderr."""

import argparse
import json
from pathlib import Path

import pytest

from assets import terminal
from assets.errors import InputError
from assets.outputs import Output
from assets.sets.options import add_data_arguments, add_model_arguments


def raising(error: BaseException):
    def main(arguments: list[str] | None) -> int:
        raise error

    return main


def test_run_hands_on_arguments_and_exit_code() -> None:
    seen = []
    assert terminal.run(lambda words: seen.append(words) or 7, ["--x"]) == 7
    assert seen == [["--x"]]


@pytest.mark.parametrize("kind", [InputError, ValueError])
def test_wrong_input_is_one_line_without_traceback(
    kind: type[ValueError], capsys: pytest.CaptureFixture[str]
) -> None:
    assert terminal.run(raising(kind("7 bits is\n   too odd: use 8"))) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "bitlens: 7 bits is too odd: use 8\n"


def test_interruption_has_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert terminal.run(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "bitlens: stopped\n"


def test_bugs_keep_their_traceback() -> None:
    with pytest.raises(KeyError):
        terminal.run(raising(KeyError("bug")))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "there is not enough memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "not enough"),
        (OSError(28, "No space left on device", "/x/y"), "/x/y cannot be used: No space left"),
        (PermissionError(13, "Permission denied"), "a file cannot be used: Permission denied"),
        (OverflowError("int too large"), "a number is too large"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), "can't decode byte 0xff"),
    ],
)
def test_what_the_machine_has_not_is_said_in_one_line(
    error: Exception, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert terminal.run(raising(error)) == 2
    said = capsys.readouterr().err
    assert words in said and said.startswith("bitlens: ") and said.count("\n") == 1


def test_a_reader_that_left_ends_quietly(capsys: pytest.CaptureFixture[str]) -> None:
    assert terminal.run(raising(BrokenPipeError())) == 141
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("bug", [KeyError("x"), RuntimeError("shapes"), RecursionError()])
def test_other_bugs_keep_their_traceback_too(bug: Exception) -> None:
    with pytest.raises(type(bug)):
        terminal.run(raising(bug))


def test_json_goes_to_stdout_alone_or_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    payload = {"top1": 0.5, "layers": ["é"]}
    terminal.write_json(payload, Output("-"))
    assert json.loads(capsys.readouterr().out) == payload
    terminal.write_json(payload, Output(tmp_path / "out.json"))
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == payload


def test_not_a_number_never_reaches_json() -> None:
    with pytest.raises(ValueError, match="JSON"):
        terminal.write_json({"top1": float("nan")}, Output("-"))


def test_arguments_have_defaults() -> None:
    parser = argparse.ArgumentParser()
    add_model_arguments(parser)
    add_data_arguments(parser)
    options = parser.parse_args(["--model", "digits-vit"])
    assert vars(options) == {
        "model": "digits-vit",
        "checkpoint": None,
        "download": False,
        "device": "auto",
        "data": None,
    }


def test_progress_ends_with_the_total_and_keeps_off_stdout(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = terminal.print_progress("calibrate")
    for done in range(1, 201):
        progress(done, 200)
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert printed.out == "" and len(lines) <= 12
    assert lines[-1].startswith("calibrate: 200 of 200, 0 s left")


def test_progress_says_what_there_is_to_say_and_counts_what_was_known_as_free(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal.time, "monotonic", iter([0.0, 0.0, 20.0]).__next__)
    progress = terminal.print_progress("evaluate", known=80)
    progress(80, 100, "half of them right")
    progress(90, 100)
    assert capsys.readouterr().err.splitlines() == [
        "evaluate: 80 of 100, half of them right, 0 s left",
        "evaluate: 90 of 100, 20 s left",
    ]


def test_on_a_terminal_one_line_covers_the_one_before(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal.sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    progress = terminal.print_progress("evaluate")
    progress(50, 100, "much to be said " * 4)
    progress(100, 100)
    first, second = capsys.readouterr().err.removeprefix("\r").split("\r")
    assert first == "evaluate: 50 of 100, much to be said mu"
    assert second == f"{'evaluate: 100 of 100, 0 s left':<39}\n"


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    rows = [["layer", "bits", ""], ["a", "10", "kept"]]
    assert terminal.aligned(rows) == "layer  bits\na      10    kept"
    assert terminal.aligned(rows, right=True) == "layer  bits\na        10  kept"


def test_a_markdown_table_has_a_rule_under_its_head() -> None:
    assert terminal.markdown([["a", "b"], ["1", "2"]]) == "| a | b |\n|---|---|\n| 1 | 2 |"
