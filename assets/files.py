"""Open a file by the path a person gave: a regular file of a bounded size, or one sentence."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from assets.errors import InputError, shown

REASONS = {
    errno.ENAMETOOLONG: "the path is too long",
    errno.ELOOP: "its links lead in a circle",
    errno.EACCES: "there is no permission to read it",
    errno.EPERM: "there is no permission to read it",
}

NOT_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # as the system has them


@contextmanager
def open_file(source: str | Path, what: str, limit: int) -> Iterator[BufferedReader]:
    """Open a regular file of at most `limit` bytes to read; `~` is the home folder.

    A pipe or a device is refused and never waited for.  Raises InputError, for what goes wrong
    while the file is read too; `what` names it in the message.
    """
    path = os.path.expanduser(source)
    try:
        # Without O_NONBLOCK, opening a pipe waits for one who writes.
        descriptor = os.open(path, os.O_RDONLY | NOT_WAITING)
        with os.fdopen(descriptor, "rb") as file:
            _check(os.fstat(descriptor), path, what, limit)
            yield file
    except MemoryError as error:
        raise InputError(f"{shown(path)} needs more memory than there is: use less") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        remedy = "give the path of an existing file"
        raise InputError(f"there is no {what} at {shown(path)}: {remedy}") from error
    except IsADirectoryError as error:
        raise _folder(path, what) from error
    except OSError as error:
        reason = REASONS.get(error.errno or 0, f"{error.strerror or error}".lower())
        raise _unreadable(path, what, reason) from error
    except ValueError as error:
        if isinstance(error, InputError) or "null" not in str(error):
            raise
        raise _unreadable(path, what, "a path holds no null character") from error


def read_file(source: str | Path, what: str, limit: int) -> bytes:
    """Return the bytes of a file, at most `limit`; InputError as `open_file` raises it."""
    with open_file(source, what, limit) as file:
        return read(file)


def read(file: BufferedReader) -> bytes:
    """Return the bytes of an open file, no more than it had when it was asked for its size.

    Of a file that says it is empty, as those in /proc do, it is the first megabyte.
    """
    return file.read(os.fstat(file.fileno()).st_size or 2**20)


def _check(facts: os.stat_result, path: str, what: str, limit: int) -> None:
    if stat.S_ISDIR(facts.st_mode):
        raise _folder(path, what)
    if not stat.S_ISREG(facts.st_mode):
        raise _unreadable(path, what, "it is a device or a pipe")
    if facts.st_size > limit:
        raise _large(path, what, limit)


def _folder(path: str, what: str) -> InputError:
    return InputError(f"{shown(path)} is a folder: give the path of a {what} file")


def _unreadable(path: str, what: str, reason: str) -> InputError:
    return InputError(f"{shown(path)} cannot be read, {reason}: give the path of a {what} file")


def _large(path: str | Path, what: str, limit: int) -> InputError:
    size = f"{limit // 10**9} GB" if limit >= 10**9 else f"{limit // 10**6} MB"
    return InputError(f"{shown(path)} has more than {size}: give a smaller {what} file")
