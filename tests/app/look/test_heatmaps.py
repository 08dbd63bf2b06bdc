"""Maps as arrays: what is cut, what is scaled, what adds up."""

import numpy as np
import pytest

from app.look import heatmaps
from lrp.engine.layers import list_layers
from lrp.propagation.relevance import relevance
from lrp.propagation.trace import Trace
from tests import models


def test_a_map_is_scaled_by_its_strongest_value_of_either_sign() -> None:
    values = np.array([[-4.0, 2.0], [1.0, 0.0]])
    assert heatmaps.scaled(values).tolist() == [[-1, 0.5], [0.25, 0]]
    assert heatmaps.scaled(values, supporting=True).tolist() == [[0, 1], [0.5, 0]]
    assert heatmaps.scaled(-np.ones((2, 2)), supporting=True).tolist() == [[0, 0], [0, 0]]


def test_few_strong_pixels_saturate_and_few_strong_patches_do_not() -> None:
    for side, other in ((128, 1.0), (14, 0.001)):
        values = np.ones((side, side))
        values[0, 0] = 1000
        assert heatmaps.scaled(values)[5, 5] == pytest.approx(other)


def test_concentration_is_the_share_of_the_strongest_tenth() -> None:
    values = np.zeros((10, 10))
    values[0] = -5  # what speaks against does not count
    assert heatmaps.concentration(values) == 0
    values[1:3] = 1
    assert heatmaps.concentration(values) == pytest.approx(0.5)
    assert heatmaps.concentration(np.ones((10, 10))) == pytest.approx(0.1)


@pytest.mark.parametrize("family", list(models.SMALL))
def test_every_layers_detail_adds_up(family: str) -> None:
    model = models.build(family)
    trace = Trace(model, models.random_images(1))
    found = relevance(trace, 2)
    for layer in list_layers(model, models.SIZE):
        seen = heatmaps.detail(trace, found, layer)
        last = float(found.layers[layer.name][-1].sum())
        assert seen.tokens.sum() == pytest.approx(last, abs=1e-4)
        if seen.heads:
            assert sum(seen.heads) == pytest.approx(seen.place, abs=1e-5)
        if layer.role == "matmul2":
            first = float(found.layers[layer.name][0].sum())
            assert sum(h.sum() for h in seen.attention) == pytest.approx(first, abs=1e-4)
            assert len(seen.attention) == len(seen.heads)
        assert seen.unit == {"conv2d": "pixels"}.get(
            layer.kind, "channels" if layer.name.startswith("head") else "tokens"
        )


@pytest.mark.parametrize("family", list(models.SMALL))
def test_the_way_through_depth_starts_at_the_pixels(family: str) -> None:
    trace = Trace(models.build(family), models.random_images(1))
    maps = heatmaps.through_depth(trace, relevance(trace))
    assert list(maps) == ["pixels", *trace.blocks]
    assert maps["pixels"].shape == models.SIZE[1:]
