"""Where Bitlens keeps what it made, for one user of one machine."""

import os
import sys
from pathlib import Path

from assets.errors import InputError


def home() -> Path:
    """Return the folder: BITLENS_HOME, or the user's own data folder.

    Raises:
        InputError: no folder is named, and this user has none.
    """
    chosen = os.environ.get("BITLENS_HOME")
    try:
        folder = Path(chosen).expanduser() if chosen else _data_folder() / "bitlens"
    except RuntimeError:  # no such user, or one without a folder
        raise InputError(
            f"{chosen or 'your own folder'} cannot be found: set BITLENS_HOME to a folder"
        ) from None
    return folder.absolute()


def _data_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
