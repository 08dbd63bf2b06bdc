"""The lesson's numbers, derived again with NumPy."""

import numpy as np
import pytest

from app.lesson import charts, levels
from app.lesson.levels import SHARES, WEIGHTS, best, sentence


@pytest.mark.parametrize("numbers", WEIGHTS.values(), ids=list(WEIGHTS))
@pytest.mark.parametrize("bits", [2, 3, 8])
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_every_number_goes_to_the_nearest_level(
    numbers: tuple[float, ...], bits: int, share: float
) -> None:
    found = levels.lesson(numbers, bits, share)
    assert len(found.levels) == 2**bits
    np.testing.assert_allclose(np.diff(found.levels), found.scale)
    assert found.levels[found.zero_point] == pytest.approx(0)
    values = np.array(numbers)
    distance = np.abs(values[:, None] - found.levels).min(1)
    np.testing.assert_allclose(np.abs(found.quantized - values), distance, atol=1e-12)
    assert found.total == pytest.approx((distance**2).mean())
    beyond = distance > found.scale / 2 * (1 + 1e-6)
    np.testing.assert_array_equal(found.clipped, beyond)
    assert found.clipping == pytest.approx((distance**2)[beyond].sum() / len(values))


@pytest.mark.parametrize("numbers", WEIGHTS.values(), ids=list(WEIGHTS))
def test_the_best_range_is_the_best_of_all(numbers: tuple[float, ...]) -> None:
    for bits in (2, 4):
        errors = {share: levels.lesson(numbers, bits, share).total for share in SHARES}
        assert errors[best(numbers, bits)] == min(errors.values())


def test_an_outlier_is_worth_clipping_at_few_bits_only() -> None:
    assert best(WEIGHTS["With an outlier"], 2) < best(WEIGHTS["With an outlier"], 8)


def test_the_sentence_says_what_the_numbers_say() -> None:
    numbers = WEIGHTS["Like a bell"]
    said = sentence(numbers, 2, 0.3)
    found = levels.lesson(numbers, 2, 0.3)
    assert "4 levels" in said
    assert f"{found.clipped.sum()} of {len(numbers)} numbers" in said
    assert f"{found.total**0.5:.4f}" in said
    assert "best range for these bits" in sentence(numbers, 3, best(numbers, 3))
    assert "one bit more" not in sentence(numbers, 8, 1.0)


def test_the_charts_hold_every_number_and_level() -> None:
    numbers = WEIGHTS["After GELU"]
    table = charts.line_table(levels.lesson(numbers, 3, 0.8))
    assert (table["kind"] == "number").sum() == len(numbers)
    assert (table["kind"] == "level").sum() == 8
    errors = charts.error_table(numbers, 3, 0.8)
    assert errors["here"].sum() == 3
    assert len(errors) == 3 * len(SHARES)
