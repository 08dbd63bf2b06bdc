"""What the command lines share: progress, tables, JSON output, and errors in one sentence."""

import argparse
import json
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from types import FrameType
from typing import Any, NoReturn

from assets.errors import in_words
from assets.outputs import Output, say, tried

WRONG_INPUT = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
UNREAD = 141  # 128 + SIGPIPE: who read standard output has left


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
    with tried(options):
        payload, text = options.run(options)
        target: Output | None = getattr(options, "json", None)  # not all commands have it
        try:
            if payload is not None and target is not None:
                write_json(payload, target)
        finally:  # what was found is shown, also where no file can be written
            if text and not (target and target.is_stdout):
                say(f"{text}\n")
    return getattr(options, "code", 0)  # a command may set it


def add_json(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --json, for `write_json`."""
    text = f"write {what} here (- is standard output)"
    parser.add_argument("--json", metavar="FILE", type=Output, help=text)


def run(main: Callable[[list[str] | None], int], arguments: list[str] | None = None) -> int:
    """Call a command line's main; return its exit code.

    It is 2, with one sentence, for what the user can put right, and 141, without a word, where who
    read standard output has left.
    """
    try:
        return main(arguments)
    except BrokenPipeError:
        return UNREAD
    except KeyboardInterrupt:
        note("bitlens: stopped")
        return INTERRUPTED
    except Exception as error:
        words = in_words(error)
        if words is None:
            raise
        note(f"bitlens: {words}")
        return WRONG_INPUT


def start(main: Callable[[list[str] | None], int]) -> NoReturn:
    """Run a command line as a program and exit.

    Native code (HiGHS has a stray message) may print to file descriptor 1; it goes to stderr, so
    that nothing but our own output stands on standard output.
    """
    if sys.stderr is None:  # closed: what is printed must not go elsewhere
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        with suppress(OSError):
            os.dup2(sys.stderr.fileno(), 2)
    if sys.stdout is None:
        note("bitlens: standard output is closed: send it to a file, or to /dev/null")
        sys.exit(WRONG_INPUT)
    for name in ("SIGTERM", "SIGHUP"):  # leave as by ctrl-C, without temporary files
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _leave)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("bitlens: %(message)s"))
    for package in ("assets", "lrp", "quant"):
        logging.getLogger(package).addHandler(handler)
    sys.stdout = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="backslashreplace")
    os.dup2(2, 1)
    try:
        code: Any = run(main)
    except SystemExit as end:
        code = end.code
    sys.exit(run(_flush) or code)


def _flush(arguments: list[str] | None) -> int:
    say("")
    return 0


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def note(text: str, end: str = "\n") -> None:
    """Print to stderr; that it is closed or full stops no work."""
    with suppress(OSError, ValueError):
        print(text, end=end, file=sys.stderr or open(os.devnull, "w"), flush=True)  # noqa: SIM115


def write_json(payload: dict[str, Any], target: Output) -> None:
    """Write a payload to a file or to standard output."""
    target.write(json.dumps(payload, indent=2, allow_nan=False) + "\n")


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
        tty = sys.stderr is not None and sys.stderr.isatty()
        steps = 100 if tty else 10
        reached = steps * done // max(total, 1)
        if reached == shown:
            return
        shown = reached
        left = (time.monotonic() - started) / max(done - known, 1) * (total - done)
        start, end = ("\r", "" if done < total else "\n") if tty else ("", "\n")
        text = f"{title}: {done} of {total}{what and ', '}{what}, {_duration(left)} left"
        if start:  # one line of the terminal, that covers the one before
            text = text[: shutil.get_terminal_size().columns - 1]
            width = max(width, len(text))
        note(f"{start}{text:<{width}}", end)

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
