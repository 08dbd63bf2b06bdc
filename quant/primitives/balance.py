"""Balance the two factors of a product: equally large in every direction."""

import torch
from torch import Tensor

from quant.primitives.transforms import FLOOR


def balanced(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return T (d, d) and its inverse: x T and w T^-T are equally large in every direction.

    Of all T, it makes tr(T^T S_x T) tr(T^-1 S_w T^-T) least: what a quantizer of x T with noise
    in proportion to its range adds to x w^T. Our reading: T = S_x^-1/2 (S_x^1/2 S_w S_x^1/2)^1/4.

    Args:
        first, second: S_x and S_w (d, d), second moments of the two factors.
    """
    even = _even(first.double(), second.double())
    first, second = _conditioned(first * even.outer(even)), _conditioned(second / even.outer(even))
    root = _power(first, 0.5)
    middle = root @ second @ root
    transform = even[:, None] * (_power(first, -0.5) @ _power(middle, 0.25))
    return transform, torch.linalg.inv(transform)


def _even(first: Tensor, second: Tensor) -> Tensor:
    """Return the scales (d,) that make two factors' channels equally large, one by one.

    What is added to condition them then does not depend on how a channel is shared out.
    """
    a, b = first.diagonal(), second.diagonal()
    return torch.where((a > 0) & (b > 0), (b / a) ** 0.25, torch.ones_like(a))


def _conditioned(moments: Tensor) -> Tensor:
    added = (FLOOR * moments.diagonal().mean()).clamp_min(1e-12)
    return moments + added * torch.eye(len(moments), device=moments.device).double()


def _power(symmetric: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(symmetric)
    return (vectors * values.clamp_min(values.max() * 1e-9) ** exponent) @ vectors.T
