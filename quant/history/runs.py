"""The history: every evaluation kept in SQLite, to be listed, compared and gone on with."""

import logging
import os
import platform
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np

from quant.evaluation.answers import Answers, Counts, Evaluation
from quant.history import rows
from quant.history.database import UnwritableError, prepare, transaction
from quant.history.recipe import Recipe
from quant.history.rows import COUNTS, SELECT, TYPES
from quant.history.schema import ANSWERS_SUM, LOGITS_SUM, VERSION

LOG = logging.getLogger(__name__)
FILE = "runs.sqlite3"
RUNNING, DONE, STOPPED = "running", "done", "stopped"
SILENCE = 120.0  # seconds without an answer after which a run counts as stopped


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


class UnreadableError(ValueError):
    """A run is damaged, or was kept by another version; others can be read."""


class Runs:
    """The runs in one file. Threads and processes may use it at once.

    Where the file cannot be written, its runs can be read all the same.

    Args:
        path: made, with its folder, where there is none.
        look: leave the file as it is, also where it is not there or of an older version.

    Raises:
        ValueError: the file cannot be used: damaged, or of a newer version. It is left as it is.
            All methods raise it too, and for a run that is not there.
    """

    def __init__(self, path: str | Path, look: bool = False) -> None:
        self.path = Path(path)
        try:
            if not look:
                prepare(self.path)
        except UnwritableError:
            with transaction(self.path):  # a file that cannot be read either says so
                pass

    def check_writable(self) -> None:
        """Raise UnwritableError where nothing can be kept: on a full or read-only disk."""
        with transaction(self.path, write=True) as connection:
            connection.execute(f"PRAGMA user_version = {VERSION}")  # as it is

    def begin(self, recipe: Recipe) -> Run:
        """Return the run of a recipe, now running: a new one, or the one there is to go on with."""
        key = recipe.key
        with transaction(self.path, write=True) as connection:
            row = connection.execute("SELECT id FROM runs WHERE key = ?", (key,)).fetchone()
            number = rows.new(connection, key, recipe) if row is None else int(row["id"])
            rows.mark(connection, number)
            try:
                run = self._run(self._of(connection, number))
                self._answers(connection, number, run.counts.images)
            except UnreadableError as error:
                LOG.warning("%s: it begins anew", error)
                rows.restart(connection, number, recipe)
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
            if not row["whole"]:
                raise self._unreadable(run, "its row is damaged")
            have = int(row["images"])
            start = have if start is None else start
            if start > have:
                raise ValueError(f"run {run} has {have} answers: answer {start} cannot follow")
            new = answers.part(have - start)
            if len(new):
                rows.insert(connection, run, have, new)
                counts = new.counts(before=row["divergence"])
                rows.add(connection, run, counts, seconds * len(new) / len(answers))
                rows.seal(connection, run)
            if len(new) or not len(answers):
                rows.mark(connection, run)

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
        """Return the runs that can be read, newest first: all, or those of a model and images."""
        return self.sorted_out(model_key, images_key)[0]

    def sorted_out(
        self, model_key: str | None = None, images_key: str | None = None
    ) -> tuple[list[Run], list[int]]:
        """Return the runs as `listed` does, and the numbers of those that cannot be read."""
        wanted = {"model_key": model_key, "images_key": images_key}
        given = {column: value for column, value in wanted.items() if value is not None}
        where = " AND ".join(f"{column} = :{column}" for column in given) or "1"
        runs: list[Run] = []
        with transaction(self.path) as connection:
            found, unreadable = rows.read(connection, where, given)
        for row in found:
            try:
                runs.append(self._run(row))
            except UnreadableError:
                unreadable.append(int(row["id"]))
        return runs, sorted(unreadable)

    def faults(self) -> list[str]:
        """Check the whole file; return what is wrong with it, in words."""
        _, unreadable = self.sorted_out()
        found = [f"run {run} cannot be read" for run in unreadable]
        with transaction(self.path) as connection:
            pages = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(9)")]
            for (run,) in connection.execute(
                # B608 warns of texts put together: these are of constants.
                f"SELECT DISTINCT run_id FROM answers WHERE sum IS NOT {ANSWERS_SUM}"  # nosec B608
            ):
                found.append(f"answers of run {run} are damaged: they are made again with it")
            # B608: so is this one.
            logits = f"SELECT count(*) FROM logits WHERE sum IS NOT {LOGITS_SUM}"  # nosec B608
            (damaged,) = connection.execute(logits).fetchone()
        if damaged:
            found.append(f"float's logits of {damaged} images are damaged: they are made again")
        return [*found, *(page for page in pages if page != "ok")]

    def _of(self, connection: sqlite3.Connection, run: int) -> sqlite3.Row:
        row: sqlite3.Row | None = connection.execute(f"{SELECT} id = ?", (run,)).fetchone()
        if row is None:
            raise ValueError(f"there is no run {run} in {self.path}")
        return row

    def _set(self, run: int, column: str, value: object) -> None:
        with transaction(self.path, write=True) as connection:
            self._of(connection, run)
            statement = f"UPDATE runs SET {column} = ? WHERE id = ?"  # nosec B608 # ours, above
            connection.execute(statement, (value, run))

    def _run(self, row: sqlite3.Row) -> Run:
        run, images = int(row["id"]), row["images"]
        try:
            if not row["whole"] or row["state"] not in (RUNNING, DONE, STOPPED):
                raise ValueError("its row is damaged, or of a newer Bitlens")
            return Run(
                id=run,
                created=datetime.fromtimestamp(row["created"], UTC),
                recipe=Recipe.from_json(row["recipe"]),
                state=_state(row),
                counts=Counts(**{name: row[name] for name in COUNTS}),
                seconds=row["seconds"],
                pinned=bool(row["pinned"]),
                note=str(row["note"]),
                read=lambda: self._read(run, images),
            )
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
            raise self._unreadable(run, f"{error}") from error

    def _read(self, run: int, images: int) -> Answers:
        with transaction(self.path) as connection:
            self._of(connection, run)
            return self._answers(connection, run, images)

    def _answers(self, connection: sqlite3.Connection, run: int, images: int) -> Answers:
        parts = connection.execute(
            f"SELECT {', '.join(TYPES)}, sum IS {ANSWERS_SUM} AS whole"  # nosec B608 # constants
            " FROM answers WHERE run_id = ? ORDER BY start",
            (run,),
        ).fetchall()
        try:
            answers = Answers.joined([_part(row) for row in parts]).part(0, images)
        except (ValueError, TypeError) as error:
            raise self._unreadable(run, "its answers are damaged") from error
        if not all(row["whole"] for row in parts):
            raise self._unreadable(run, "its answers are damaged")
        if len(answers) < images:
            raise self._unreadable(run, f"{images - len(answers)} of its answers are gone")
        return answers

    def _unreadable(self, run: int, why: str) -> UnreadableError:
        return UnreadableError(f"run {run} in {self.path} cannot be read ({why}): measure it again")


def unread(runs: Sequence[int]) -> str:
    """Return that runs could not be read, in words."""
    count = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    named = ", ".join(map(str, runs[:9])) + ", …" * (len(runs) > 9)
    return f"{count} could not be read: {named}; `python -m quant doctor` says why"


def _part(row: sqlite3.Row) -> Answers:
    return Answers(*(np.frombuffer(row[name], kind) for name, kind in TYPES.items()))


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
