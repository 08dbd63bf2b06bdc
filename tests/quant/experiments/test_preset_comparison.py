"""Comparisons over draws: what is averaged, and how presets are written."""

import math

import numpy as np
import pytest

from assets.terminal import markdown
from quant.calibration.presets import CHOICES, DEFAULT, PRESETS, preset
from quant.evaluation.answers import Counts
from quant.experiments.preset_comparison import FLOAT, Comparison, cells, summarise


def counts(plain: float, top1: float, divergence: float) -> Counts:
    """What a configuration of some accuracy answers beside float, of 100 images."""
    right, float_right = round(100 * top1), round(100 * plain)
    return Counts(100, right, 100, float_right, right, 90, 100 * divergence)


def draws(tops: list[tuple[float, float]]) -> list[dict[str, Counts]]:
    return [{"x W4A4": counts(f, q, f - q)} for f, q in tops]


def test_a_drop_is_paired_within_each_draw() -> None:
    tops = [(0.80, 0.70), (0.76, 0.69), (0.79, 0.66)]
    found = summarise(draws(tops))["x W4A4"]
    lost = np.array([f - q for f, q in tops])
    assert found.drop == pytest.approx(lost.mean())
    assert found.drop_error == pytest.approx(lost.std(ddof=1) / math.sqrt(3))
    assert found.top1 == pytest.approx(np.mean([q for _, q in tops]))
    assert found.spread == pytest.approx(np.std([q for _, q in tops], ddof=1))
    assert found.divergence == pytest.approx(lost.mean())
    assert found.draws == 3


def test_one_draw_has_no_spread() -> None:
    found = summarise(draws([(0.8, 0.7)]))
    assert found["x W4A4"].spread == found["x W4A4"].drop_error == 0.0
    assert found[FLOAT].drop == 0.0


def test_the_table_has_a_row_a_configuration_in_points() -> None:
    found = {"x W4A4": Comparison(0.701, 0.012, 0.045, 0.003, 0.8, 0.271, 0.01, 5)}
    assert markdown(cells(found)).splitlines()[-1] == (
        "| x W4A4 | 70.1 | 1.2 | 4.5 | 0.3 | 80.0 | 0.271 | 0.010 |"
    )


def test_presets_are_varied_by_name() -> None:
    found = preset("bitlens:gelu=uniform,bias=off,ridge=0.1")
    assert (found.gelu, found.bias, found.ridge) == ("uniform", False, 0.1)
    assert found.name == "bitlens:gelu=uniform,bias=off,ridge=0.1"
    assert found.softmax == PRESETS["bitlens"].softmax
    assert found.key != PRESETS["bitlens"].key
    assert preset(DEFAULT) is not None
    assert preset("bitlens:ridge=off").key == PRESETS["bitlens"].key


def test_every_part_of_a_preset_can_be_varied_and_holds_one_of_its_choices() -> None:
    for known in PRESETS.values():
        parts = {k: v for k, v in vars(known).items() if k not in ("name", "says")}
        assert set(parts) == set(CHOICES)
        for field, value in parts.items():
            choices = CHOICES[field]
            if choices is not float:
                assert value in (choices.values() if isinstance(choices, dict) else choices)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere", "no preset 'nowhere': choose from bitlens"),
        ("bitlens:colour=red", "no 'colour': vary norm"),
        ("bitlens:gelu=red", "gelu=red: choose from uniform"),
        ("bitlens:bias=maybe", "bias=maybe: choose from on, off"),
        ("bitlens:clip=-1", "clip=-1: use a positive number"),
        ("bitlens:ridge=x", "ridge=x: use a positive number"),
    ],
)
def test_bad_variations_say_what_there_is(name: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        preset(name)
