"""Many sessions at once: when each sees its figures, what idle ones cost, what is left after them.

Needs Linux, as it reads the server's memory, time and handles from /proc.
"""

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from streamlit.proto.Common_pb2 import StringArray

from bench.load.visitor import Seen, Visitor
from bench.slider import ROOT, Served, served
from quant.history.runs import Runs

PAGE = "budget?model=digits-vit"
AT_ONCE, IDLE, PASSING, TOGETHER = 16, 64, 200, 20
WATCHED = 20.0  # seconds that idle sessions are watched for
TOP1 = "Top-1, measured"
TICK = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure releases at once, idle sessions, and sessions that come and go."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        print("\nsessions, digits-vit: calibrating first", flush=True)
        prepare(home)
        with served("streamlit_app.py", (), home) as server:
            budgets = releases(server, AT_ONCE)
            idle(server, IDLE)
            passing(server, PASSING)
        alone = home / "alone"
        alone.mkdir()
        (alone / "calibrations").symlink_to(home / "calibrations")
        with served("streamlit_app.py", (), alone) as server:
            for budget in budgets:
                releases(server, 1, [budget], quiet=True)
        print(f"equal to those of single sessions: {same(home, alone)} of {len(budgets)} runs")


def prepare(home: Path) -> None:
    """Find digits-vit's sensitivities, so that no session has to."""
    command = [sys.executable, "-m", "quant", "allocate", "--model", "digits-vit"]
    subprocess.run(
        [*command, "--average-bits", "4"],
        cwd=ROOT,
        env={**os.environ, "BITLENS_HOME": str(home)},
        check=True,
        capture_output=True,
    )


def releases(
    server: Served, count: int, budgets: Sequence[str] = (), quiet: bool = False
) -> list[str]:
    """Let `count` sessions release their sliders at once; print when each saw figures.

    Returns the budgets, as the slider names them.
    """
    with ExitStack() as stack:
        visitors = [stack.enter_context(Visitor(server.address, PAGE)) for _ in range(count)]
        for visitor in visitors:
            ready(visitor)
        options = list(visitors[0].seen.widgets["plain_budget"][0].options)
        budgets = budgets or random.Random(0).sample(options[10:], count)
        started = time.monotonic()
        for visitor, budget in zip(visitors, budgets, strict=True):
            visitor.seen.moments.clear()
            visitor.set("plain_budget", string_array_value=StringArray(data=[budget]))
        first = [
            waited(visitor, lambda seen: TOP1 in seen.moments, started) for visitor in visitors
        ]
        last = [waited(visitor, finished, started) for visitor in visitors]
        errors = [error for visitor in visitors for error in visitor.seen.errors]
    if not quiet:
        print(f"{count} sessions release at once, {len(errors)} errors")
        print_seconds("first figures", first)
        print_seconds("all images", last)
    return list(budgets)


def ready(visitor: Visitor) -> None:
    """Wait until a session can be used, with a slider that needs no script."""
    visitor.wait(lambda seen: "plain_slider" in seen.widgets)
    visitor.set("plain_slider", fragment=False, bool_value=True)
    visitor.wait(lambda seen: "plain_budget" in seen.widgets)


def finished(seen: Seen) -> bool:
    """Return whether the evaluation of this session is over."""
    return any("images, in all" in text for text in seen.texts)


def waited(visitor: Visitor, condition: Callable[[Seen], object], started: float) -> float:
    """Return the seconds from `started` until a session showed something."""
    visitor.wait(condition)
    moment = visitor.seen.moments.get(TOP1, 0.0) if not finished(visitor.seen) else time.monotonic()
    return moment - started


def idle(server: Served, count: int) -> None:
    """Print what open sessions that nobody uses cost."""
    with ExitStack() as stack:
        for _ in range(count):
            ready(stack.enter_context(Visitor(server.address, PAGE)))
        time.sleep(5)
        before, begun = processor_seconds(server.pid), time.monotonic()
        time.sleep(WATCHED)
        share = (processor_seconds(server.pid) - before) / (time.monotonic() - begun)
    print(f"{count} idle sessions: {share:.1%} of a core")


def passing(server: Served, count: int) -> None:
    """Print memory and handles as sessions come and go."""
    for batch in range(count // TOGETHER + 1):
        if batch in (0, 1, count // TOGETHER // 2, count // TOGETHER):
            time.sleep(3)
            memory, handles = megabytes(server.pid), open_handles(server.pid)
            print(
                f"after {batch * TOGETHER} sessions: {memory:.0f} MB, {handles} handles", flush=True
            )
        with ExitStack() as stack:
            visitors = [stack.enter_context(Visitor(server.address, PAGE)) for _ in range(TOGETHER)]
            for visitor in visitors:
                ready(visitor)


def same(home: Path, other: Path) -> int:
    """Return how many runs of two histories have the same answers, to the bit."""
    runs = [
        {run.recipe.key: asdict(run.counts) for run in listed(place)} for place in (home, other)
    ]
    return sum(runs[0].get(key) == counts for key, counts in runs[1].items())


def listed(home: Path) -> list:
    return Runs(home / "runs.sqlite3").listed()


def print_seconds(name: str, seconds: Sequence[float]) -> None:
    """Print the median and the range."""
    median, least, most = statistics.median(seconds), min(seconds), max(seconds)
    print(f"{name:<20} median {median:5.1f} s ({least:.1f} to {most:.1f})", flush=True)


def processor_seconds(pid: int) -> float:
    """Return the processor time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def megabytes(pid: int) -> float:
    """Return the resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def open_handles(pid: int) -> int:
    """Return how many files and sockets a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
