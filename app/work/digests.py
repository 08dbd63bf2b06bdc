"""What the files of weights hold now: a file that was overwritten is another one."""

import hashlib
import os
import time

from app.work.wanted import Recent
from assets.files import open_file
from assets.models.download import downloaded
from assets.models.load import BUNDLED
from assets.models.manifest import weights_path
from assets.models.reading import MOST

SETTLED = 2.0  # seconds after which a change of a file is sure to have changed its times too
_kept: Recent[str] = Recent(64)


def weights_held(name: str, checkpoint: str | None) -> str:
    """Return what identifies the weights of a model: the SHA-256 of their file.

    Of timm's own, it is the file that was downloaded, in a folder named by its version; empty for
    none.  Raises InputError for a checkpoint that cannot be read.
    """
    if checkpoint is not None:
        return _digest(checkpoint)
    if name in BUNDLED:
        path = weights_path(name)
        return _digest(str(path)) if path.is_file() else ""
    return downloaded(name) or ""


def _digest(path: str) -> str:
    """Return the SHA-256 of a file, which is read only if it may have changed."""
    with open_file(path, "checkpoint", MOST) as file:
        facts = os.fstat(file.fileno())
        key = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
        known = _kept.peek(key)
        if known is not None:
            return known
        started, digest = time.time(), hashlib.file_digest(file, "sha256").hexdigest()
        # A change within the clock's last step would leave the times as they are.
        if started - facts.st_ctime > SETTLED and os.fstat(file.fileno()) == facts:
            _kept.put(key, digest)
        return digest
