"""`python -m quant doctor`: whether all that is kept at home is sound."""

import argparse
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from assets.home import home
from assets.terminal import add_json, aligned
from quant.analysis.sensitivity import Sensitivity
from quant.calibration.store import Stored
from quant.history.database import UnwritableError
from quant.history.runs import FILE, Runs

SAYS = "check what is kept: the history, calibrations and sensitivities"
FAULTS = 1  # the exit code where any is found
ROOM = 100_000_000  # bytes that should be free


@dataclass(frozen=True)
class Finding:
    """What was checked, and what is wrong with it: "" where nothing is.

    Attributes:
        remade: it can be deleted, as it is made again when it is wanted.
    """

    what: str
    fault: str = ""
    remade: bool = False


def add(parser: argparse.ArgumentParser) -> None:
    """Add which home is checked, and whether what is made again anyway is deleted."""
    parser.add_argument("--home", metavar="FOLDER", help="default: BITLENS_HOME")
    text = "delete damaged calibrations and sensitivities, which are made again, and leftovers"
    parser.add_argument("--repair", action="store_true", help=text)
    add_json(parser, "what was found")


def run(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Check a home; exit code 1 where there are faults."""
    folder = home() if options.home is None else Path(options.home).expanduser()
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder: there is nothing to check")
    found = [_place(folder), _history(folder / FILE), *_files(folder)]
    faults = [one for one in found if one.fault]
    if options.repair:
        for one in faults:
            if one.remade:
                Path(one.what).unlink()
    options.code = FAULTS if faults else 0
    payload = {"home": str(folder), "faults": len(faults), "found": [asdict(f) for f in found]}
    return payload, _text(folder, found, options.repair)


def _text(folder: Path, found: list[Finding], repaired: bool) -> str:
    faults = [one for one in found if one.fault]
    rows = [("what", "state"), *((_short(f.what, folder), f.fault or "sound") for f in found)]
    if not faults:
        return f"{aligned(rows)}\n\n{folder} is sound"
    remade = sum(one.remade for one in faults)
    remedy = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    if repaired:
        remedy += f"; {remade} files were deleted, and are made again when they are wanted"
    elif remade:
        remedy += f"; --repair deletes {remade} of the files, which are made again"
    return f"{aligned(rows)}\n\n{remedy}"


def _short(what: str, folder: Path) -> str:
    path = Path(what)
    return str(path.relative_to(folder)) if path.is_relative_to(folder) and path != folder else what


def _place(folder: Path) -> Finding:
    """Check rights and room."""
    if not os.access(folder, os.W_OK):
        return Finding(str(folder), "cannot be written: give rights, or set BITLENS_HOME")
    free = shutil.disk_usage(folder).free
    low = f"{free / 1e6:.0f} MB are free: make room" if free < ROOM else ""
    return Finding(str(folder), low)


def _history(path: Path) -> Finding:
    if not path.exists():
        return Finding(str(path))
    try:
        return Finding(str(path), "; ".join(Runs(path, look=True).faults()))
    except (ValueError, UnwritableError) as error:
        return Finding(str(path), str(error))


def _files(folder: Path) -> Iterator[Finding]:
    """Check each file beside the history."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.suffix == ".part":
            yield Finding(str(path), "is left over from a write that was cut off", remade=True)
        elif path.parent.parent == folder / "calibrations":
            yield Finding(str(path), _fault(path), remade=True)


def _fault(path: Path) -> str:
    """Return what is wrong with a calibration's file."""
    width = re.fullmatch(r"a(\d)\.safetensors", path.name)
    try:
        if width:
            key = Stored(path, torch.device("cpu"), bits=int(width[1])).key
        elif path.suffix == ".json":
            Sensitivity.read(path)
            key = json.loads(path.read_text(encoding="utf-8"))["key"]
        else:
            return "is no file of Bitlens"
    except ValueError as error:
        return str(error).removeprefix(f"{path} ")
    return "" if key[:24] == path.parent.name else "is of another calibration"
