"""The history: every evaluation kept in SQLite, to be listed, compared and gone on with."""

import os
import platform
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np

from quant.evaluation.answers import Answers, Counts, Evaluation
from quant.history.database import damaged, prepare, transaction
from quant.history.recipe import Recipe

FILE = "runs.sqlite3"
RUNNING, DONE, STOPPED = "running", "done", "stopped"
SILENCE = 120.0  # seconds without an answer after which a run counts as stopped
TYPES = {
    "labels": np.int32,
    "predicted": np.int32,
    "reference": np.int32,
    "top5": np.bool_,
    "divergence": np.float32,
}
COUNTS = tuple(f.name for f in fields(Counts))


@dataclass(frozen=True, eq=False)
class Run:
    """One evaluation of the history, as it stood when it was read.

    Attributes:
        state: "running", "done" or "stopped"; one whose process is gone is stopped.
        counts: its answers added up; reading them does not read the answers.
        seconds: spent running the configuration.
    """

    id: int
    created: datetime
    recipe: Recipe
    state: str
    counts: Counts
    seconds: float
    pinned: bool
    note: str
    read: Callable[[], Answers] = field(repr=False)

    @cached_property
    def answers(self) -> Answers:
        """The answers to the first `counts.images` images, read from the file when asked for."""
        return self.read()

    @property
    def evaluation(self) -> Evaluation | None:
        """What the answers say so far; None before the first."""
        return self.counts.evaluation(self.seconds) if self.counts.images else None


class Runs:
    """The runs in one file. Threads and processes may use it at once.

    Args:
        path: made, with its folder, where there is none.

    Raises:
        ValueError: the file cannot be used: damaged, of a newer version, or not to be written. It
            is left as it is. All methods raise it too, and for a run that is not there.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        prepare(self.path)

    def begin(self, recipe: Recipe) -> Run:
        """Return the run of a recipe, now running: a new one, or the one there is to go on with."""
        key = recipe.key
        with transaction(self.path, write=True) as connection:
            row = connection.execute("SELECT id FROM runs WHERE key = ?", (key,)).fetchone()
            number = _new(connection, key, recipe) if row is None else int(row["id"])
            _mark(connection, number)
            return self._run(self._of(connection, number))

    def append(self, run: int, answers: Answers, seconds: float, start: int | None = None) -> None:
        """Keep answers that took so many seconds.

        Args:
            answers: none at all only says that the run goes on.
            start: the image that they begin with, by default the first not answered yet. What is
                answered already, by another process at the same run, is left as it is.
        """
        with transaction(self.path, write=True) as connection:
            row = self._of(connection, run)
            have = int(row["images"])
            start = have if start is None else start
            if start > have:
                raise ValueError(f"run {run} has {have} answers: answer {start} cannot follow")
            new = answers.part(have - start)
            if len(new):
                _insert(connection, run, have, new)
                counts = new.counts(before=row["divergence"])
                _add(connection, run, counts, seconds * len(new) / len(answers))
            if len(new) or not len(answers):
                _mark(connection, run)

    def finish(self, run: int) -> None:
        """Mark a run as having all the answers that were wanted of it."""
        self._set(run, "state", DONE)

    def stop(self, run: int) -> None:
        """Mark a run as one that no one works on now; it can be resumed."""
        self._set(run, "state", STOPPED)

    def pin(self, run: int, pinned: bool) -> None:
        """Pin a run, or no longer."""
        self._set(run, "pinned", int(pinned))

    def note(self, run: int, note: str) -> None:
        """Write a note on a run, in place of the one there is."""
        self._set(run, "note", note)

    def delete(self, run: int) -> None:
        """Delete a run and its answers, and float's logits with the last run on their images."""
        with transaction(self.path, write=True) as connection:
            self._of(connection, run)
            connection.execute("DELETE FROM runs WHERE id = ?", (run,))
            connection.execute(
                "DELETE FROM logits WHERE (model_key, images_key) NOT IN"
                " (SELECT model_key, images_key FROM runs)"
            )

    def get(self, run: int) -> Run:
        """Return one run."""
        with transaction(self.path) as connection:
            return self._run(self._of(connection, run))

    def listed(self, model_key: str | None = None, images_key: str | None = None) -> list[Run]:
        """Return the runs, newest first: all, or those of a model and of a set of images."""
        wanted = {"model_key": model_key, "images_key": images_key}
        given = {column: value for column, value in wanted.items() if value is not None}
        where = " AND ".join(f"{column} = :{column}" for column in given) or "1"
        with transaction(self.path) as connection:
            rows = connection.execute(f"SELECT * FROM runs WHERE {where} ORDER BY id DESC", given)
            return [self._run(row) for row in rows]

    def _of(self, connection: sqlite3.Connection, run: int) -> sqlite3.Row:
        row: sqlite3.Row | None = connection.execute(
            "SELECT * FROM runs WHERE id = ?", (run,)
        ).fetchone()
        if row is None:
            raise ValueError(f"there is no run {run} in {self.path}")
        return row

    def _set(self, run: int, column: str, value: object) -> None:
        with transaction(self.path, write=True) as connection:
            self._of(connection, run)
            connection.execute(f"UPDATE runs SET {column} = ? WHERE id = ?", (value, run))

    def _run(self, row: sqlite3.Row) -> Run:
        run, images = int(row["id"]), int(row["images"])
        try:
            recipe = Recipe.from_json(row["recipe"])
        except (ValueError, TypeError, KeyError) as error:
            raise damaged(self.path, f"the recipe of run {run}") from error
        return Run(
            id=run,
            created=datetime.fromtimestamp(row["created"], UTC),
            recipe=recipe,
            state=_state(row),
            counts=Counts(**{name: row[name] for name in COUNTS}),
            seconds=row["seconds"],
            pinned=bool(row["pinned"]),
            note=row["note"],
            read=lambda: self._answers(run, images),
        )

    def _answers(self, run: int, images: int) -> Answers:
        with transaction(self.path) as connection:
            self._of(connection, run)
            rows = connection.execute(
                f"SELECT {', '.join(TYPES)} FROM answers WHERE run_id = ? ORDER BY start", (run,)
            ).fetchall()
        try:
            parts = [
                Answers(*(np.frombuffer(row[name], kind) for name, kind in TYPES.items()))
                for row in rows
            ]
        except ValueError as error:
            raise damaged(self.path, f"the answers of run {run}") from error
        answers = Answers.joined(parts).part(0, images)
        if len(answers) < images:
            raise damaged(self.path, f"{images - len(answers)} answers of run {run} are gone")
        return answers


def _new(connection: sqlite3.Connection, key: str, recipe: Recipe) -> int:
    names = (recipe.model_key, recipe.images_key, recipe.to_json())
    cursor = connection.execute(
        "INSERT INTO runs (key, created, model_key, images_key, recipe, state, host, pid, beat)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (key, time.time(), *names, *_here()),
    )
    return int(cursor.lastrowid or 0)


def _insert(connection: sqlite3.Connection, run: int, start: int, answers: Answers) -> None:
    blobs = (getattr(answers, name).astype(kind).tobytes() for name, kind in TYPES.items())
    places = ", ".join("?" * (2 + len(TYPES)))
    connection.execute(
        f"INSERT INTO answers (run_id, start, {', '.join(TYPES)}) VALUES ({places})",
        (run, start, *blobs),
    )


def _add(connection: sqlite3.Connection, run: int, counts: Counts, seconds: float) -> None:
    added = [name for name in (*COUNTS, "seconds") if name != "divergence"]  # it is the sum already
    sums = ", ".join(f"{name} = {name} + :{name}" for name in added)
    values = {**vars(counts), "seconds": seconds, "run": run}
    connection.execute(f"UPDATE runs SET {sums}, divergence = :divergence WHERE id = :run", values)


def _mark(connection: sqlite3.Connection, run: int) -> None:
    connection.execute(
        "UPDATE runs SET state = ?, host = ?, pid = ?, beat = ? WHERE id = ?", (*_here(), run)
    )


def _here() -> tuple[str, str, int, float]:
    """Return the state, host, process and time of who works on a run now."""
    return RUNNING, platform.node(), os.getpid(), time.time()


def _state(row: sqlite3.Row) -> str:
    """Return a run's state; without a sign of life for long, or a process, it is stopped."""
    if row["state"] != RUNNING:
        return str(row["state"])
    gone = row["host"] == platform.node() and not _lives(row["pid"])
    return STOPPED if gone or time.time() - row["beat"] > SILENCE else RUNNING


def _lives(process: int) -> bool:
    if os.name != "posix":
        return True  # elsewhere the signal would not only ask; silence has to tell
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's
    return True
