"""Read what a checkpoint file holds; its kind is told by its bytes, and no code in it runs."""

import argparse
import hashlib
import re
import warnings
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch

from assets.errors import InputError, shown
from assets.files import open_file, read

MOST = 8_000_000_000  # bytes of a file: training states of ViT-Large have 5 GB
HEAD = 512
# The first bytes of what people save or download in place of weights, and what to do about it.
OTHERS = (
    (rb"version https://git-lfs", "is a Git LFS pointer and no weights: run `git lfs pull`"),
    (rb"\s*<(!doctype|html|\?xml)", "is a web page and no weights: download the file itself"),
    (rb"\x1f\x8b|BZh|7z\xbc|\xfd7zXZ|(?s:.{257}ustar)", "is an archive: unpack it first"),
)


class Content(NamedTuple):
    """What a file holds, the SHA-256 of the very bytes it was read from, and how many they are."""

    name: str
    held: Any
    sha256: str
    size: int


def read_content(path: str | Path) -> Content:
    """Return what a safetensors or a PyTorch file holds, as `torch.load` with weights_only does.

    Raises InputError for a file that is neither, is damaged, runs code or has more than 8 GB.
    """
    name = shown(Path(path).name)
    with open_file(path, "checkpoint", MOST) as file:
        head = file.peek(HEAD)[:HEAD]
        reader, data = _reader(head, name), read(file)
    try:
        return Content(name, reader(data, name), hashlib.sha256(data).hexdigest(), len(data))
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{name} needs more memory than there is: use less") from error
    except Exception as error:  # the libraries raise any kind over bytes made to mislead them
        raise InputError(_reason(name, reader is _safetensors, str(error))) from error


def _reader(head: bytes, name: str) -> Any:
    """Return what reads a file that begins so."""
    if not head:
        raise InputError(f"{name} is empty: save the weights anew")
    for pattern, answer in OTHERS:
        if re.match(pattern, head, re.IGNORECASE):
            raise InputError(f"{name} {answer}")
    if head[8:9] == b"{":  # first, as the length before it may begin with any byte
        return _safetensors
    if head.startswith(b"PK\x03\x04"):
        return _zip
    if head.startswith(b"\x80"):  # a pickle, as PyTorch wrote before 1.6
        return _pickle
    raise InputError(f"{name} is no checkpoint: give a safetensors or a PyTorch file")


def _safetensors(data: bytes, name: str) -> object:
    return safetensors.torch.load(data)


def _pickle(data: bytes, name: str) -> object:
    """Read weights and plain values; what else a file asks for is refused and never runs."""
    # What timm allows too: its training script saves its arguments. timm's own readers end by
    # taking it from the list again.
    torch.serialization.add_safe_globals([argparse.Namespace])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd tensors are told of in words
        return torch.load(BytesIO(data), map_location="cpu", weights_only=True)


def _zip(data: bytes, name: str) -> object:
    """Read a PyTorch file, a zip archive; one whose parts claim more than there is, is refused."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        parts = archive.infolist()
    names = {Path(part.filename).name for part in parts}
    if "constants.pkl" in names:
        raise InputError(f"{name} is a TorchScript program: save model.state_dict() instead")
    if "data.pkl" not in names:
        raise InputError(f"{name} is a zip archive of something else: give a PyTorch file")
    if sum(part.file_size for part in parts) > len(data):
        raise InputError(f"{name} claims to hold more than its {len(data):,} bytes: save it anew")
    return _pickle(data, name)


def _reason(name: str, is_safetensors: bool, error: str) -> str:
    """Return what to say of a file that a library could not read."""
    code = re.search(r"GLOBAL ([\w.]+)", error)
    if code or "weights_only" in error.lower() or "weights only" in error.lower():
        what = f" ({shown(code[1], 80)})" if code else ""
        remedy = "save model.state_dict() instead"
        return f"{name} is refused: it holds more than weights{what}, or is damaged; {remedy}"
    kind = "safetensors" if is_safetensors else "a PyTorch checkpoint"
    return f"{name} cannot be read as {kind}: the file is damaged or of another kind"
