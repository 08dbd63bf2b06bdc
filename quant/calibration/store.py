"""Write a calibration pass to a safetensors file, and read single layers back."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from tempfile import mkstemp
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from quant.calibration.linear_solver import SolvedLinear
from quant.calibration.passes import PALETTED, Pass
from quant.layers.quantized import FloatWeight, Rounded
from quant.primitives.bits import MENU
from quant.primitives.floats import Cast, PerToken, SmallFloat
from quant.primitives.formats import check_width, plain
from quant.primitives.qparams import QParams
from quant.primitives.quantizers import Codebook, Logarithmic, Quantizer, Scaled, Uniform
from quant.primitives.transforms import Equalisation, Rescaling, Restoration, Rotation, Transform

SCHEMA = 5
# Kept by name, each with the tensors it is made of.
TRANSFORMS: dict[str, Any] = {
    t.__name__: t for t in (Rotation, Equalisation, Rescaling, Restoration)
}
# Quantizers that are made of numbers alone.
PLAIN: dict[str, Any] = {
    "logarithmic": Logarithmic,
    "cast": Cast,
    "token": PerToken,
    "float": SmallFloat,
}
Tensors = dict[str, Tensor]
Read = Callable[[str], Tensor]


def file_of(number: int) -> str:
    """Return the name of the file that holds a pass (`quant.calibration.passes.pass_of`)."""
    ending = "-palettes" if number >= PALETTED else ""
    return f"a{plain(number % PALETTED)}{ending}.safetensors"


class DamagedError(ValueError):
    """A file cannot be used: damaged, another calibration's, or of another version."""


def save_pass(made: Pass, path: Path, key: str = "") -> None:
    """Write a pass; a reader sees all of it or nothing.

    Args:
        key: names the calibration that it is of.
    """
    tensors: Tensors = {}
    described: dict[str, Any] = {
        "schema": SCHEMA,
        "key": key,
        "bits": made.bits,
        "linear": {},
        "products": {},
        "stream": {},
    }
    for name, solved in made.linear.items():
        described["linear"][name] = {
            "quantizer": _put_quantizer(solved.quantizer, f"{name}|input", tensors),
            "transform": _put_transform(solved.transform, f"{name}|transform", tensors),
            "widths": sorted(solved.weights),
        }
        for width, weight in solved.weights.items():
            for part in _parts(width):
                tensors[f"{name}|{width}|{part}"] = getattr(weight, part)
    for name, pair in made.products.items():
        described["products"][name] = [
            _put_quantizer(quantizer, f"{name}|{side}", tensors)
            for side, quantizer in enumerate(pair)
        ]
    for name, quantizer in made.stream.items():
        described["stream"][name] = _put_quantizer(quantizer, f"{name}|stream", tensors)
    _write(_apart(tensors), described, path)


def _apart(tensors: Tensors) -> Tensors:
    """Return tensors on the CPU in one piece each; safetensors refuses the same memory twice."""
    apart: Tensors = {}
    places: set[int] = set()
    for key, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        apart[key] = tensor.clone() if tensor.data_ptr() in places else tensor
        places.add(tensor.data_ptr())
    return apart


def _write(tensors: Tensors, described: dict[str, Any], path: Path) -> None:
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = mkstemp(dir=path.parent, suffix=".part")
        os.close(handle)
        text = json.dumps(described)
        digest = _digest(text, sorted(tensors.items()))
        save_file(tensors, temporary, {"bitlens": text, "sha256": digest})
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"{path} cannot be written: make room or rights for it ({error})"
        ) from None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _digest(text: str, tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Return the SHA-256 of a description and of tensors on the CPU, by name."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in tensors:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


class Stored:
    """A pass in a file. Layers are read when they are asked for, by any thread.

    Args:
        key, bits: the calibration and the width that the file must be of; None takes any.

    Attributes:
        key: names the calibration that it is of.

    Raises:
        DamagedError: the file cannot be read, is no calibration, another one or damaged, or of
            another version (it is named).
    """

    def __init__(
        self, path: Path, device: torch.device, key: str | None = None, bits: int | None = None
    ) -> None:
        self._path = path
        try:
            self._file = safe_open(str(path), framework="pt", device=str(device))
            metadata = self._file.metadata() or {}
            described = json.loads(metadata["bitlens"])
            version = described["schema"]
            self.key = str(described.get("key"))
            self.linear: dict[str, Any] = described["linear"]
            self.products: dict[str, Any] = described["products"]
            self._stream: dict[str, Any] = described.get("stream", {})  # as of schema 2
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise DamagedError(f"{path} is no calibration ({error})") from None
        if version != SCHEMA:
            raise DamagedError(f"{path} is a calibration of another version")
        if metadata.get("sha256") != self._sum(metadata["bitlens"]):
            raise DamagedError(f"{path} is damaged, or so old that it has no checksum")
        wanted = {"key": key, "bits": bits}
        if any(v is not None and described.get(name) != v for name, v in wanted.items()):
            raise DamagedError(f"{path} is of another calibration or width")

    def _sum(self, text: str) -> str:
        with safe_open(str(self._path), framework="pt") as file:  # on the CPU
            return _digest(text, ((name, file.get_tensor(name)) for name in sorted(file.keys())))

    def __contains__(self, name: str) -> bool:
        return name in self.linear or name in self.products

    def solved(self, name: str, width: int) -> SolvedLinear:
        """Read a linear layer with its weights at one width.

        Raises:
            ValueError: there is no such width; the file lacks something.
        """
        check_width(width)
        parts = (self._read(f"{name}|{width}|{part}") for part in _parts(width))
        made = Rounded if width in MENU else FloatWeight
        return SolvedLinear(*self.input(name), {width: made(*parts)})

    def input(self, name: str) -> tuple[Quantizer, Transform | None]:
        """Read the quantizer of a linear layer's input, and what changes the input before."""
        described = self.linear[name]
        return (
            _get_quantizer(described["quantizer"], f"{name}|input", self._read),
            _get_transform(described["transform"], f"{name}|transform", self._read),
        )

    def operand(self, name: str, side: int) -> Quantizer:
        """Read the quantizer of one side of an attention product."""
        return _get_quantizer(self.products[name][side], f"{name}|{side}", self._read)

    def stream(self) -> dict[str, Quantizer]:
        """Read the quantizers of residual sums and LayerNorm outputs, by name, as they run."""
        return {
            name: _get_quantizer(described, f"{name}|stream", self._read)
            for name, described in self._stream.items()
        }

    def _read(self, key: str) -> Tensor:
        try:
            return self._file.get_tensor(key)
        except SafetensorError as error:
            raise DamagedError(f"{self._path} is incomplete ({error})") from None


def _parts(width: int) -> tuple[str, ...]:
    """Return what a weight of this width is made of."""
    return ("codes", "scale", "bias") if width in MENU else ("values", "bias")


def _put_quantizer(quantizer: Quantizer, key: str, tensors: Tensors) -> dict[str, Any]:
    if isinstance(quantizer, Uniform):
        tensors[f"{key}|scale"] = quantizer.qparams.scale
        tensors[f"{key}|zero_point"] = quantizer.qparams.zero_point
        return {"kind": "uniform", "bits": quantizer.bits}
    if isinstance(quantizer, Codebook):
        tensors[f"{key}|table"] = quantizer.table
        scalars = {"step": quantizer.step, "zero_point": quantizer.zero_point}
        return {"kind": "codebook", "bits": quantizer.bits, **scalars}
    if isinstance(quantizer, Scaled):
        return {"kind": "scaled", "levels": _put_quantizer(quantizer.levels, key, tensors)}
    kind = next(name for name, made in PLAIN.items() if isinstance(quantizer, made))
    return {"kind": kind, **vars(quantizer)}


def _get_quantizer(described: dict[str, Any], key: str, read: Read) -> Quantizer:
    kind, rest = described["kind"], {k: v for k, v in described.items() if k != "kind"}
    if kind == "uniform":
        return Uniform(QParams(read(f"{key}|scale"), read(f"{key}|zero_point"), rest["bits"]))
    if kind == "codebook":
        return Codebook(read(f"{key}|table"), **rest)
    if kind == "scaled":
        return Scaled(_get_quantizer(rest["levels"], key, read))
    made: Quantizer = PLAIN[kind](**rest)
    return made


def _put_transform(transform: Transform | None, key: str, tensors: Tensors) -> str:
    if transform is None:
        return ""
    kind = type(transform).__name__
    for part in fields(TRANSFORMS[kind]):
        tensors[f"{key}|{part.name}"] = getattr(transform, part.name)
    return kind


def _get_transform(kind: str, key: str, read: Read) -> Transform | None:
    if not kind:
        return None
    made = TRANSFORMS[kind]
    return made(**{part.name: read(f"{key}|{part.name}") for part in fields(made)})
