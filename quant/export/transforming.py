"""Write what transforms make of layers' inputs: into the LayerNorm before, or as nodes."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from quant.export.folding import Folding
from quant.export.graph import Graph, array
from quant.primitives.transforms import (
    Equalisation,
    Rescaling,
    Rotation,
    Transform,
    orthogonal,
    rotate,
)


class Transforming:
    """Writes transforms of layers' inputs into a graph.

    Attributes:
        extra: what is computed for it when the model runs, in words, by layer name.
    """

    def __init__(self, graph: Graph, folding: Folding) -> None:
        self._graph, self._folding = graph, folding
        self.extra: dict[str, str] = {}

    def apply(
        self, name: str, transform: Transform | None, x: str, rows: Sequence[int]
    ) -> tuple[str, Tensor | None]:
        """Write the transformed input of a layer.

        Args:
            x: its input, of the shape `rows` (..., C), -1 where that depends on the images.

        Returns:
            what stands for it, and in which order it has the channels (None leaves them).
        """
        if transform is None:
            return x, None
        if isinstance(transform, Equalisation):
            self.extra[name] = "two rotations"
            return self._equalised(transform, x, rows), None
        if isinstance(transform, Rescaling):
            return self._scaled(
                name, x, 1 / transform.factor, transform.shift / transform.factor
            ), None
        x = self._scaled(name, x, transform.diagonal, -transform.centre * transform.diagonal)
        self.extra[name] = "a rotation"
        return self._rotated(x, rows)

    def _scaled(self, name: str, x: str, scale: Tensor, shift: Tensor) -> str:
        folded = self._folding.fold(x, array(scale), array(shift))
        if folded is not None:
            return folded
        self.extra[name] = "a scale and a shift"
        return self._affine(x, array(scale), array(shift))

    def _affine(self, x: str, scale: np.ndarray, shift: np.ndarray) -> str:
        x = self._graph.add("Mul", x, self._graph.constant(scale))
        return self._graph.add("Add", x, self._graph.constant(shift))

    def _rotated(self, x: str, rows: Sequence[int]) -> tuple[str, Tensor]:
        """Multiply by H = kron(A, B), one after the other; channels end up column by column."""
        outer, inner = orthogonal(rows[-1])
        sizes = len(outer), len(inner)
        x = self._cells(x, rows, *sizes)
        x = self._turned(self._turned(x, rows, inner), rows, outer, exchange=True)
        return self._whole(x, rows), by_columns(*sizes)

    def _equalised(self, transform: Rotation, x: str, rows: Sequence[int]) -> str:
        outer, inner = orthogonal(rows[-1])
        sizes, diagonal = (len(outer), len(inner)), transform.diagonal
        shift = -rotate(transform.centre) * diagonal
        x = self._cells(x, rows, *sizes)
        x = self._turned(self._turned(x, rows, inner), rows, outer, exchange=True)
        x = self._affine(x, *(array(one.view(sizes).T) for one in (diagonal, shift)))
        x = self._turned(self._turned(x, rows, outer), rows, inner, exchange=True)
        return self._whole(x, rows)

    def _cells(self, x: str, rows: Sequence[int], outer: int, inner: int) -> str:
        shape = self._graph.constant(np.array([*rows[:-1], outer, inner]))
        return self._graph.add("Reshape", x, shape)

    def _whole(self, x: str, rows: Sequence[int]) -> str:
        return self._graph.add("Reshape", x, self._graph.constant(np.array(rows)))

    def _turned(self, x: str, rows: Sequence[int], by: Tensor, exchange: bool = False) -> str:
        """Multiply the last axis, once it is exchanged with the one before if that is wanted."""
        if exchange:
            last = len(rows)
            x = self._graph.add("Transpose", x, perm=[*range(last - 1), last, last - 1])
        return self._graph.add("MatMul", x, self._graph.constant(array(by)))


def by_columns(rows: int, columns: int) -> Tensor:
    """Return the places of a matrix, written row by row, in the order of its columns."""
    return torch.arange(rows * columns).view(rows, columns).T.flatten()
