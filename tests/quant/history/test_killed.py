"""`quant evaluate` killed in the middle, again and again: what it kept is whole, and it goes on to
the same answers as a run that nobody disturbed."""

import json
import multiprocessing
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from safetensors import safe_open

from quant.__main__ import main
from quant.history.runs import Runs

KILLS = int(os.environ.get("BITLENS_KILLS") or 3)
IMAGES = 200
ARGUMENTS = (
    *("evaluate", "--model", "digits-swin", "--calibration-images", "4", "--limit", str(IMAGES)),
    *("--weight-bits", "4", "--activation-bits", "4"),
)
pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes are killed")


def evaluate(home: str) -> None:
    """Run the command in a process of its own, as a user would."""
    os.environ["BITLENS_HOME"] = home
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    raise SystemExit(main([*ARGUMENTS, "--json", os.path.join(home, "report.json")]))


@pytest.fixture(scope="module")
def begin() -> Callable[[Path], multiprocessing.Process]:
    """Begin the command; modules are loaded once for all."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.quant.history.test_killed"])

    def begin(home: Path) -> multiprocessing.Process:
        process = context.Process(target=evaluate, args=(str(home),))
        process.start()
        return process

    return begin


def rows(home: Path) -> int:
    """How many batches of answers and logits are in the history."""
    if not (home / "runs.sqlite3").exists():
        return 0
    try:
        with closing(sqlite3.connect(home / "runs.sqlite3")) as history:
            count = "SELECT (SELECT count(*) FROM answers) + (SELECT count(*) FROM logits)"
            return history.execute(count).fetchone()[0]
    except sqlite3.OperationalError:  # its tables are being made
        return 0


def answers(home: Path) -> dict[tuple[str, str], list[bytes]]:
    """By configuration, the answers kept, to the bit; each run is there once."""
    found: dict[tuple[str, str], list[bytes]] = {}
    for run in Runs(home / "runs.sqlite3").listed() if (home / "runs.sqlite3").exists() else ():
        bits = json.dumps(run.recipe.to_json())
        assert (run.recipe.preset, bits) not in found
        found[run.recipe.preset, bits] = [column.tobytes() for column in run.answers.columns()]
    return found


def calibrations(home: Path) -> dict[str, tuple[dict[str, str], dict[str, bytes]]]:
    """What a reader of kept calibrations finds: whole files, in whatever order of the header."""
    found = {}
    for file in (home / "calibrations").rglob("*.safetensors"):
        with safe_open(file, "np") as held:
            tensors = {name: held.get_tensor(name).tobytes() for name in held.offset_keys()}
            found[str(file.relative_to(home))] = (held.metadata(), tensors)
    return found


def check_whole(home: Path, plain: Path) -> None:
    """All that a killed process left is a beginning of what the undisturbed one kept."""
    if (home / "runs.sqlite3").exists():
        with closing(sqlite3.connect(home / "runs.sqlite3")) as history:
            assert history.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    expected = answers(plain)
    for run, columns in answers(home).items():
        assert all(map(bytes.startswith, expected[run], columns))
    assert calibrations(home).items() <= calibrations(plain).items()


def reached(home: Path, stage: int, share: float, most: int) -> bool:
    """Return whether a process has come to the calibration, its file, or a share of all batches."""
    if stage < 2:
        folder = home / "calibrations" if stage else home
        return folder.exists() and any(folder.rglob("*"))
    return rows(home) >= share * most


def test_a_killed_evaluation_loses_nothing_it_had_kept(
    begin: Callable[[Path], multiprocessing.Process], tmp_path: Path
) -> None:
    plain = tmp_path / "plain"
    undisturbed = begin(plain)
    undisturbed.join()
    assert undisturbed.exitcode == 0
    chance, most, home = random.Random(KILLS), rows(plain), tmp_path
    killed = 0
    for kill in range(KILLS):
        stage = kill % 3
        home = home if stage else tmp_path / f"home-{kill}"
        share, delay = chance.random(), chance.random() * (0.1 if stage else 2)
        process = begin(home)
        while process.is_alive() and not reached(home, stage, share, most):
            time.sleep(0.005)
        time.sleep(delay)
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
        check_whole(home, plain)
        if stage == 2 or kill == KILLS - 1:
            resumed = begin(home)
            resumed.join()
            assert resumed.exitcode == 0
            assert answers(home) == answers(plain)
            assert calibrations(home) == calibrations(plain)
            assert report(home) == report(plain)
    assert killed > KILLS / 2  # others had come to their end before


def report(home: Path) -> dict[str, object]:
    """What the command wrote, but for times and numbers of runs."""
    written = json.loads((home / "report.json").read_text(encoding="utf-8"))
    return {key: value for key, value in written.items() if key not in ("seconds", "run")}
