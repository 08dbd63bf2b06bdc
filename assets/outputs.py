"""Files that a command writes: tried before the work, then written beside and moved into place."""

import argparse
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryFile

from assets.errors import InputError
from assets.home import home

STDOUT = {"-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"}
TEXTS = {".json", ".csv"}  # lie beside images without being read
NOT_PATHS = {"model", "command"}  # options whose words name no file


class Output:
    """One file that is written at the end of the work.

    `-` and `/dev/stdout` are standard output. Devices and pipes are written as they are; of a link,
    the file that it leads to is replaced.

    Attributes:
        path: as the user gave it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self.is_stdout = _leads_to_stdout(self.path)

    def __str__(self) -> str:
        return self.path

    @property
    def place(self) -> Path:
        """The file itself, behind links."""
        return Path(os.path.realpath(self.path))

    def attempt(self) -> list[Path]:
        """Try whether the file can be written, and make its folder; return the folders made.

        Raises:
            InputError: it cannot.
        """
        if self.is_stdout:
            return []
        try:
            if self._is_special():
                self._open_special()
                return []
            folders = _made(self.place.parent)
            with TemporaryFile(dir=self.place.parent):
                return folders
        except (OSError, ValueError) as error:
            raise self._refusal(error) from error

    def _is_special(self) -> bool:
        """Return whether the path is a device or a pipe; OSError where it cannot be written."""
        if not self.path or self.path.endswith(("/", os.sep)):
            raise IsADirectoryError
        try:
            mode = os.stat(self.path).st_mode
        except FileNotFoundError:
            return False
        if stat.S_ISDIR(mode):
            raise IsADirectoryError
        if not os.access(self.path, os.W_OK):
            raise PermissionError
        return not stat.S_ISREG(mode)

    def _open_special(self) -> None:
        mode = os.stat(self.path).st_mode
        if stat.S_ISFIFO(mode):
            return  # whoever reads it would take an opening and closing for the end
        if not stat.S_ISCHR(mode):
            raise OSError("is no file")
        handle = os.open(self.path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            os.write(handle, b"")  # a full device says so even of nothing
        finally:
            os.close(handle)

    def write(self, data: str | bytes) -> None:
        """Write the whole file, or leave what was there.

        Raises:
            InputError: it cannot be written.
            BrokenPipeError: nobody reads it any more.
        """
        if self.is_stdout:
            assert isinstance(data, str)
            say(data)
            return
        if isinstance(data, str):
            data = data.encode(errors="backslashreplace")
        try:
            if self._is_special():
                Path(self.path).write_bytes(data)
            else:
                _made(self.place.parent)
                _replace(self.place, data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self._refusal(error) from error

    def _refusal(self, error: Exception) -> InputError:
        if isinstance(error, IsADirectoryError):
            return InputError(f"{self.path!r} cannot be written: it is a folder, name a file")
        why = (error.strerror if isinstance(error, OSError) else None) or str(error) or "no rights"
        return InputError(f"{self.path} cannot be written ({why}): give another file, or make room")


class OutputFolder:
    """A folder, made where there is none, and the files written in it.

    Args:
        names: of the files.
    """

    def __init__(self, path: str, names: Iterable[str]) -> None:
        self.path = Path(path)
        self.files = {name: Output(self.path / name) for name in names}

    def __str__(self) -> str:
        return str(self.path)


def say(text: str) -> None:
    """Write a text to standard output, at once.

    Raises:
        InputError: it cannot be written.
        BrokenPipeError: nobody reads it any more.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard()
        raise
    except OSError as error:
        _discard()
        raise InputError(
            f"standard output cannot be written ({error.strerror}): send it elsewhere"
        ) from error


def _discard() -> None:
    """Let what standard output still holds go nowhere, or leaving would fail once more."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def tried(options: argparse.Namespace) -> Iterator[None]:
    """Try all outputs among a command's options, for the time of its work.

    Folders that were made for them and stay empty are removed again.

    Raises:
        InputError: one cannot be written, is given twice, or is read too.
    """
    outputs = [output for value in vars(options).values() for output in _outputs(value)]
    folders: list[Path] = []
    try:
        for output in outputs:
            folders += output.attempt()
        _check_apart(outputs)
        for output in outputs:
            _check_not_read(output, options)
        yield
    finally:
        for folder in reversed(folders):
            with suppress(OSError):
                folder.rmdir()


def _outputs(value: object) -> list[Output]:
    if isinstance(value, OutputFolder):
        return list(value.files.values())
    return [value] if isinstance(value, Output) else []


def _check_apart(outputs: list[Output]) -> None:
    """Refuse one file for two outputs, of which the second would replace the first."""
    seen: dict[object, Output] = {}
    for output in outputs:
        place = "-" if output.is_stdout else _identity(output.path) or output.place
        if place in seen and place != _identity(os.devnull):
            raise InputError(f"{output} is given for two outputs: give each its own file")
        seen[place] = output
        if not output.is_stdout and os.path.isfile(output.path) and place == _redirected():
            raise InputError(f"{output} is standard output's file too: give another one")


def _check_not_read(output: Output, options: argparse.Namespace) -> None:
    """Refuse to write over a file that is read, or that is Bitlens' own."""
    place = output.place
    if output.is_stdout or not place.is_file():
        return
    for name, value in vars(options).items():
        if name in NOT_PATHS or not isinstance(value, str) or _identity(value) is None:
            continue
        inside = os.path.isdir(value) and place.is_relative_to(os.path.realpath(value))
        if (inside and place.suffix not in TEXTS) or _identity(value) == _identity(output.path):
            raise InputError(f"{output} is read too (--{name}): give another file to write")
    if _is_kept(place):
        raise InputError(f"{output} is kept by Bitlens itself: give another file to write")


def _is_kept(place: Path) -> bool:
    """Return whether a file is one of those that make up the home."""
    try:
        folder = Path(os.path.realpath(home()))
    except InputError:
        return False
    named = place.parent == folder and place.name.startswith("runs.sqlite3")
    return named or place.is_relative_to(folder / "calibrations")


def _identity(path: str) -> tuple[int, int] | None:
    """Return what tells a file from others, None where there is none."""
    with suppress(OSError, ValueError):
        found = os.stat(path)
        return found.st_dev, found.st_ino
    return None


def _redirected() -> tuple[int, int] | None:
    """Return the identity of the file that standard output goes to."""
    with suppress(OSError, ValueError, AttributeError):
        found = os.fstat(sys.stdout.fileno())
        return found.st_dev, found.st_ino
    return None


def _leads_to_stdout(path: str) -> bool:
    """Return whether a path is standard output, by way of links too."""
    for _ in range(40):  # as many links as Linux follows
        if path in STDOUT:
            return True
        try:
            path = os.path.join(os.path.dirname(path), os.readlink(path))
        except (OSError, ValueError):
            return False
    return False


def _made(folder: Path) -> list[Path]:
    """Make a folder and those above it; return the ones that were not there, the highest first."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()][::-1]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _replace(path: Path, data: bytes) -> None:
    """Write beside a file, then move it there: a reader, or a kill, sees the old or the new."""
    beside = path.with_name(f".{token_hex(8)}.part")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # a full disk may say so only now
        with suppress(FileNotFoundError):
            os.chmod(beside, stat.S_IMODE(path.stat().st_mode))
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
