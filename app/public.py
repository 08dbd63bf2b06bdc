"""The public mode, for a class or a demo: what strangers may do is less, and said here alone.

`make serve` turns it on, by BITLENS_PUBLIC=1.
"""

import os
import re

PUBLIC = "BITLENS_PUBLIC"
LISTED = "BITLENS_MODELS"  # names of timm's models, apart from the bundled ones
JOBS = 12  # of a session, waiting or running: four methods, each with its faithfulness, are eight
SECONDS = 300.0  # that a job may run
PICTURES, PICTURE_MB, OWN_PICTURE_MB = 4, 5, 10  # of a session; of one's own machine
UPLOADS = 8  # files that the server holds for a session, before it took them
IDLE_SECONDS = 30 * 60.0  # after which a session that nobody uses is let go

_QUOTED = re.compile(r"(['\"])(?:[A-Za-z]:|~)?[/\\][^'\"]*?([^'\"/\\]*)\1")
_PATH = re.compile(r"(?<![\w.:/\\<])(?:[A-Za-z]:|~)?[/\\](?:[^\s/\\'\"]+[/\\])*([^\s/\\'\"]*)")


def on() -> bool:
    """Return whether the dashboard is served to strangers."""
    return os.environ.get(PUBLIC, "") not in ("", "0")


def listed() -> tuple[str, ...]:
    """Return the models that are offered besides the bundled ones."""
    return tuple(os.environ.get(LISTED, "").replace(",", " ").split()) if on() else ()


def without_paths(text: str) -> str:
    """Return a text in which files of this machine have their names alone, in the public mode."""
    return _PATH.sub(r"\1", _QUOTED.sub(r"\1\2\1", text)) if on() else text


def picture_mb() -> int:
    """Return how large an uploaded picture may be."""
    return PICTURE_MB if on() else OWN_PICTURE_MB
