"""Rows of the history's tables, written and read as they are."""

import os
import platform
import sqlite3
import time
from dataclasses import fields

import numpy as np

from quant.evaluation.answers import Answers, Counts
from quant.history.recipe import Recipe
from quant.history.schema import RUN_SUM, SEALS

TYPES = {
    "labels": np.int32,
    "predicted": np.int32,
    "reference": np.int32,
    "top5": np.bool_,
    "divergence": np.float32,
}
COUNTS = tuple(f.name for f in fields(Counts))
SELECT = f"SELECT *, sum IS {RUN_SUM} AS whole FROM runs WHERE"  # nosec B608 # a constant


def read(
    connection: sqlite3.Connection, where: str, given: dict[str, str]
) -> tuple[list[sqlite3.Row], list[int]]:
    """Return the rows, newest first, and the numbers of those on damaged pages of the file."""
    try:
        return connection.execute(f"{SELECT} {where} ORDER BY id DESC", given).fetchall(), []
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR):
            raise
    rows: list[sqlite3.Row] = []
    unreadable = []
    (last,) = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'runs'").fetchone()
    for run in range(last, 0, -1):
        try:
            rows += connection.execute(f"{SELECT} id = :id AND {where}", {**given, "id": run})
        except sqlite3.DatabaseError:
            unreadable.append(run)
    if not rows:
        raise sqlite3.DatabaseError("none of its pages can be read")
    return rows, unreadable


def new(connection: sqlite3.Connection, key: str, recipe: Recipe) -> int:
    """Write the row of a new run; return its number."""
    names = (recipe.model_key, recipe.images_key, recipe.to_json())
    cursor = connection.execute(
        "INSERT INTO runs (key, created, model_key, images_key, recipe, state, host, pid, beat)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (key, time.time(), *names, *_here()),
    )
    number = int(cursor.lastrowid or 0)
    seal(connection, number)
    return number


def restart(connection: sqlite3.Connection, run: int, recipe: Recipe) -> None:
    """Let a run that is damaged begin anew: it keeps its number, and nothing else."""
    connection.execute("DELETE FROM answers WHERE run_id = ?", (run,))
    fresh = {
        "model_key": recipe.model_key,
        "images_key": recipe.images_key,
        "recipe": recipe.to_json(),
        "created": time.time(),
        "seconds": 0.0,
        **vars(Counts()),
    }
    values = ", ".join(f"{name} = :{name}" for name in fresh)
    statement = f"UPDATE runs SET {values} WHERE id = :run"  # nosec B608 # names of ours, above
    connection.execute(statement, {**fresh, "run": run})
    seal(connection, run)


def insert(connection: sqlite3.Connection, run: int, start: int, answers: Answers) -> None:
    """Write answers that begin at image `start`."""
    blobs = (getattr(answers, name).astype(kind).tobytes() for name, kind in TYPES.items())
    names, places = ", ".join(TYPES), ", ".join("?" * (2 + len(TYPES)))
    connection.execute(
        f"INSERT INTO answers (run_id, start, {names}) VALUES ({places})",  # nosec B608 # ours
        (run, start, *blobs),
    )
    connection.execute(f"{SEALS['answers']} WHERE run_id = ? AND start = ?", (run, start))


def add(connection: sqlite3.Connection, run: int, counts: Counts, seconds: float) -> None:
    """Add counts and seconds to a run's row; the divergence is the sum already."""
    added = [name for name in (*COUNTS, "seconds") if name != "divergence"]
    sums = ", ".join(f"{name} = {name} + :{name}" for name in added)
    values = {**vars(counts), "seconds": seconds, "run": run}
    statement = f"UPDATE runs SET {sums}, divergence = :divergence"  # nosec B608 # names of ours
    connection.execute(f"{statement} WHERE id = :run", values)


def seal(connection: sqlite3.Connection, run: int) -> None:
    """Write the checksum of a run's row, after it was changed."""
    connection.execute(f"{SEALS['runs']} WHERE id = ?", (run,))


def mark(connection: sqlite3.Connection, run: int) -> None:
    """Say that this process works on a run now."""
    connection.execute(
        "UPDATE runs SET state = ?, host = ?, pid = ?, beat = ? WHERE id = ?", (*_here(), run)
    )


def _here() -> tuple[str, str, int, float]:
    """Return the state, host, process and time of who works on a run now."""
    return "running", platform.node(), os.getpid(), time.time()
