"""Invertible changes of a layer's input that its weights undo: exact in floating point."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from scipy.fft import dct
from scipy.linalg import hadamard
from torch import Tensor

FLOOR = 1e-3  # of the largest or mean entry: keeps what is inverted well conditioned


def transformed(
    transform: "Transform | None", affine: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the weight (K, C) and bias (K,) that take the transformed input; None changes none."""
    return affine if transform is None else (transform.weight(affine[0]), transform.bias(*affine))


def restored(transform: "Transform | None", affine: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the weight and bias that take the input where `affine` takes the transformed one."""
    if transform is None:
        return affine
    weight, bias = transform.original(affine[0]), affine[1]
    return weight, bias - transform.bias(weight, torch.zeros_like(bias))


@dataclass(frozen=True, eq=False)
class Rotation:
    """x' = ((x - centre) * diagonal) H, H orthogonal (C, C): no channel stands out any more.

    With diagonal = signs / gain of the LayerNorm before, x' is a rotation of the normalised
    input: a rotation of the residual stream, folded into the weights that write and read it
    (QuaRot, arXiv:2404.00456), gives it at no cost at run time.

    Attributes:
        diagonal: (C,), not zero.
        centre: (C,), which the bias takes back.
    """

    diagonal: Tensor
    centre: Tensor

    def _first(self, x: Tensor) -> Tensor:
        """Change x (..., C) before `diagonal` does: not at all."""
        return x

    _first_back = _first

    def __call__(self, x: Tensor) -> Tensor:
        return rotate(self._first(x - self.centre).mul_(self.diagonal))

    def inverse(self, x: Tensor) -> Tensor:
        """Return x for x'."""
        return self._first_back(rotate_back(x).div_(self.diagonal)).add_(self.centre)

    def weight(self, weight: Tensor) -> Tensor:
        """Return W diagonal^-1 H for a weight (K, C)."""
        return rotate(self._first(weight) / self.diagonal)

    def original(self, weight: Tensor) -> Tensor:
        """Return the weight (K, C) that `weight` made this of."""
        return self._first_back(rotate_back(weight).mul_(self.diagonal))

    def bias(self, weight: Tensor, bias: Tensor) -> Tensor:
        """Return bias + W centre, with the weight (K, C) before `weight` changed it."""
        return bias + weight @ self.centre


class Equalisation(Rotation):
    """x' = (((x - centre) D) * diagonal) H, orthogonal D and H (C, C): evens out patches.

    D is the cosine transform of a patch, as in JPEG, and of its colours: it takes neighbours'
    likeness apart; `diagonal` makes what is left as large as the weights that read it; H spreads
    it.  All of it belongs to the image's preprocessing.
    """

    def _first(self, x: Tensor) -> Tensor:
        return _kronecker(x, *(factor.to(x) for factor in cosines(x.shape[-1])))

    def _first_back(self, x: Tensor) -> Tensor:
        return _kronecker(x, *(factor.T.to(x) for factor in cosines(x.shape[-1])))


def equalise(rows: Tensor, weight: Tensor, flips: Tensor) -> Equalisation:
    """Fit an equalisation to rows (n, C) of an input and the weight (K, C) that reads them.

    diagonal = +- (w / v)^1/4, with the variance v of a coefficient and the energy w of its
    weights: `balanced`, with cross terms left out.
    """
    middle = centre(rows)
    even = Equalisation(flips, middle)
    spread = even._first(rows - middle).square().mean(0)
    energy = even._first(weight).square().mean(0)
    spread, energy = (t + FLOOR * t.mean() + 1e-12 for t in (spread, energy))
    return replace(even, diagonal=flips * (energy / spread) ** 0.25)


@dataclass(frozen=True, eq=False)
class Rescaling:
    """x' = (x + shift) / factor, both (C,)."""

    shift: Tensor
    factor: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return (x + self.shift) / self.factor

    def inverse(self, x: Tensor) -> Tensor:
        """Return x for x'."""
        return x * self.factor - self.shift

    def weight(self, weight: Tensor) -> Tensor:
        """Return W factor for a weight (K, C)."""
        return weight * self.factor

    def original(self, weight: Tensor) -> Tensor:
        """Return the weight (K, C) that `weight` made this of."""
        return weight / self.factor

    def bias(self, weight: Tensor, bias: Tensor) -> Tensor:
        """Return bias - W shift, with the weight (K, C) before `weight` changed it."""
        return bias - weight @ self.shift


@dataclass(frozen=True, eq=False)
class Restoration:
    """x' = x Q^T * gain + shift: what a LayerNorm gives, of its output in a turned stream.

    Attributes:
        turn: Q (C, C); an x of several such cells (..., n C) is turned cell by cell.
        gain, shift: the LayerNorm's, (n C,), no gain zero.
    """

    turn: Tensor
    gain: Tensor
    shift: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return turned_cells(x, self.turn.T) * self.gain + self.shift

    def inverse(self, x: Tensor) -> Tensor:
        """Return x for x'."""
        return turned_cells((x - self.shift) / self.gain, self.turn)

    def weight(self, weight: Tensor) -> Tensor:
        """Return W Q^T / gain for a weight (K, n C)."""
        return turned_cells(weight, self.turn.T) / self.gain

    def original(self, weight: Tensor) -> Tensor:
        """Return the weight (K, n C) that `weight` made this of."""
        return turned_cells(weight * self.gain, self.turn)

    def bias(self, weight: Tensor, bias: Tensor) -> Tensor:
        """Return bias - W' shift, with the weight (K, n C) before `weight` changed it."""
        return bias - self.weight(weight) @ self.shift


def turned_cells(x: Tensor, turn: Tensor) -> Tensor:
    """Return x (..., n C) with each of its n cells multiplied by `turn` (C, C)."""
    return (x.unflatten(-1, (-1, len(turn))) @ turn).flatten(-2)


Transform = Rotation | Rescaling | Restoration  # an `Equalisation` is a rotation


def rotate(x: Tensor) -> Tensor:
    """Return x H for x (..., C): H is the Kronecker product of two small matrices, never formed."""
    outer, inner = (factor.to(x) for factor in orthogonal(x.shape[-1]))
    return _kronecker(x, outer, inner)


def rotate_back(x: Tensor) -> Tensor:
    """Return x H^T for x (..., C): what `rotate` made it of."""
    outer, inner = (factor.to(x) for factor in orthogonal(x.shape[-1]))
    return _kronecker(x, outer.T, inner.T)


def _kronecker(x: Tensor, outer: Tensor, inner: Tensor) -> Tensor:
    cells = x.reshape(-1, len(outer), len(inner))
    return (outer.T @ (cells @ inner)).view(x.shape)


@lru_cache(maxsize=32)
def orthogonal(size: int) -> tuple[Tensor, Tensor]:
    """Return orthogonal factors A (a, a) and B (b, b), a b = size; H = kron(A, B).

    Entries as equal as they can be: Hadamard matrices for the powers of two, times a cosine
    transform for what is left of `size`; sums and differences, which hardware has for little.
    """
    power = size & -size
    inner = power
    while inner > 16 and inner * inner > size:
        inner //= 2
    rest = dct(np.eye(size // power), norm="ortho", axis=0)
    outer = np.kron(rest, hadamard(power // inner) / math.sqrt(power // inner))
    return torch.tensor(outer).float(), torch.tensor(hadamard(inner) / math.sqrt(inner)).float()


@lru_cache(maxsize=32)
def cosines(size: int) -> tuple[Tensor, Tensor]:
    """Return factors A (a, a) and B (b, b), a b = size; kron(A, B) is a patch's cosine transform.

    A patch has as many colours as are left of `size` by the largest square that divides it.
    """
    side = max(k for k in range(1, math.isqrt(size) + 1) if size % (k * k) == 0)
    colours, line = (dct(np.eye(n), norm="ortho", axis=0).T for n in (size // side**2, side))
    return torch.tensor(np.kron(colours, line)).float(), torch.tensor(line).float()


@lru_cache(maxsize=8)
def mean_keeping(size: int) -> Tensor:
    """Return an orthogonal Q (C, C), C = `size`, with Q 1 = 1: x Q has the mean of x.

    So a LayerNorm without gain and bias commutes with it: LN(x Q) = LN(x) Q. Entries are as equal
    as they can be: Kronecker products of J / 2 - I (4, 4), all of whose entries are +- 1/2, and of
    the flattest of many such matrices for what is left of `size`; channels in an order drawn once.
    """
    turn, rest = torch.ones(1, 1, dtype=torch.double), size
    quarter = torch.full((4, 4), 0.5).double() - torch.eye(4).double()
    while rest % 4 == 0 and rest // 4 % 4 != 2:  # a factor of 8 mixes better than 4 beside 2
        turn, rest = torch.kron(turn, quarter), rest // 4
    order = torch.randperm(size, generator=torch.Generator().manual_seed(size))
    return torch.kron(turn, _flattest(rest))[order][:, order]


def _flattest(size: int, draws: int = 256) -> Tensor:
    """Return H^T D H for the signs D, the first of them 1, that make its largest entry least.

    The first row of H is constant, so 1 stays what it is.
    """
    basis = rotate(torch.eye(size, dtype=torch.double))
    generator = torch.Generator().manual_seed(size)
    drawn = torch.randint(2, (draws, size), generator=generator).mul_(2).sub_(1).double()
    drawn[:, 0] = 1
    return min(
        (basis.T @ (flips[:, None] * basis) for flips in drawn), key=lambda q: float(q.abs().max())
    )


def signs(size: int) -> Tensor:
    """Return `size` signs, -1 or 1, always the same: layers that read one stream turn it alike."""
    generator = torch.Generator().manual_seed(size)
    return torch.randint(2, (size,), generator=generator).mul_(2).sub_(1).float()


def centre(rows: Tensor) -> Tensor:
    """Return the mean (C,) of rows (n, C); zeros where the rows are all but the same.

    Around a mean that is all there is, a range would have no width for what other images bring.
    """
    middle = rows.mean(0)
    spread = (rows - middle).square().mean()
    return middle if spread > 1e-3 * rows.square().mean() else torch.zeros_like(middle)


def gain(weight: Tensor, readers: Tensor) -> Tensor:
    """Return a LayerNorm's gain (C,) with no entry so small that dividing by it would hurt.

    Small gains hide channels that are large before them. How small is told by what a channel
    brings to the output, gain times the norm of the weights (C,) that read it: so scaling one up
    and the other down changes nothing.
    """
    most = (weight.abs() * readers).max()
    if not most > 0:
        return torch.ones_like(weight)
    least = FLOOR * most / readers.clamp_min(FLOOR**5 * float(readers.max()))
    return torch.where(weight.abs() < least, least.copysign(weight), weight).float()
