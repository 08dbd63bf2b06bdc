"""Comparisons over draws against numpy's and scipy's statistics."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import sem

from quant.compare import FLOAT, Width, read_width, summarise, table
from quant.evaluation import Evaluation


def evaluation(top1: float, agreement: float, divergence: float) -> Evaluation:
    return Evaluation(100, top1, top1 - 0.05, top1 + 0.05, 0.95, agreement, divergence, 1.0)


def drawn(count: int) -> list[dict[str, Evaluation]]:
    chance = np.random.default_rng(3)
    return [
        {
            FLOAT: evaluation(0.8 + 0.02 * chance.random(), 1.0, 0.0),
            "bitlens W4A4": evaluation(0.7 + 0.1 * chance.random(), 0.9, chance.random()),
        }
        for _ in range(count)
    ]


def test_means_and_spreads_are_numpys() -> None:
    draws = drawn(5)
    found = summarise(draws)["bitlens W4A4"]
    top1 = np.array([d["bitlens W4A4"].top1 for d in draws])
    drops = np.array([d[FLOAT].top1 for d in draws]) - top1
    divergences = np.array([d["bitlens W4A4"].divergence for d in draws])
    assert found.top1 == pytest.approx(top1.mean())
    assert found.spread == pytest.approx(top1.std(ddof=1))
    assert found.drop == pytest.approx(drops.mean())
    assert found.drop_error == pytest.approx(sem(drops))
    assert found.divergence == pytest.approx(divergences.mean())
    assert found.divergence_spread == pytest.approx(divergences.std(ddof=1))
    assert found.agreement == pytest.approx(0.9)
    assert found.draws == 5
    assert summarise(draws)[FLOAT].drop == 0


def test_one_draw_has_no_spread() -> None:
    found = summarise(drawn(1))["bitlens W4A4"]
    assert (found.spread, found.drop_error, found.divergence_spread) == (0, 0, 0)


def test_the_table_has_a_row_a_configuration_in_points() -> None:
    draws = [{FLOAT: evaluation(0.8, 1, 0), "a W4A4": evaluation(0.752, 0.91, 0.1234)}]
    lines = table(summarise(draws)).splitlines()
    assert len(lines) == 4
    assert {line.count("|") for line in lines} == {9}
    assert lines[3] == "| a W4A4 | 75.2 | 0.0 | 4.8 | 0.0 | 91.0 | 0.123 | 0.000 |"


@pytest.mark.parametrize("text", ["W4A8", "w4a8"])
def test_a_width_is_read_as_it_is_written(text: str) -> None:
    assert read_width(text) == Width(4, 8)
    assert str(read_width(text)) == "W4A8"


@pytest.mark.parametrize("text", ["4", "W4", "W4A", "A4W4", "W4A4x", "", "W-4A4", "W4.5A4"])
def test_what_is_no_width_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no width: write weight and activation bits, as W4A8"):
        read_width(text)


@pytest.mark.parametrize("text", ["W9A4", "W4A1", "W0A4", "W16A16"])
def test_bits_we_have_not_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="use a whole number from 2 to 8"):
        read_width(text)
