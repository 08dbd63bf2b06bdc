"""Find residual streams that only norms read: what writes to them, and what reads the norms."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from lrp.engine.interpreter import Convolution, Interpreter, Linear
from quant.calibration.origins import COPIES, MOVES, tensors

_PASSES = MOVES | COPIES | {"mean"}  # what a rotation of the channels commutes with


@dataclass(eq=False)
class Stream:
    """A sum that runs through a model, of outputs of layers and of constants, (..., C) each.

    Attributes:
        size: C.
        writers: layers that write to it, each with the name of the parameter (C,) that scales its
            output on the way, or "".
        constants: names of parameters in it.
        norms: names of the LayerNorms and RMSNorms that alone read it, each with its readers.
        plain: nothing else is done with it.
    """

    size: int
    writers: dict[str, str] = field(default_factory=dict)
    constants: set[str] = field(default_factory=set)
    norms: dict[str, set[str]] = field(default_factory=dict)
    plain: bool = True
    joined: "Stream | None" = None

    def whole(self) -> "Stream":
        """Return the stream that this one is part of by now."""
        return self if self.joined is None else self.joined.whole()

    def join(self, other: "Stream") -> None:
        """Add `other` to this one; both are whole."""
        if other is self:
            return
        self.plain = self.plain and other.plain and self.size == other.size
        self.writers |= other.writers
        self.constants |= other.constants
        self.norms |= other.norms
        other.joined = self


@dataclass(frozen=True, eq=False)
class _Tag:
    """What a tensor is: part of a stream, or, where `norm` is named, what a norm makes of it."""

    stream: Stream
    norm: str = ""


class _Finder(Interpreter):
    """Run a model and follow its sums; each output of a layer may begin a stream."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.streams: list[Stream] = []
        self._tags = WeakTensorKeyDictionary()
        self._names = {id(p): name for name, p in model.named_parameters(remove_duplicate=False)}

    def _begin(self, tensor: Tensor, stream: Stream) -> None:
        self.streams.append(stream)
        self._tags[tensor] = _Tag(stream)

    def _tag(self, value: Any) -> _Tag | None:
        if not isinstance(value, Tensor):
            return None
        if value not in self._tags and id(value) in self._names and value.dim():
            self._begin(value, Stream(value.shape[-1], constants={self._names[id(value)]}))
        return self._tags.get(value)

    def _read(self, *values: Any) -> None:
        """Note that something reads values in a way of its own."""
        for value in values:
            if (tag := self._tag(value)) is not None:
                tag.stream.whole().plain = False

    def weigh(
        self, name: str, form: Linear, input: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        output = form.apply(input, weight, bias)
        tag = self._tag(input)
        if tag is not None and tag.norm and not isinstance(form, Convolution):
            tag.stream.whole().norms[tag.norm].add(name)
        else:
            self._read(input)
        self._begin(output, Stream(len(weight), writers={name: ""}))
        return output

    def multiply(self, name: str, input: Tensor, other: Tensor) -> Tensor:
        self._read(input, other)
        return super().multiply(name, input, other)

    def softmax(self, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self._read(input)
        return super().softmax(input, *args, **kwargs)

    def activate(self, func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self._read(input)
        return super().activate(func, input, *args, **kwargs)

    def normalize(self, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self._read(input)
        return super().normalize(input, *args, **kwargs)

    def layer_norm(
        self, input: Tensor, normalized_shape: list[int], *args: Any, **kwargs: Any
    ) -> Tensor:
        output = super().layer_norm(input, normalized_shape, *args, **kwargs)
        return self._normalised(input, output, normalized_shape)

    def rms_norm(
        self, input: Tensor, normalized_shape: list[int], *args: Any, **kwargs: Any
    ) -> Tensor:
        output = super().rms_norm(input, normalized_shape, *args, **kwargs)
        return self._normalised(input, output, normalized_shape)

    def _normalised(self, input: Tensor, output: Tensor, shape: list[int]) -> Tensor:
        tag = self._tag(input)
        if tag is None or tag.norm or len(shape) != 1 or shape[0] % tag.stream.whole().size:
            self._read(input)
            return output
        name = self.scope.current
        tag.stream.whole().norms.setdefault(name, set())
        self._tags[output] = _Tag(tag.stream.whole(), name)
        return output

    def add(self, input: Any, other: Any, *, alpha: float = 1) -> Tensor:
        output = torch.add(input, other, alpha=alpha)
        self._sum(output, [input, other], plain=alpha == 1)
        return output

    def _sum(self, output: Tensor, parts: list[Any], plain: bool = True) -> None:
        """Note that values are added, or laid beside one another, in `output`."""
        tags = [self._tag(part) for part in parts]
        streams = [tag.stream.whole() for tag in tags if tag is not None and not tag.norm]
        if not plain or len(streams) < len(parts) or len({stream.size for stream in streams}) > 1:
            self._read(*parts)
            return
        for stream in streams[1:]:
            streams[0].whole().join(stream.whole())
        self._tags[output] = _Tag(streams[0].whole())

    def mul(self, input: Any, other: Any) -> Tensor:
        output = torch.mul(input, other)
        tag, scale = self._tag(input), self._names.get(id(other))
        stream = None if tag is None or tag.norm else tag.stream.whole()
        if stream is None or scale is None or not self._scales(stream, other):
            self._read(input, other)
        else:
            stream.writers = dict.fromkeys(stream.writers, scale)
            self._tags[output] = _Tag(stream)
        return output

    def _scales(self, stream: Stream, scale: Tensor) -> bool:
        """Return whether a stream is one layer's output alone, and `scale` (C,) can go into it."""
        alone = list(stream.writers.values()) == [""] and not stream.constants
        return alone and scale.shape == (stream.size,)

    def other(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        output = func(*args, **kwargs)
        name, parts = getattr(func, "__name__", ""), list(tensors([*args, *kwargs.values()]))
        if not any(self._tag(part) is not None for part in parts):
            return output
        made = list(tensors(output))
        if name == "cat":
            self._sum(output, parts)
        elif name in _PASSES and len(parts) == 1:
            self._tags.update(dict.fromkeys(made, self._tag(parts[0])))
        elif made or name.startswith("__set"):
            self._read(*parts)
        return output


@torch.no_grad()
def find_streams(model: nn.Module, images: Tensor) -> list[Stream]:
    """Return the streams that only norms read, and only layers whose output is (..., C) write to.

    Args:
        images: any, (B, 3, H, W).
    """
    finder = _Finder(model)
    finder.run(images)
    whole = {id(s): s for s in (stream.whole() for stream in finder.streams)}
    return [s for s in whole.values() if s.plain and s.writers and any(s.norms.values())]
