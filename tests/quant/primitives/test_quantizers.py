"""Quantizers against their formulas, number by number, and what all of them must keep."""

import math

import pytest
import torch

from quant.primitives.qparams import QParams, choose_qparams
from quant.primitives.quantizer_search import codebooks, halves, logarithms
from quant.primitives.quantizers import (
    Codebook,
    Logarithmic,
    Quantizer,
    Scaled,
    Uniform,
    by_size,
    codebook,
)

WIDTHS = range(2, 9)


def sample(low: float = -0.17, count: int = 4000) -> torch.Tensor:
    x = torch.randn(count, generator=torch.Generator().manual_seed(4)) ** 3
    return x.clamp_min(low)


def every(bits: int) -> dict[str, Quantizer]:
    """One quantizer of each kind for `sample()`."""
    x = sample()
    low, high = float(x.min()), float(x.max())
    return {
        "uniform": Uniform(choose_qparams(x.min(), x.max(), bits)),
        "logarithmic": Logarithmic(high, 2**0.5, bits),
        "shifted": logarithms(low, high, bits)[5],
        "halves": halves(low, high, bits)[0],
        "codebook": codebooks(x, torch.ones_like(x), bits, low)[2],
    }


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("kind", ["uniform", "logarithmic", "shifted", "halves", "codebook"])
def test_few_values_in_order_and_the_same_again(kind: str, bits: int) -> None:
    quantizer, x = every(bits)[kind], sample().sort().values
    if kind == "logarithmic":  # for what is not negative
        x = x.abs().sort().values
    kept = x.clone()
    found = quantizer(x)
    assert torch.equal(x, kept)
    assert quantizer.bits == bits
    assert len(found.unique()) <= 2**bits
    assert (found.diff() >= 0).all()
    again = quantizer(found)
    torch.testing.assert_close(again, found, rtol=1e-5, atol=1e-6)
    assert quantizer(x.view(40, 100)).shape == (40, 100)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("base", [2**0.5, 2.0, 2 ** (10 / 37)])
@pytest.mark.parametrize("shift", [0.0, 0.17])
def test_logarithmic_is_the_formula_number_by_number(bits: int, base: float, shift: float) -> None:
    x = torch.tensor([0.0, 1e-30, 1e-6, 0.01, 0.2, 0.49, 0.5, 0.7, 0.8, 1.2]).double() - shift
    expected = []
    for value in x.tolist():
        value += shift
        q = max(round(-math.log(value / 0.8) / math.log(base)), 0) if value > 0 else math.inf
        expected.append((0.8 * base**-q if q < 2**bits - 1 else 0.0) - shift)
    found = Logarithmic(0.8, base, bits, shift)(x)
    torch.testing.assert_close(found, torch.tensor(expected).double())


@pytest.mark.parametrize("bits", WIDTHS)
def test_a_probability_of_zero_stays_zero(bits: int) -> None:
    x = torch.tensor([0.0, 1.0, 0.3, 0.0])
    for quantizer in (
        Logarithmic(1.0, 2**0.5, bits),
        *logarithms(0.0, 1.0, bits),
        *codebooks(x, torch.ones(4), bits, 0.0),
        Uniform(choose_qparams(torch.tensor(0.0), torch.tensor(0.4), bits)),
    ):
        found = quantizer(x)
        # AdaLog's largest base times 8 bits reaches below the least normal number
        assert found[[0, 3]].abs().max() < 1e-37
        assert torch.isfinite(found).all()


def test_logarithmic_keeps_float32_attention_of_every_size() -> None:
    scores = torch.randn(2, 3, 50, 50, generator=torch.Generator().manual_seed(0))
    attention = scores.mul(4).softmax(-1)
    found = Logarithmic(float(attention.max()), 2**0.5, 8)(attention)
    assert (found / attention).log2().abs().max() <= 0.2501  # half a step of sqrt 2


@pytest.mark.parametrize("bits", WIDTHS)
def test_codebook_levels_are_whole_steps_of_an_8_bit_grid(bits: int) -> None:
    x = sample()
    for book in codebooks(x, torch.ones_like(x), bits, float(x.min())):
        steps = book(x).double() / book.step + book.zero_point
        assert (steps - steps.round()).abs().max() < 1e-3
        assert steps.round().min() >= 0
        assert steps.round().max() <= 255
        assert 0 <= book.zero_point <= 255
        assert torch.equal(book.table, book.table.sort().values)
        assert len(book.table.unique()) <= 2**bits


def test_a_codebook_takes_the_nearest_level_of_the_cell() -> None:
    levels = torch.tensor([0.0, 3.0, 10.0, 60.0, 255.0])
    book = codebook(levels, 0.5, 4, 3)
    for cell in range(256):
        nearest = (levels - cell).abs()
        assert nearest[levels == book.table[cell]].item() == nearest.min()
    x = torch.linspace(-10, 140, 997)
    found = book(x)
    for value, got in zip(x.tolist(), found.tolist(), strict=True):
        cell = min(max(round(value / 0.5 + 4), 0), 255)
        assert got == (float(book.table[cell]) - 4) * 0.5


def test_a_uniform_quantizer_broadcasts_its_parameters() -> None:
    q = QParams(torch.tensor([0.1, 0.5]).view(2, 1, 1), torch.tensor([3.0, 8.0]).view(2, 1, 1), 4)
    x = torch.randn(5, 2, 7, 3, generator=torch.Generator().manual_seed(0))
    found = Uniform(q)(x)
    for head, (scale, zero) in enumerate(((0.1, 3), (0.5, 8))):
        codes = (x[:, head].double() / scale).round().add(zero).clamp(0, 15).sub(zero)
        torch.testing.assert_close(found[:, head].double(), codes * scale, rtol=1e-5, atol=1e-6)


def test_a_codebook_of_one_value_is_that_value() -> None:
    book = Codebook(torch.full((256,), 7.0), 1.0, 5, 2)
    assert book(torch.randn(9)).unique().tolist() == [2.0]


UNEVEN = codebook(torch.tensor([0.0, 30, 90, 160, 255]), 4 / 255, 100, 3)  # zero is no level


def tokens() -> torch.Tensor:
    """Rows (2, 40, 6) of very different sizes."""
    generator = torch.Generator().manual_seed(8)
    return torch.randn(2, 40, 6, generator=generator) * torch.logspace(-4, 4, 40)[:, None]


@pytest.mark.parametrize("levels", [UNEVEN, every(4)["uniform"]], ids=["codebook", "uniform"])
def test_each_row_has_the_levels_times_its_root_mean_square(levels: Quantizer) -> None:
    x, scaled = tokens(), Scaled(levels)
    sizes = torch.einsum("bnc,bnc->bn", x.double(), x.double()).div(6).sqrt()
    expected = levels((x.double() / sizes[..., None]).float()) * sizes[..., None]
    torch.testing.assert_close(scaled(x).double(), expected, rtol=1e-5, atol=0)
    assert scaled.bits == levels.bits


def test_a_row_three_times_as_large_becomes_three_times_as_much() -> None:
    x, kept, scaled = tokens(), tokens(), Scaled(UNEVEN)
    factors = torch.tensor([1.0, 4.0, 2.0**-20, 3.0]).repeat(10)[:, None]
    found, larger = scaled(x), scaled(x * factors)
    torch.testing.assert_close(larger, found * factors, rtol=1e-5, atol=0)
    assert torch.equal(x, kept)
    one = scaled(x[1, 7])
    assert torch.equal(one, found[1, 7])  # whatever else is in the batch


def test_rows_of_zeros_stay_so_and_the_smallest_and_largest_are_finite() -> None:
    scaled, x = Scaled(UNEVEN), tokens()[0, :5]
    for size, wanted in ((0.0, True), (1e-44, False), (1e30, False), (3e38, False)):
        found = scaled(x / x.abs().amax() * size)
        assert torch.isfinite(found).all()
        assert bool((found == 0).all()) == wanted or size == 1e-44
        rows, sizes = by_size(x / x.abs().amax() * size)
        assert rows.shape == x.shape and sizes.shape == (5, 1)
        assert torch.isfinite(rows).all()
