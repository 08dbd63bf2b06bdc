"""What the command lines share: progress, tables, JSON output, and errors in one sentence."""

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from assets.errors import InputError

WRONG_INPUT = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one sentence, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2; subcommands' parsers are of this class too."""
        self.exit(WRONG_INPUT, f"bitlens: {message} (see {self.prog} --help)\n")


def choose(
    program: str,
    description: str,
    commands: Mapping[str, Any],
    arguments: list[str] | None,
) -> int:
    """Parse a command line that starts with one of `commands`, run it, return the exit code.

    Args:
        commands: modules by name, each with `SAYS`, `add(parser)` and `run(options)`, which
            returns what --json writes, and the text to print where that is not on standard output.
    """
    parser = Parser(prog=program, description=description)
    choices = parser.add_subparsers(dest="command", required=True)
    for name, command in commands.items():
        one = choices.add_parser(name, help=command.SAYS)
        one.set_defaults(run=command.run)
        command.add(one)
    options = parser.parse_args(arguments)
    payload, text = options.run(options)
    target = getattr(options, "json", None)  # not all commands have it
    if payload is not None:
        write_json(payload, target)
    if text and target != "-":
        print(text)
    return 0


def add_json(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --json, for `write_json`."""
    text = f"write {what} here (- is standard output)"
    parser.add_argument("--json", metavar="FILE", help=text)


def run(main: Callable[[list[str] | None], int], arguments: list[str] | None = None) -> int:
    """Call a command line's main; return its exit code, 2 with one sentence for wrong input."""
    try:
        return main(arguments)
    except ValueError as error:
        print(f"bitlens: {' '.join(str(error).split())}", file=sys.stderr)
        return WRONG_INPUT
    except KeyboardInterrupt:
        print("bitlens: stopped", file=sys.stderr)
        return INTERRUPTED


def start(main: Callable[[list[str] | None], int]) -> NoReturn:
    """Run a command line as a program and exit.

    Native code (HiGHS has a stray message) may print to file descriptor 1; it goes to stderr, so
    that nothing but our own output stands on standard output.
    """
    sys.stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    code = run(main)
    sys.stdout.flush()
    sys.exit(code)


def write_json(payload: dict[str, Any], target: str | None) -> None:
    """Write a payload to a file, to stdout for "-", or nowhere for None."""
    if target is None:
        return
    text = json.dumps(payload, indent=2, allow_nan=False) + "\n"
    if target == "-":
        sys.stdout.write(text)
    else:
        write_file(text, target)


def write_file(text: str, target: str) -> None:
    """Write a text to a file; InputError where that cannot be."""
    try:
        Path(target).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{target} cannot be written: give a file in an existing folder"
        ) from error


def aligned(rows: Sequence[Sequence[str]], right: bool = False) -> str:
    """Lay rows of equal length out in columns; `right` aligns all but the first to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    signs = ["<", *("<>"[right] for _ in widths[1:])]
    lines = (
        "  ".join(f"{cell:{s}{w}}" for cell, s, w in zip(row, signs, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join(lines)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Lay rows out as a Markdown table; the first is its head."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def print_progress(title: str, known: int = 0) -> Callable[..., None]:
    """Return a callback (done, total, what) that prints progress and time left to stderr.

    On a terminal one line is written over and over, elsewhere one line for each tenth.

    Args:
        known: how many were done before, and took no time.
    """
    started, shown, width = time.monotonic(), -1, 0

    def progress(done: int, total: int, what: str = "", so_far: object = None) -> None:
        nonlocal shown, width
        steps = 100 if sys.stderr.isatty() else 10
        reached = steps * done // max(total, 1)
        if reached == shown:
            return
        shown = reached
        left = (time.monotonic() - started) / max(done - known, 1) * (total - done)
        start, end = ("\r", "" if done < total else "\n") if sys.stderr.isatty() else ("", "\n")
        text = f"{title}: {done} of {total}{what and ', '}{what}, {_duration(left)} left"
        if start:  # one line of the terminal, that covers the one before
            text = text[: shutil.get_terminal_size().columns - 1]
            width = max(width, len(text))
        print(f"{start}{text:<{width}}", end=end, file=sys.stderr, flush=True)

    return progress


def print_stages() -> Callable[..., None]:
    """Return a callback (done, total, stage) that prints the progress of each stage by its name."""
    printed = cache(print_progress)

    def progress(done: int, total: int, stage: str = "", so_far: object = None) -> None:
        printed(stage)(done, total)

    return progress


def _duration(seconds: float) -> str:
    """Return a time such as "3 min 20 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
