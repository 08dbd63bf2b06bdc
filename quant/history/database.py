"""Open the history's SQLite file: made when missing, brought up to date, safe to share."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 30.0  # seconds to wait for another process's writing

# Step i brings a file of version i to version i + 1. Never change one: add another.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE runs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            key TEXT NOT NULL UNIQUE,
            created REAL NOT NULL,
            model_key TEXT NOT NULL,
            images_key TEXT NOT NULL,
            recipe TEXT NOT NULL,
            state TEXT NOT NULL,
            host TEXT NOT NULL,
            pid INTEGER NOT NULL,
            beat REAL NOT NULL,
            seconds REAL NOT NULL DEFAULT 0,
            images INTEGER NOT NULL DEFAULT 0,
            correct INTEGER NOT NULL DEFAULT 0,
            top5 INTEGER NOT NULL DEFAULT 0,
            plain INTEGER NOT NULL DEFAULT 0,
            both INTEGER NOT NULL DEFAULT 0,
            agree INTEGER NOT NULL DEFAULT 0,
            divergence REAL NOT NULL DEFAULT 0
        )""",
        """CREATE TABLE answers (
            run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
            start INTEGER NOT NULL,
            labels BLOB NOT NULL,
            predicted BLOB NOT NULL,
            reference BLOB NOT NULL,
            top5 BLOB NOT NULL,
            divergence BLOB NOT NULL,
            PRIMARY KEY (run_id, start)
        )""",
    ),
    (
        "ALTER TABLE runs ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE runs ADD COLUMN note TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX runs_by_images ON runs (model_key, images_key)",
    ),
    (
        """CREATE TABLE logits (
            key TEXT NOT NULL,
            model_key TEXT NOT NULL,
            images_key TEXT NOT NULL,
            place INTEGER NOT NULL,
            seconds REAL NOT NULL,
            logits BLOB NOT NULL,
            PRIMARY KEY (key, place)
        )""",
    ),
)
VERSION = len(MIGRATIONS)


def prepare(path: Path) -> None:
    """Make the file, or bring one of an older version up to date; all of a step or nothing.

    Raises:
        ValueError: the file cannot be opened, is damaged, is no history, or is of a newer version.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"{path.parent} cannot be made: choose another BITLENS_HOME ({error})"
        ) from error
    with _connected(path) as connection:
        connection.execute("BEGIN")
        version = _version(connection, path)
        connection.execute("COMMIT")
        if version == VERSION:
            return
        _log_ahead(connection)
        connection.execute("BEGIN IMMEDIATE")
        for step in MIGRATIONS[_version(connection, path) :]:  # another process may have been first
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")


def _log_ahead(connection: sqlite3.Connection) -> None:
    """Let readers go on while one process writes; the file keeps this mode.

    SQLite does not wait for others here, whatever its timeout, so we do.
    """
    end = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


@contextmanager
def transaction(path: Path, write: bool = False) -> Iterator[sqlite3.Connection]:
    """Open the file for statements that all count or, after an error, do not.

    A connection lives no longer than this: threads and processes share nothing.

    Raises:
        ValueError: the file cannot be used; what to do about it is said.
    """
    if not path.exists():  # someone moved it away to begin anew
        prepare(path)
    with _connected(path) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        # With the write-ahead log no kill damages the file; only a power cut may lose the last
        # batches.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        yield connection
        connection.execute("COMMIT")


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    connection = None
    try:
        connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
        connection.row_factory = sqlite3.Row
        yield connection
    except (sqlite3.ProgrammingError, sqlite3.IntegrityError):
        raise  # ours to mend, not the user's
    except sqlite3.OperationalError as error:
        raise ValueError(
            f"{path} cannot be used: {error}; free it, or choose another BITLENS_HOME"
        ) from error
    except sqlite3.DatabaseError as error:
        raise damaged(path, str(error)) from error
    finally:
        if connection is not None:
            connection.close()  # what was not committed is undone


def damaged(path: Path, why: str) -> ValueError:
    """Return the error for a file that is damaged, and how to get at what is in it."""
    return ValueError(
        f"{path} is damaged ({why}): move it away to begin a new history; "
        f"`sqlite3 {path.name} .recover` may read what is in it"
    )


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the file's version, 0 for a new file; within a transaction."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise ValueError(
            f"{path} is of version {version}, and this Bitlens knows {VERSION} at most: "
            "update Bitlens, or choose another BITLENS_HOME"
        )
    if version == 0 and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise ValueError(f"{path} is another program's file: choose another BITLENS_HOME")
    return version
