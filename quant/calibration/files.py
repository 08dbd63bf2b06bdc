"""The files of one calibration, in its folder."""

import logging
import shutil
import threading
import weakref
from pathlib import Path
from tempfile import mkdtemp

import torch

from quant.calibration.passes import Pass
from quant.calibration.store import DamagedError, Stored, save_pass

LOG = logging.getLogger(__name__)


class Files:
    """The files of a calibration: passes, and layers that are learned.

    Args:
        folder: where they are; None is one that goes when this object does.
        key: names the calibration.
        keep: write new files to the folder; False only reads there.

    Attributes:
        notes: what became of files, in words.
    """

    def __init__(self, folder: Path | None, key: str, keep: bool, device: torch.device) -> None:
        self.folder = self._own() if folder is None else folder
        self.notes: list[str] = []
        self._key, self._keep, self._device = key, keep, device
        self._spare: Path | None = None  # for what the folder does not take
        self._saving = threading.Lock()

    def _own(self) -> Path:
        folder = mkdtemp(prefix="bitlens-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    def save(self, made: Pass, name: str, of: str = "") -> None:
        """Write a pass to the folder; where that cannot be, to one that goes with this object.

        Args:
            name: of the file.
            of: what it holds a part of, which `open` asks for again.
        """
        with self._saving:
            if self._keep and self._spare is None:
                try:
                    save_pass(made, self.folder / name, self._key + of)
                    return
                except ValueError as error:
                    self._say(f"{error}; calibrations are used now, and not kept")
            self._spare = self._spare or self._own()
            save_pass(made, self._spare / name, self._key + of)

    def open(self, name: str, number: int, of: str = "") -> Stored | None:
        """Open what a file holds; None where there is none that is whole."""
        for folder in (self._spare, self.folder):
            if folder is not None and (folder / name).exists():
                try:
                    return Stored(folder / name, self._device, self._key + of, number)
                except DamagedError as error:
                    self._say(f"{error}: it is made again")
        return None

    def remove(self, name: str) -> None:
        """Remove a file, where there is one."""
        for folder in (self._spare, self.folder):
            if folder is not None:
                (folder / name).unlink(missing_ok=True)

    def _say(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)
            LOG.warning("%s", note)
