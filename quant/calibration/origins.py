"""Follow the channels that a normalisation gives through operations that only move values."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

Affine = tuple[Tensor, Tensor]  # a weight (K, C) and a bias (K,); of a normalisation (C,) and (C,)

# Operations whose output holds entries of their input, at other places or on another device.
MOVES = frozenset(
    """__get__ __getitem__ cat chunk contiguous expand expand_as flatten flip index_select movedim
    narrow pad permute repeat reshape reshape_as roll select split squeeze stack swapaxes tile
    transpose unbind unflatten unsqueeze view view_as""".split()  # noqa: SIM905 - a table of names
)
COPIES = frozenset("clone detach dropout float to type_as".split())  # noqa: SIM905


class Origins:
    """Which entry of a tensor is which channel of which normalisation's output.

    Each output has a companion of its shape, whose integers name normalisation and channel; 0 is
    neither. What moves the output moves the companion.
    """

    def __init__(self) -> None:
        self._companions = WeakTensorKeyDictionary()
        self._norms: dict[int, Affine] = {}  # by the integer of their first channel
        self._next = 1

    def begin(self, output: Tensor, weight: Tensor | None, bias: Tensor | None) -> None:
        """Note that `output` (..., C) was normalised over C, then scaled and shifted by (C,)."""
        size, plain = output.shape[-1], output.detach()
        scale = plain.new_ones(size) if weight is None else weight.detach()
        self._norms[self._next] = scale, torch.zeros_like(scale) if bias is None else bias.detach()
        channels = torch.arange(self._next, self._next + size, device=output.device)
        self._companions[output] = channels.int().expand(output.shape).contiguous()
        self._next += size

    def follow(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
        """Note that `func` made `out` of its arguments."""
        name = getattr(func, "__name__", "")
        if not args or not any(tensor in self._companions for tensor in tensors(args[0])):
            return
        if name in COPIES and isinstance(out, Tensor):
            self._companions[out] = self._companions[args[0]]
        elif name in MOVES:
            self._move(lambda moved: func(moved, *args[1:], **kwargs), args[0], out)
        elif name == "__setitem__" or (name.endswith("_") and not name.endswith("__")):
            del self._companions[args[0]]  # it is written to

    def _move(self, move: Callable[[Any], Any], moved: Any, out: Any) -> None:
        """Move the companions of a tensor, or of several that are joined."""
        alone = isinstance(moved, Tensor)
        found = move(self._of(moved) if alone else [self._of(tensor) for tensor in moved])
        for tensor, companion in zip(tensors(out), tensors(found), strict=False):
            self._companions[tensor] = companion

    def _of(self, tensor: Tensor) -> Tensor:
        known = self._companions.get(tensor)
        return torch.zeros_like(tensor, dtype=torch.int32) if known is None else known

    def norm_of(self, x: Tensor) -> Affine | None:
        """Return scale and shift of the normalisation that rows (..., C) come out of, or None.

        Most rows must be its whole output in order; windows may be padded with others.
        """
        companion = self._companions.get(x)
        if companion is None:
            return None
        size, first = x.shape[-1], companion[..., 0]
        in_order = first[..., None] + torch.arange(size, device=x.device)
        first = torch.where((companion == in_order).all(-1), first, 0)
        for start, affine in self._norms.items():
            if len(affine[0]) == size and float((first == start).float().mean()) > 0.5:
                return affine
        return None


def tensors(value: Any) -> Iterator[Tensor]:
    """Yield a tensor, or those of a sequence, and of sequences in it."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors(item)
