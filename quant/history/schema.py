"""What the history's SQLite file holds: its tables, version by version, and their checksums."""

import sqlite3
import zlib
from pathlib import Path

# What the rows of a table are checked by; `checksum` is ours, below. Texts may be damaged: bytes.
RUN_SUM = (
    "checksum(CAST(key AS BLOB), CAST(model_key AS BLOB), CAST(images_key AS BLOB),"
    " CAST(recipe AS BLOB), created, seconds,"
    " images, correct, top5, plain, both, agree, divergence)"
)
ANSWERS_SUM = "checksum(run_id, start, labels, predicted, reference, top5, divergence)"
LOGITS_SUM = "checksum(CAST(key AS BLOB), place, seconds, logits)"
# The statements that write these checksums; a WHERE may follow.
SUMS = {"runs": RUN_SUM, "answers": ANSWERS_SUM, "logits": LOGITS_SUM}
SEALS = {t: f"UPDATE {t} SET sum = {s}" for t, s in SUMS.items()}  # nosec B608 # constants

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
    (
        *(f"ALTER TABLE {table} ADD COLUMN sum INTEGER" for table in SEALS),
        *SEALS.values(),
    ),
)
VERSION = len(MIGRATIONS)


def checksum(*values: object) -> int:
    """Return the CRC-32 of a row's values."""
    found = 0
    for value in values:
        found = zlib.crc32(value if isinstance(value, bytes) else repr(value).encode(), found)
    return found


def version_of(connection: sqlite3.Connection, path: Path) -> int:
    """Return the file's version, 0 for a new file; within a transaction.

    Raises:
        ValueError: it is of a newer version, or another program's.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise ValueError(
            f"{path} is of version {version}, and this Bitlens knows {VERSION} at most: "
            "update Bitlens, or choose another BITLENS_HOME"
        )
    if version == 0 and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise ValueError(f"{path} is another program's file: choose another BITLENS_HOME")
    return version


def upgrade(connection: sqlite3.Connection, version: int) -> None:
    """Bring tables of a version up to date; within a transaction."""
    for step in MIGRATIONS[version:]:
        for statement in step:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")
