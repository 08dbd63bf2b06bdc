"""What every made-up case must keep to: no code run, nothing written, nothing asked of a network,
bounded memory and processor time; and what is refused is told in one sentence.

`BITLENS_FUZZ_CASES=2000` tries so many cases of each kind, and `--hypothesis-seed=7` chooses them.
"""

import os
import re
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings

MORE = int(os.environ.get("BITLENS_FUZZ_CASES") or 0)
MEMORY = 1_500_000_000  # bytes beside what was taken: 50 million pixels a few times over
ADDRESSES = 8_000_000_000  # bytes of address space: a case that wants more fails, not the machine
SECONDS = 60  # of processor time; the slowest case takes a second or two
LONGEST = 1000  # letters of a refusal
FORBIDDEN = re.compile(
    r"os\.(system|exec|fork|posix_spawn|spawn|putenv|remove|rename|rmdir|mkdir|link|symlink"
    r"|truncate|chmod|chown|kill)|subprocess\.|socket\.(connect|getaddrinfo|bind|sendto)"
    r"|pickle\.find_class|shutil\.|ctypes\.dlopen|webbrowser\."
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
STATUS, REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")

_watched: list[str] | None = None


class Endless(BaseException):
    """A case that does not end; no `except Exception` may hide it."""


def cases(count: int) -> settings:
    """Return settings for so many cases, the same ones at each run unless more are asked for."""
    return settings(
        max_examples=MORE or count,
        derandomize=not MORE,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


@contextmanager
def guarded() -> Iterator[None]:
    """Fail where what is done inside runs code, writes, asks a network, or takes far too much."""
    global _watched
    before, _watched = _most_memory(reset=True), []
    try:
        with _bounded():
            yield
    finally:
        seen, _watched = _watched, None
    assert not seen, seen
    assert _most_memory() - before < MEMORY


def outcome(read: Callable[[], Any], refusal: type[Exception]) -> Any:
    """Return what a reader reads; None where it refuses, in one sentence and by no other error."""
    try:
        with guarded():
            return read()
    except Exception as error:
        if type(error) is not refusal:
            raise
        text = str(error)
        assert text.isprintable() and 0 < len(text) <= LONGEST, text
        assert "memory" not in text, text  # which cases this small never need
        return None


def _most_memory(reset: bool = False) -> int:
    """Return the most bytes the process has held since the last reset."""
    if reset and REFERENCES.exists():
        REFERENCES.write_text("5")
    return _told("VmHWM")


def _told(what: str) -> int:
    """Return what Linux says of this process, in bytes; 0 elsewhere."""
    text = STATUS.read_text() if STATUS.exists() else f"{what}: 0"
    return 1024 * int(re.search(rf"{what}:\s*(\d+)", text)[1])


@contextmanager
def _bounded() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    taken = _told("VmSize")
    former = signal.signal(signal.SIGPROF, _end)
    resource.setrlimit(resource.RLIMIT_AS, (taken + ADDRESSES if taken else soft, hard))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, former)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _end(*_: object) -> None:
    raise Endless(f"more than {SECONDS} seconds of processor time")


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _watched is None:
        return
    written = event == "open" and isinstance(args[2], int) and args[2] & WRITING
    if FORBIDDEN.match(event) or (written and ".pyc" not in str(args[0])):
        _watched.append(f"{event} {args!r}"[:LONGEST])


sys.addaudithook(_hook)
