"""Transforms against matrices formed whole, and folded into a block by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from quant.primitives.balance import balanced
from quant.primitives.transforms import (
    Equalisation,
    Rescaling,
    Restoration,
    Rotation,
    Transform,
    equalise,
    gain,
    mean_keeping,
    orthogonal,
    restored,
    rotate,
    rotate_back,
    signs,
    transformed,
)

SIZES = [1, 2, 3, 8, 15, 32, 48, 96, 192, 384, 768, 1000]


def whole(size: int) -> Tensor:
    """H (C, C), written out block by block: H[a b + i, c b + j] = A[a, c] B[i, j]."""
    outer, inner = (factor.double() for factor in orthogonal(size))
    rows = [torch.cat([a * inner for a in row], dim=1) for row in outer]
    return torch.cat(rows)


@pytest.mark.parametrize("size", SIZES)
def test_rotate_is_the_product_with_an_orthogonal_matrix(size: int) -> None:
    x = torch.randn(2, 5, size, generator=torch.Generator().manual_seed(size)).double()
    h = whole(size)
    assert h.shape == (size, size)
    torch.testing.assert_close(h @ h.T, torch.eye(size).double(), rtol=0, atol=1e-5)
    torch.testing.assert_close(rotate(x), torch.einsum("bnc,cd->bnd", x, h))


def test_one_outlying_channel_spreads_over_all() -> None:
    x = torch.zeros(1, 192)
    x[0, 17] = 50.0
    assert rotate(x).abs().max() < 50 * 1.5 / 192**0.5


def linear_maps(size: int) -> list[Transform]:
    generator = torch.Generator().manual_seed(size)
    diagonal = torch.randn(size, generator=generator).double().add(3)
    shift = torch.randn(size, generator=generator).double()
    cell = size if size % 3 else size // 3
    return [
        *(Rotation(diagonal, shift), Rescaling(shift, diagonal), Equalisation(diagonal, shift)),
        Restoration(mean_keeping(cell), diagonal, shift),
    ]


@pytest.mark.parametrize("size", [3, 32, 48])
@pytest.mark.parametrize("kind", range(4))
def test_transformed_input_times_transformed_weight_is_the_layer(size: int, kind: int) -> None:
    transform = linear_maps(size)[kind]
    generator = torch.Generator().manual_seed(1)
    x, weight = (torch.randn(n, size, generator=generator).double() for n in (20, 7))
    bias = torch.randn(7, generator=generator).double()
    kept = x.clone()
    found = F.linear(transform(x), transform.weight(weight), transform.bias(weight, bias))
    torch.testing.assert_close(found, F.linear(x, weight, bias), rtol=1e-5, atol=1e-5)
    assert torch.equal(x, kept)


@pytest.mark.parametrize("size", [3, 32, 48])
def test_rotating_back_is_the_product_with_the_transposed_matrix(size: int) -> None:
    x = torch.randn(2, 5, size, generator=torch.Generator().manual_seed(size)).double()
    torch.testing.assert_close(rotate_back(x), torch.einsum("bnc,dc->bnd", x, whole(size)))


@pytest.mark.parametrize("size", [3, 32, 48])
@pytest.mark.parametrize("kind", range(4))
def test_the_inverse_takes_inputs_weights_and_biases_back(size: int, kind: int) -> None:
    transform = linear_maps(size)[kind]
    generator = torch.Generator().manual_seed(2)
    x, weight = (torch.randn(n, size, generator=generator).double() for n in (20, 7))
    bias = torch.randn(7, generator=generator).double()
    moved = transform(x)
    affine = transformed(transform, (weight, bias))
    kept = moved.clone(), affine[0].clone()
    torch.testing.assert_close(transform.inverse(moved), x, rtol=1e-5, atol=1e-5)
    for found, wanted in zip(restored(transform, affine), (weight, bias), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert torch.equal(moved, kept[0])
    assert torch.equal(affine[0], kept[1])


def test_no_transform_changes_nothing() -> None:
    affine = torch.randn(3, 4), torch.randn(3)
    assert transformed(None, affine) is affine
    assert restored(None, affine) is affine


def test_signs_are_the_same_at_every_call() -> None:
    first, again = signs(64), signs(64)
    assert set(first.tolist()) == {-1.0, 1.0}
    assert torch.equal(first, again)


def moments(seed: int, size: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    rows, mix = (torch.randn(n, size, generator=generator).double() for n in (40, size))
    rows = rows * torch.linspace(0.3, 3, size) @ mix
    return rows.T @ rows / 40


@pytest.mark.parametrize("seed", range(4))
def test_balancing_makes_both_moments_equal_and_their_traces_least(seed: int) -> None:
    first, second = moments(seed), moments(seed + 50)
    forth, back = balanced(first, second)
    torch.testing.assert_close(forth @ back, torch.eye(6).double(), rtol=0, atol=1e-8)
    moved, other = forth.T @ first @ forth, back @ second @ back.T
    # a thousandth of the mean diagonal is added to both, so they are nearly equal
    torch.testing.assert_close(moved, other, rtol=0.02, atol=0.02 * float(moved.abs().max()))
    product = moved.trace() * other.trace()
    generator = torch.Generator().manual_seed(seed)
    for size in (0.01, 0.1, 1.0):
        for _ in range(50):
            rough = torch.randn(6, 6, generator=generator).double()
            tried = forth @ (torch.eye(6).double() + size * rough)
            undone = torch.linalg.inv(tried)
            cost = (tried.T @ first @ tried).trace() * (undone @ second @ undone.T).trace()
            assert cost >= product * 0.99
    identity = first.trace() * second.trace()
    assert product < identity


def test_balancing_a_zero_factor_stays_finite() -> None:
    zero = torch.zeros(4, 4)
    for pair in ((zero, moments(0, 4)), (moments(0, 4), zero), (zero, zero)):
        forth, back = balanced(*pair)
        assert torch.isfinite(forth).all()
        torch.testing.assert_close(forth @ back, torch.eye(4).double(), rtol=0, atol=1e-6)


def test_equalising_patches_makes_no_direction_stand_out() -> None:
    generator, size = torch.Generator().manual_seed(0), 48
    rows = torch.randn(400, size, generator=generator).cumsum(1).double()  # like neighbours
    weight = torch.randn(20, size, generator=generator).double()
    found = equalise(rows, weight, signs(size).double())
    moved, read = found(rows), found.weight(weight)
    torch.testing.assert_close(
        moved @ read.T, (rows - rows.mean(0)) @ weight.T, rtol=1e-4, atol=1e-3
    )

    def noise(x: Tensor, w: Tensor) -> float:
        """What a quantizer of x with steps in proportion to its range adds to x w^T."""
        return float((x - x.mean(0)).abs().max() ** 2 * w.square().sum())

    assert noise(moved, read) < 0.5 * noise(rows, weight)


def test_a_gain_is_never_too_small_to_divide_by() -> None:
    weight = torch.tensor([2.0, 0.0, -1.5, 1e-9, -1e-9])
    found = gain(weight, torch.ones(5))
    torch.testing.assert_close(found, torch.tensor([2.0, 2e-3, -1.5, 2e-3, -2e-3]))
    for readers in (torch.ones(5), torch.zeros(5)):
        assert torch.isfinite(1 / gain(torch.zeros(5), readers)).all()
        assert torch.isfinite(gain(weight, readers)).all()


def test_a_gain_that_its_readers_make_up_for_is_as_it_was() -> None:
    weight, readers = torch.randn(6), torch.rand(6) + 0.1
    weight[4], scale = 1e-6, torch.tensor([1.0, 1e6, 1.0, 1e-6, 1e4, 1.0])
    found = gain(weight * scale, readers / scale)
    torch.testing.assert_close(found, gain(weight, readers) * scale)


def test_what_is_balanced_does_not_depend_on_how_channels_were_shared_out() -> None:
    """x S and w S^-1 give the same x w^T, so they end the same but for a rotation."""
    x, w = torch.randn(200, 6).double(), torch.randn(9, 6).double()
    scale = torch.tensor([1.0, 1e4, 1.0, 1e-4, 3.0, 1.0]).double()

    def ends(x: Tensor, w: Tensor) -> Tensor:
        forth, back = balanced(x.T @ x / len(x), w.T @ w / len(w))
        moved, read = x @ forth, w @ back.T
        torch.testing.assert_close(moved @ read.T, x @ w.T)
        return torch.stack([moved @ moved.T, (read @ read.T)[:1, :1].expand(200, 200)])

    torch.testing.assert_close(ends(x * scale, w / scale), ends(x, w), rtol=1e-2, atol=1e-2)


class Block:
    """A pre-LN residual MLP: x + W2 gelu(W1 LN(x) + b1) + b2, float64."""

    def __init__(self, size: int, generator: torch.Generator) -> None:
        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator).double()

        self.gain, self.beta = draw(size) + 2, draw(size)
        self.first, self.second = (
            (draw(2 * size, size), draw(2 * size)),
            (
                draw(size, 2 * size),
                draw(size),
            ),
        )

    def read(self, stream: Tensor) -> Tensor:
        """The input of the layer that reads the stream."""
        return F.layer_norm(stream, stream.shape[-1:], self.gain, self.beta, 1e-6)

    def __call__(self, stream: Tensor) -> Tensor:
        hidden = F.gelu(F.linear(self.read(stream), *self.first))
        return stream + F.linear(hidden, *self.second)


def test_a_rotation_folds_into_the_weights_that_write_and_read_the_stream() -> None:
    generator, size = torch.Generator().manual_seed(0), 48
    blocks = [Block(size, generator) for _ in range(3)]
    stream = torch.randn(5, size, generator=generator).double()
    flips, h = signs(size).double(), whole(size)
    centre = torch.eye(size).double() - 1 / size
    turn = centre @ torch.diag(flips) @ h  # writers lose the mean, and are turned
    folded = stream @ turn
    for block in blocks:
        rotation = Rotation(flips / block.gain, torch.zeros(size).double())
        wanted = rotation(block.read(stream))
        # what is left of the LayerNorm has no mean to take off and no gain: it turns with x
        scaled = folded / (folded.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        read = scaled + rotation(block.beta)
        torch.testing.assert_close(read, wanted, rtol=1e-5, atol=1e-5)
        hidden = F.gelu(F.linear(read, rotation.weight(block.first[0]), block.first[1]))
        folded = folded + F.linear(hidden, turn.T @ block.second[0], block.second[1] @ turn)
        stream = block(stream)
        torch.testing.assert_close(folded, stream @ turn, rtol=1e-5, atol=1e-5)
    # the head reads through the transpose
    head = torch.randn(4, size, generator=generator).double()
    logits = F.linear(F.layer_norm(stream, (size,), eps=1e-6), head)
    scaled = folded / (folded.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    turned = head @ torch.diag(flips) @ h
    torch.testing.assert_close(F.linear(scaled, turned), logits, rtol=1e-5, atol=1e-5)
