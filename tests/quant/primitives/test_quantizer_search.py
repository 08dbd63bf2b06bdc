"""Searches against brute force over everything they could have chosen."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from quant.primitives.qparams import QParams, choose_qparams
from quant.primitives.quantizer_search import (
    cluster,
    codebooks,
    fit_percentile,
    halves,
    least,
    logarithms,
    percentiles,
    search_range,
)
from quant.primitives.quantizers import Quantizer, Uniform


def heavy(rows: int, count: int, seed: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    scales = torch.linspace(0.2, 20, rows)[:, None]
    return torch.randn(rows, count, generator=generator) ** 3 * scales


def placed(mass: np.ndarray, levels: tuple[int, ...]) -> float:
    """The weighted squared error of levels, each cell at its nearest."""
    return sum(m * min((i - level) ** 2 for level in levels) for i, m in enumerate(mass))


def best_clusters(mass: np.ndarray, count: int) -> tuple[float, float]:
    """The least error of all cuts into clusters, and what it is with whole means."""
    found = []
    for cuts in itertools.combinations(range(1, len(mass)), count - 1):
        free = whole = 0.0
        for a, b in itertools.pairwise((0, *cuts, len(mass))):
            weights, places = mass[a:b], np.arange(a, b)
            if weights.sum() > 0:
                mean = (weights * places).sum() / weights.sum()
                free += (weights * (places - mean) ** 2).sum()
                whole += (weights * (places - round(mean)) ** 2).sum()
        found.append((free, whole))
    return min(found)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("count", [2, 3, 4])
def test_cluster_is_the_best_of_all_cuts_and_placements(seed: int, count: int) -> None:
    chance = np.random.default_rng(seed)
    mass = chance.random(12) ** 4
    mass[chance.random(12) < 0.3] = 0
    found = cluster(mass, count)
    levels = tuple(int(level) for level in found)
    assert found.tolist() == sorted(levels)
    assert len(levels) == count
    free, whole = best_clusters(mass, count)
    assert placed(mass, levels) <= whole + 1e-9
    # whole levels cannot beat free means, and lose to the best whole ones only by the rounding
    best = min(placed(mass, c) for c in itertools.combinations(range(12), count))
    assert free - 1e-9 <= best <= placed(mass, levels) + 1e-9


def test_cluster_of_whole_means_is_exact() -> None:
    mass = np.zeros(256)
    mass[[0, 10, 20, 100, 110, 255]] = [1, 5, 1, 3, 3, 2]
    assert cluster(mass, 3).tolist() == [10, 105, 255]
    assert set(cluster(mass, 6)) == {0, 10, 20, 100, 110, 255}


@pytest.mark.parametrize("mass", [np.zeros(256), np.eye(256)[0], np.eye(256)[255]])
@pytest.mark.parametrize("count", [4, 256])
def test_cluster_of_nothing_or_one_cell_is_defined(mass: np.ndarray, count: int) -> None:
    levels = cluster(mass, count)
    assert len(levels) == count
    assert (np.diff(levels) >= 0).all()
    assert placed(mass, tuple(levels)) == 0


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_searched_range_is_never_worse_than_its_start_and_groups_are_apart(bits: int) -> None:
    x = heavy(3, 5000)

    def loss(q: Quantizer) -> Tensor:
        return (q(x) - x).square().sum(1, keepdim=True)

    low, high = x.amin(1, keepdim=True), x.amax(1, keepdim=True)
    found = search_range(low, high, bits, loss)
    assert (loss(Uniform(found)) <= loss(Uniform(choose_qparams(low, high, bits)))).all()
    for row in range(3):
        one = x[row]
        alone = search_range(
            one.min(), one.max(), bits, lambda q, one=one: (q(one) - one).square().sum()
        )
        torch.testing.assert_close(found.scale[row, 0], alone.scale)
        torch.testing.assert_close(found.zero_point[row, 0], alone.zero_point)


@pytest.mark.parametrize("bits", [3, 4])
def test_a_searched_range_is_near_the_best_of_a_fine_grid(bits: int) -> None:
    x = heavy(1, 3000)[0].abs()

    def loss(q: Quantizer) -> Tensor:
        return (q(x) - x).square().sum()

    found = loss(Uniform(search_range(x.min(), x.max(), bits, loss)))
    grid = [choose_qparams(x.min() * 0, x.max() * f, bits) for f in np.linspace(0.02, 1.1, 217)]
    assert found <= 1.1 * min(loss(Uniform(q)) for q in grid)


def test_percentiles_are_order_statistics() -> None:
    x = torch.randperm(1001, generator=torch.Generator().manual_seed(0)).float()
    low, high = percentiles(torch.stack([x, -x]), 0.99)
    assert low.tolist() == [10, -990]
    assert high.tolist() == [990, -10]
    assert [float(t) for t in percentiles(x, 1.0)] == [0, 1000]


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_percentile_ranges_are_chosen_row_by_row(bits: int) -> None:
    x = heavy(4, 20_000)
    found = fit_percentile(x, bits)
    for row in range(4):
        one, errors = x[row].sort().values, {}
        for cut in (20, 2, 0):  # 0.999, 0.9999 and 0.99999 or all of 20,000
            q = choose_qparams(one[cut], one[-1 - cut], bits)
            errors[float(q.scale)] = float((Uniform(q)(one) - one).square().sum())
        chosen = QParams(found.scale[row], found.zero_point[row], bits)
        got = float((Uniform(chosen)(one) - one).square().sum())
        assert got == pytest.approx(min(errors.values()), rel=1e-5)


def test_an_outlier_is_cut_when_that_pays_and_kept_in_a_small_sample() -> None:
    x = torch.cat([torch.linspace(-1, 1, 20_000), torch.tensor([40.0])])
    found = fit_percentile(x[None], 4)
    top = (15 - float(found.zero_point)) * float(found.scale)
    assert top < 2
    few = torch.tensor([[-1.0, 0.0, 1.0]])
    q = fit_percentile(few, 8)
    kept = Uniform(QParams(q.scale[0], q.zero_point[0], 8))(few)
    torch.testing.assert_close(kept, few, rtol=0, atol=0.01)


@pytest.mark.parametrize("bits", range(2, 9))
def test_halves_are_two_uniform_ranges_in_whole_multiples(bits: int) -> None:
    low, high = -0.17, 6.3
    found = halves(low, high, bits)
    assert found
    for book in found:
        values = ((book.table.unique() - book.zero_point) * book.step).double()
        assert len(values) <= 2**bits
        assert (values.abs() < 1e-9).any()
        below, above = values[values <= 0], values[values >= 0]
        assert float(values.min()) == pytest.approx(low, rel=1e-5)
        torch.testing.assert_close(
            below.diff(), torch.full_like(below.diff(), book.step), rtol=1e-4, atol=1e-7
        )
        steps = above.diff() / book.step
        assert (steps - steps.round()).abs().max() < 1e-3
        # up to the 8-bit grid's end
        inner = steps.round()
        assert (inner == inner[0]).all()


def test_logarithms_have_adalogs_bases() -> None:
    found = logarithms(-0.17, 4.0, 4)
    exponents = [37 * np.log2(q.base) for q in found]
    assert min(exponents) == pytest.approx(10)
    assert 130 < max(exponents) <= 138.001
    assert all(e == pytest.approx(round(e)) for e in exponents)
    assert {q.shift for q in found} == {0.17}
    assert max(q.scale for q in found) == pytest.approx(4.17)


def test_the_least_loss_wins_and_the_first_among_equals() -> None:
    x = heavy(1, 500)[0]
    books = codebooks(x, torch.ones_like(x), 3, float(x.min()))
    errors = [float((b(x) - x).square().sum()) for b in books]
    found = least(books, lambda b: (b(x) - x).square().sum())
    assert float((found(x) - x).square().sum()) == min(errors)
    assert least(books, lambda b: torch.zeros(())) is books[0]


def test_a_codebook_beats_the_uniform_range_on_the_same_data() -> None:
    x = heavy(1, 4000)[0].clamp_min(-0.17)
    book = least(codebooks(x, torch.ones_like(x), 4, -0.17), lambda q: (q(x) - x).square().sum())

    def loss(q: Quantizer) -> Tensor:
        return (q(x) - x).square().sum()

    assert loss(book) < loss(Uniform(search_range(x.min(), x.max(), 4, loss)))


def test_no_codebook_is_listed_for_a_sample_without_width() -> None:
    assert codebooks(torch.zeros(10), torch.ones(10), 4, 0.0) == []
