"""What is known of the bundled weights: one measured entry per model, beside the weight files."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from assets.outputs import Output

FOLDER = Path(__file__).parent.parent


@dataclass(frozen=True)
class ManifestEntry:
    """How one bundled model was trained and what it reached on the validation pictures."""

    parameters: int
    top1: float  # share of validation pictures, 0 to 1, float32
    images: int  # validation pictures it was measured on
    seed: int
    steps: int
    batch: int
    teacher: str | None
    start: str | None  # the bundled model whose weights training started with
    sha256: str  # of the weight file
    trained_with: dict[str, str]  # versions of torch and timm


def weights_path(name: str, folder: Path = FOLDER) -> Path:
    """Return where the weights of a bundled model lie."""
    return folder / "weights" / f"{name}.safetensors"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path = FOLDER) -> dict[str, ManifestEntry]:
    """Return the entries by model name; an empty dict where nothing was trained yet."""
    path = folder / "manifest.json"
    if not path.exists():
        return {}
    entries = json.loads(path.read_text(encoding="utf-8"))
    return {name: ManifestEntry(**fields) for name, fields in entries.items()}


def write_entry(name: str, entry: ManifestEntry, folder: Path = FOLDER) -> None:
    """Add or replace one model's entry."""
    entries = read_manifest(folder) | {name: entry}
    fields = {key: asdict(entries[key]) for key in sorted(entries)}
    text = json.dumps(fields, indent=2) + "\n"
    Output(folder / "manifest.json").write(text)
