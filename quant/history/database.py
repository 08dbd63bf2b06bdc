"""Open the history's SQLite file: made when missing, brought up to date, safe to share."""

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from quant.history import schema

PATIENCE = 30.0  # seconds to wait for another process's writing
# What SQLite says where the disk is full, or nothing may be written.
REFUSED = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
}


class UnwritableError(ValueError):
    """The file cannot be written where it lies."""


def prepare(path: Path) -> None:
    """Make the file, or bring one of an older version up to date; all of a step or nothing.

    A copy of an older version is kept beside it.

    Raises:
        UnwritableError: it cannot be written.
        ValueError: the file is damaged, is no history, or is of a newer version.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path.parent} cannot be made: choose another BITLENS_HOME ({error})"
        ) from error
    with _connected(path) as connection:
        connection.execute("BEGIN")
        version = schema.version_of(connection, path)
        connection.execute("COMMIT")
        if version == schema.VERSION:
            return
        _log_ahead(connection)
        connection.execute("BEGIN IMMEDIATE")
        version = schema.version_of(connection, path)  # another process may have been first
        if 0 < version < schema.VERSION:
            _back_up(path, version)
        schema.upgrade(connection, version)
        connection.execute("COMMIT")


def _back_up(path: Path, version: int) -> None:
    """Copy the file as it stands to `runs.sqlite3.v3.bak` or so; whoever writes waits meanwhile."""
    copy, part = (path.with_name(f"{path.name}.v{version}{end}") for end in (".bak", ".part"))
    try:
        with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(part)) as new:
            old.backup(new)
        part.replace(copy)
    except (sqlite3.OperationalError, OSError) as error:
        raise UnwritableError(
            f"{path} is of version {version}, and there is no room for a copy ({error}), "
            f"which is made before it becomes version {schema.VERSION}: make room"
        ) from error
    finally:
        with suppress(OSError):
            part.unlink()


def _log_ahead(connection: sqlite3.Connection) -> None:
    """Let readers go on while one process writes; the file keeps this mode.

    SQLite does not wait for others here, whatever its timeout, so we do.
    """
    end = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if time.monotonic() > end or _refuses(error):
                raise
            time.sleep(0.05)


@contextmanager
def transaction(path: Path, write: bool = False) -> Iterator[sqlite3.Connection]:
    """Open the file for statements that all count or, after an error, do not.

    A connection lives no longer than this: threads and processes share nothing. What cannot be
    written can be read all the same.

    Raises:
        UnwritableError: it cannot be written.
        ValueError: the file cannot be used; what to do about it is said.
    """
    if write:  # someone may have moved it away to begin anew, or put an older one there
        prepare(path)
    with _connected(path, write) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        # With the write-ahead log no kill damages the file; only a power cut may lose the last
        # batches.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        yield connection
        if write:
            connection.execute("COMMIT")


@contextmanager
def _connected(path: Path, write: bool = True) -> Iterator[sqlite3.Connection]:
    try:
        opened = _open(path, "rwc") if write else _readable(path)
        with closing(opened) as connection:  # what was not committed is undone
            yield connection
    except (sqlite3.ProgrammingError, sqlite3.IntegrityError):
        raise  # ours to mend, not the user's
    except sqlite3.OperationalError as error:
        kind = UnwritableError if _refuses(error) else ValueError
        raise kind(
            f"{path} cannot be used: {error}; free it, make room or rights for it, or choose "
            "another BITLENS_HOME"
        ) from error
    except sqlite3.DatabaseError as error:
        raise damaged(path, str(error)) from error


def _open(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.text_factory = lambda text: text.decode(errors="replace")  # one may be damaged
    connection.create_function("checksum", -1, schema.checksum, deterministic=True)
    return connection


def _readable(path: Path) -> sqlite3.Connection:
    """Open the file for reading, in ways that ask less and less of where it lies.

    A file that is not there is empty, and one of an older version is brought up to date in memory.
    """
    connection = _opened(path) if path.exists() else None
    version = 0 if connection is None else schema.version_of(connection, path)
    if connection is not None and version == schema.VERSION:
        return connection
    memory = _open(Path(":memory:"), "memory")
    if connection is not None:
        with closing(connection):
            connection.backup(memory)
    schema.upgrade(memory, version)
    return memory


def _opened(path: Path) -> sqlite3.Connection:
    for mode in ("rw", "ro"):
        connection = _open(path, mode)
        try:
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
            return connection
        except sqlite3.OperationalError as error:
            connection.close()
            if not _refuses(error):
                raise
    log = path.with_name(f"{path.name}-wal")
    if not log.exists() or not log.stat().st_size:
        return _open(path, "ro&immutable=1")
    with TemporaryDirectory(prefix="bitlens-") as folder:  # the log cannot be read where it lies
        for file in (path, log):
            shutil.copy(file, folder)
        with closing(_open(Path(folder) / path.name, "rw")) as copy:
            memory = _open(Path(":memory:"), "memory")
            copy.backup(memory)
            return memory


def _refuses(error: sqlite3.OperationalError) -> bool:
    """Return whether a file cannot be written where it lies; extended codes hold more above."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in REFUSED


def damaged(path: Path, why: str) -> ValueError:
    """Return the error for a file that is damaged, and how to get at what is in it."""
    return ValueError(
        f"{path} is damaged ({why}): move it away to begin a new history; "
        f"`sqlite3 {path.name} .recover` may read what is in it"
    )
