"""The rules' equations, written as modified gradients.

Every tensor a carries a modified gradient G with relevance R = a * G, so autograd is the tape:
reshapes, permutations and window partitions need no rule. A rule gives an operation's value y the
gradient of a surrogate s(x), scaled so that relevance arrives whole:

    attribute(s, y):  G_s = G_y * y / s        (R_s = s * G_s = R_y)

Written for few passes over memory: most of the time goes there.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

_TINY = 1e-9  # as in Chefer et al.'s safe_divide
_LEAST = 1e-3  # of an output's contributions: fewer positive ones drown in rounding


def stabilise(z: Tensor, epsilon: float = _TINY) -> Tensor:
    """Return z pushed away from zero: z + epsilon * sign(z), with sign(0) = 1."""
    return torch.copysign(z.new_tensor(epsilon), z).add_(z)


class _Attribute(Function):
    @staticmethod
    def forward(ctx: Any, surrogate: Tensor, value: Tensor, epsilon: float) -> Tensor:
        ratio = stabilise(surrogate, epsilon)
        ctx.save_for_backward(torch.div(value, ratio, out=ratio))
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (ratio,) = ctx.saved_tensors
        return gradients[0] * ratio, None, None


def attribute(surrogate: Tensor, value: Tensor, epsilon: float = _TINY) -> Tensor:
    """Return `value`, its relevance redistributed along the gradient of `surrogate`.

    G_s = G_y * y / (s + epsilon sign s), so that R_s = R_y where s is not near zero.
    """
    return _Attribute.apply(surrogate, value.detach(), epsilon)


class _Halve(Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] / 2


def halve(value: Tensor) -> Tensor:
    """Return `value` with half of its relevance."""
    return _Halve.apply(value)


def half_matmul(a: Tensor, b: Tensor) -> Tensor:
    """Multiply, and give each operand half of the product's relevance.

    R_a = a * (G b^T) / 2 and R_b = b * (a^T G) / 2 (Chefer et al. eq. 9; AttnLRP proposition 3.3).
    The half is taken on the side that has fewer numbers.
    """
    rows, columns, inner = a.shape[-2], b.shape[-1], a.shape[-1]
    if rows * columns < inner * (rows + columns):
        return halve(torch.matmul(a, b))
    return torch.matmul(halve(a), halve(b))


class _Magnitude(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.abs()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return ctx.saved_tensors[0].sign().mul_(gradients[0])


def magnitude(x: Tensor) -> Tensor:
    """Return |x|, with torch's own gradient in half of its memory."""
    return _Magnitude.apply(x)


class _AlphaBeta(Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, magnitudes: Tensor, plain: Tensor, absolute: Tensor) -> Tensor:
        ctx.save_for_backward(plain, absolute)
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        plain, absolute = ctx.saved_tensors
        first = gradients[0] * plain
        return first, first if absolute is plain else gradients[0] * absolute, None, None


def alpha_beta(y: Tensor, magnitudes: Tensor, bias: Tensor | None, alpha: float = 1.0) -> Tensor:
    """Return y = x W + bias, redistributed by the signs of its contributions.

    R_x = (alpha z_jk+ / z+ - (alpha - 1) z_jk- / z-) R; alpha = 1 is z-plus. The bias takes no
    share (Bach et al. 2015, eq. 60; Chefer et al. eq. 8). With m = |x| |W| from one more product,
    z+ = (y - bias + m) / 2 and z- = (y - bias - m) / 2, so the rule weights the gradients of y and
    of m: two products each way instead of four. What arrives at an output whose contributions of a
    sign are under a thousandth of all is lost in part, or whole where there are none.

    Args:
        y: (..., K) or (B, K, h, w), in the graph.
        magnitudes: m, of y's shape, in the graph; its memory is used up.
        bias: broadcastable to y.
    """
    with torch.no_grad():
        bias = y.new_zeros(()) if bias is None else bias
        floor = (magnitudes * (2 * _LEAST)).add_(2 * _TINY)
        negative = None if alpha == 1 else (y - magnitudes).sub_(bias)
        positive = magnitudes.detach().add_(y).sub_(bias)
        torch.div(y, torch.maximum(positive, floor, out=positive), out=positive)
        plain = absolute = positive
        if negative is not None:
            torch.minimum(negative, floor.neg_(), out=negative)
            torch.div(y, negative, out=negative).mul_(alpha - 1)
            positive.mul_(alpha)
            plain, absolute = positive - negative, positive + negative
    return _AlphaBeta.apply(y, magnitudes, plain, absolute)


class _Gamma(Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, magnitudes: Tensor, share: Tensor, part: float) -> Tensor:
        ctx.save_for_backward(share)
        ctx.part = part
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (share,) = ctx.saved_tensors
        return (
            share.abs().mul_(gradients[0]),
            (share * gradients[0]).mul_(ctx.part),
            None,
            None,
        )


def gamma_rule(y: Tensor, magnitudes: Tensor, bias: Tensor | None, gamma: float) -> Tensor:
    """Return y = x W + bias, redistributed by the gamma rule.

    R_x = (z_jk + gamma z_jk+) / (y + gamma (z+ + bias+)) R where y > 0; where y < 0, negative
    contributions are the favoured ones (Montavon et al. 2019 for inputs of both signs, as in
    zennit). The bias keeps its share; gamma = 0 is the epsilon rule. Arguments as `alpha_beta`'s.
    """
    part = gamma / (2 + gamma)  # y + gamma z+ = (1 + gamma / 2) (y + part m) where y > 0
    with torch.no_grad():
        bias = y.new_zeros(()) if bias is None else bias
        size = y.abs()
        share = magnitudes.detach().mul_(part).add_(size).add_(bias.abs() * part + _TINY)
        torch.div(size, share, out=share).copysign_(y)
    return _Gamma.apply(y, magnitudes, share, part)


class _RatioAdd(Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, images: int) -> Tensor:
        ctx.save_for_backward(a, b)
        ctx.images = images
        return a + b

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        a, b = ctx.saved_tensors
        gradient = gradients[0]
        sum_a, sum_b = (_per_image(t, gradient, ctx.images) for t in (a, b))
        total = (sum_a + sum_b) / (sum_a.abs() + sum_b.abs()).clamp_min(torch.finfo(a.dtype).tiny)
        factors = (_spread(total * s.sign(), gradient) for s in (sum_a, sum_b))
        return gradient * next(factors), gradient * next(factors), None


def _per_image(values: Tensor, gradient: Tensor, images: int) -> Tensor:
    return torch.einsum("bn,bn->b", values.reshape(images, -1), gradient.reshape(images, -1))


def _spread(factor: Tensor, like: Tensor) -> Tensor:
    # (B,) -> (B * windows, 1, ..., 1): windows are batch-major
    repeated = factor.repeat_interleave(like.shape[0] // factor.shape[0])
    return repeated.reshape(-1, *[1] * (like.dim() - 1))


def ratio_add(a: Tensor, b: Tensor, images: int) -> Tensor:
    """Add two branches; each takes relevance in proportion to |the sum of its own share|.

    With shares R_a = a R/(a+b) and S_a = sum over an image of R_a:
    R_a <- R_a / S_a * (S_a + S_b) |S_a| / (|S_a| + |S_b|), so an image's sum is conserved.
    Sums are per image; Chefer et al.'s code takes them over the batch.
    """
    return _RatioAdd.apply(a, b, images)


class _AbsoluteAdd(Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return a + b

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        a, b = ctx.saved_tensors
        sizes = a.abs().add_(b.abs()).clamp_min_(torch.finfo(a.dtype).tiny)
        share = (a + b).mul_(gradients[0]).div_(sizes)
        return a.sign().mul_(share), b.sign().mul_(share)


def absolute_add(a: Tensor, b: Tensor) -> Tensor:
    """Add two branches; each element's relevance is split by size: R_a = R |a| / (|a| + |b|).

    Conserved element by element, with no denominator near zero (our reading of a stable residual
    rule).
    """
    return _AbsoluteAdd.apply(a, b)


class _LayerNorm(Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        shape: list[int],
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
    ) -> Tensor:
        y, _, inverse = torch.native_layer_norm(x, shape, weight, bias, eps)
        ctx.save_for_backward(inverse, weight)
        ctx.dims = tuple(range(-len(shape), 0))
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        inverse, weight = ctx.saved_tensors
        gradient = gradients[0] * (inverse if weight is None else weight)
        gradient -= gradient.mean(ctx.dims, keepdim=True)
        return gradient if weight is None else gradient.mul_(inverse), None, None, None, None


def layer_norm(
    x: Tensor, shape: list[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """Normalise with a deviation that is a constant to relevance (AttnLRP, proposition 3.4).

    The mean is subtracted in the graph, as what it takes away is linear in x.
    """
    return _LayerNorm.apply(x, shape, weight, bias, eps)
