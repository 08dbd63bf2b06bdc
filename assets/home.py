"""Where Bitlens keeps what it made, for one user of one machine."""

import os
import sys
from pathlib import Path


def home() -> Path:
    """Return the folder: BITLENS_HOME, or the user's own data folder."""
    chosen = os.environ.get("BITLENS_HOME")
    return Path(chosen).expanduser() if chosen else _data_folder() / "bitlens"


def _data_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
