"""Likeness of two maps, by sorting and by counting."""

from itertools import combinations

import pytest
import torch
from torch import Tensor

from lrp.metrics.similarity import chance_overlap, likeness


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def ranks(values: Tensor) -> list[int]:
    ordered = sorted(values.flatten().tolist())
    return [ordered.index(v) + 1 for v in values.flatten().tolist()]


@pytest.mark.parametrize("seed", range(3))
def test_rank_is_one_minus_the_squared_differences_of_places(seed: int) -> None:
    first, noise = drawn(seed, 6, 7), drawn(seed + 10, 6, 7)
    second, n = first + noise, 42
    apart = sum((a - b) ** 2 for a, b in zip(ranks(first), ranks(second), strict=True))
    assert likeness(first, second).rank == pytest.approx(1 - 6 * apart / (n * (n**2 - 1)))


@pytest.mark.parametrize("seed", range(3))
def test_overlap_counts_the_strongest_places_of_both_and_of_either(seed: int) -> None:
    first, second = drawn(seed, 8, 8), drawn(seed, 8, 8) + drawn(seed + 10, 8, 8)
    top = [set(sorted(values.flatten().tolist())[-6:]) for values in (first, second)]
    places = [
        {i for i, value in enumerate(values.flatten().tolist()) if value in strongest}
        for values, strongest in zip((first, second), top, strict=True)
    ]
    expected = len(places[0] & places[1]) / len(places[0] | places[1])
    assert likeness(first, second).overlap == pytest.approx(expected)


def test_a_map_is_like_itself_whatever_its_scale_and_unlike_its_opposite() -> None:
    first = drawn(0, 5, 8)
    same, opposite = likeness(first, 3 * first + 1), likeness(first, -first)
    assert (same.rank, same.overlap) == (1.0, 1.0)
    assert (opposite.rank, opposite.overlap) == (pytest.approx(-1.0), 0.0)


def test_a_constant_map_ranks_nothing() -> None:
    assert likeness(drawn(0, 4, 4), torch.ones(4, 4)).rank == 0.0


def test_maps_read_at_different_depths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(8, 8\) and \(32, 32\) places"):
        likeness(drawn(0, 8, 8), drawn(0, 32, 32))


@pytest.mark.parametrize("places", [4, 20, 25])
def test_the_overlap_by_chance_is_the_mean_over_all_draws(places: int) -> None:
    k = max(1, round(0.1 * places))
    one = set(range(k))
    found = [
        len(one & set(other)) / len(one | set(other)) for other in combinations(range(places), k)
    ]
    assert chance_overlap(places) == pytest.approx(sum(found) / len(found))
