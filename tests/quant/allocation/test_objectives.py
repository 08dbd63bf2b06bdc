"""Objectives: what each width of each layer costs, and the controls they are compared with."""

import math

import numpy as np
import pytest

from quant.allocation.objectives import (
    CONTROLS,
    OBJECTIVES,
    Losses,
    by_product,
    by_scores,
    by_sensitivity,
    random_losses,
    reversed_losses,
)
from quant.analysis.sensitivity import Sensitivity
from quant.primitives.bits import MENU, LayerBits

NAMES = ("stem", "a", "b", "c", "head")
SCORES = {"head": 0.5, "a": 0.1, "b": 0.0, "stem": 0.3, "c": 0.1}  # not in the layers' order


def made_up(widths: tuple[int, ...] = MENU, seed: int = 0) -> Sensitivity:
    """Sensitivities that fall with the width, each side in a way of its own."""
    drawn = np.random.default_rng(seed).random((2, len(NAMES), len(widths)))
    weight, activation = np.sort(drawn, axis=2)[:, :, ::-1]
    return Sensitivity(NAMES, widths, weight, activation, "measured", 4)


def losses_of_rows(*rows: float) -> Losses:
    """Losses whose rows cost that much on average: a fourth by the weights."""
    column = np.array(rows)[:, None]
    falling = np.array([1.5, 0.5])
    names = tuple(f"layer{index}" for index in range(len(rows)))
    return Losses(names, (4, 8), column * falling / 4, column * falling * 3 / 4, "lrp")


def test_the_loss_of_an_allocation_is_the_sum_over_its_layers_and_their_sides():
    sensitivity = made_up((2, 5, 6))
    losses = by_sensitivity(sensitivity)
    rng = np.random.default_rng(1)
    for _ in range(10):
        allocation = {n: LayerBits(*rng.choice([2, 5, 6], 2).tolist()) for n in NAMES[::-1]}
        expected = 0.0
        for layer, row in zip(NAMES, range(5), strict=True):
            for column, width in enumerate((2, 5, 6)):
                if allocation[layer].weight == width:
                    expected += sensitivity.weight[row][column]
                if allocation[layer].activation == width:
                    expected += sensitivity.activation[row][column]
        assert losses.of(allocation) == pytest.approx(expected)


def test_a_width_that_was_not_asked_of_layers_has_no_loss():
    losses = by_sensitivity(made_up((2, 5)))
    with pytest.raises(ValueError, match=r"no losses at 4 bits: the widths are 2, 5"):
        losses.of({name: LayerBits(2, 4) for name in NAMES})


def test_scores_weigh_four_to_the_minus_bits():
    losses = by_scores(SCORES)
    assert (losses.names, losses.widths, losses.objective) == (tuple(SCORES), MENU, "lrp")
    for row, (name, score) in enumerate(SCORES.items()):
        for column, bits in enumerate(MENU):
            expected = score / 4**bits
            assert losses.weight[row, column] == pytest.approx(expected)
            assert losses.activation[row, column] == pytest.approx(expected)
            found = losses.of(dict.fromkeys(SCORES, LayerBits(8, 8)) | {name: LayerBits(bits, 8)})
            rest = 2 * sum(SCORES.values()) / 4**8 - score / 4**8
            assert found == pytest.approx(expected + rest)


def test_sensitivities_of_layers_with_none_of_their_kind_are_taken_as_they_are():
    sensitivity = made_up()
    losses = by_sensitivity(sensitivity)
    assert (losses.names, losses.widths) == (NAMES, MENU)
    assert losses.objective == "sensitivity"
    assert np.allclose(losses.weight, sensitivity.weight, rtol=1e-12)
    assert np.allclose(losses.activation, sensitivity.activation, rtol=1e-12)


KINDS = {
    "blocks.0.attn.qkv": "qkv",
    "blocks.11.attn.qkv": "qkv",
    "layers.1.blocks.0.attn.qkv": "qkv",
    "blocks.0.attn.matmul1": "matmul1",
    "blocks.0.mlp.fc1": "fc1",
    "blocks.5.mlp.fc1": "fc1",
    "head": "head",
    "patch_embed.proj": "patches",
    "blocks.0.attn.proj": "proj",
}


def test_losses_lie_half_way_in_size_to_the_mean_of_their_kind():
    """The square root of a loss times the mean over layers of its kind."""
    drawn = np.random.default_rng(0).random((2, len(KINDS), 3)) * 10.0 ** -np.arange(3)
    given = Sensitivity(tuple(KINDS), (3, 5, 8), drawn[0], drawn[1], "estimated", 4)
    losses = by_sensitivity(given)
    for side in ("weight", "activation"):
        before, after = getattr(given, side), getattr(losses, side)
        for row, name in enumerate(KINDS):
            alike = [before[i] for i, other in enumerate(KINDS) if KINDS[other] == KINDS[name]]
            for column in range(3):
                mean = sum(one[column] for one in alike) / len(alike)
                expected = math.sqrt(before[row, column] * mean)
                assert after[row, column] == pytest.approx(expected)


def test_losses_of_nothing_stay_nothing_and_finite():
    weight = np.array([[0.4, 0.0], [0.2, 0.0], [0.1, 0.0]])
    given = Sensitivity(("0.fc", "1.fc", "head"), (3, 8), weight, weight * 0, "measured", 4)
    losses = by_sensitivity(given)
    assert np.all(losses.weight[:, 0] > 0.09)
    assert losses.weight[:, 1].max() < 1e-300
    assert losses.activation.max() < 1e-300


def test_a_products_factors_are_the_layers_own_and_average_one():
    sensitivity = made_up()
    losses = by_product(sensitivity, SCORES)
    assert losses.objective == "lrp-x-sensitivity"
    factors = losses.weight / sensitivity.weight
    assert np.allclose(factors, losses.activation / sensitivity.activation)
    assert factors.mean() == pytest.approx(1)
    for row, name in enumerate(NAMES):
        assert factors[row] == pytest.approx(5 * SCORES[name] / sum(SCORES.values()))


def test_a_product_does_not_depend_on_the_scores_unit_nor_on_scores_that_are_all_alike():
    sensitivity = made_up()
    one, other = (by_product(sensitivity, {n: k * s for n, s in SCORES.items()}) for k in (1, 300))
    assert np.allclose(one.weight, other.weight)
    alike = by_product(sensitivity, dict.fromkeys(NAMES, 0.02))
    assert np.allclose(alike.weight, sensitivity.weight)
    assert np.allclose(alike.activation, sensitivity.activation)


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf, -math.inf])
def test_bad_scores_are_refused_and_their_layer_is_named(bad):
    with pytest.raises(ValueError, match="no usable score for 'c'"):
        by_scores(SCORES | {"c": bad})
    with pytest.raises(ValueError, match="no usable score for 'c'"):
        by_product(made_up(), SCORES | {"c": bad})


def test_a_product_wants_a_score_of_each_layer_and_not_only_zeros():
    missing = {name: score for name, score in SCORES.items() if name != "stem"}
    with pytest.raises(ValueError, match="no usable score for 'stem'"):
        by_product(made_up(), missing)
    with pytest.raises(ValueError, match="all scores are 0"):
        by_product(made_up(), dict.fromkeys(NAMES, 0.0))
    assert not by_scores(dict.fromkeys(NAMES, 0.0)).weight.any()  # here they only say nothing


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_reversed_losses_are_each_others_rows_with_ranks_turned_round(count):
    losses = losses_of_rows(*np.random.default_rng(count).permutation(count) + 1.0)
    found = reversed_losses(losses)
    assert (found.names, found.widths) == (losses.names, losses.widths)
    assert found.objective == "reversed"
    for side in ("weight", "activation"):
        before, after = getattr(losses, side).tolist(), getattr(found, side).tolist()
        assert sorted(before) == sorted(after)  # a permutation of whole rows
    before = (losses.weight + losses.activation).mean(1)
    after = (found.weight + found.activation).mean(1)
    assert before + after == pytest.approx(np.full(count, count + 1.0))  # ranks were 1 to count
    # both sides came from the same layer
    assert found.activation == pytest.approx(3 * found.weight)


def test_reversed_twice_they_are_as_before():
    losses = losses_of_rows(2, 1, 4, 3)
    twice = reversed_losses(reversed_losses(losses))
    assert np.array_equal(twice.weight, losses.weight)
    assert np.array_equal(twice.activation, losses.activation)
    assert np.array_equal(losses.weight, losses_of_rows(2, 1, 4, 3).weight)  # left as it was


def test_random_losses_are_by_seed():
    one, again, other = (random_losses(NAMES, seed) for seed in (3, 3, 4))
    assert (one.names, one.widths, one.objective) == (NAMES, MENU, "random-3")
    assert other.objective == "random-4"
    assert np.array_equal(one.weight, again.weight)
    assert np.array_equal(one.weight, one.activation)
    assert not np.allclose(one.weight, other.weight)
    scores = one.weight[:, 0] * 16
    assert np.allclose(one.weight, scores[:, None] * 0.25 ** np.arange(2, 9))
    assert scores.min() >= 0 and scores.max() <= 1 and len(set(scores.tolist())) == len(NAMES)


def test_random_scores_favour_no_layer():
    drawn = np.array([random_losses(NAMES, seed).weight[:, 0] * 16 for seed in range(400)])
    error = math.sqrt(1 / 12 / 400)
    assert np.abs(drawn.mean(0) - 0.5).max() < 4 * error
    first = np.bincount(drawn.argmax(1), minlength=5)
    assert first.min() > 80 - 4 * math.sqrt(400 * 0.2 * 0.8)


def test_objectives_and_controls_are_known_by_their_names():
    assert OBJECTIVES == ("sensitivity", "lrp-x-sensitivity", "lrp")
    assert CONTROLS == ("uniform", "reversed", "random")
