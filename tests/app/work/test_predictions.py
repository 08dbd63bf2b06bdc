"""What runs say of expected losses, whatever they were measured with."""

from types import SimpleNamespace

import numpy as np
import pytest

from app.work import predictions
from quant.allocation.objectives import Losses
from quant.evaluation.answers import Counts
from quant.evaluation.prediction import point, predict
from quant.primitives.bits import LayerBits
from quant.primitives.formats import read_width

LOSSES = Losses(("fc1",), (4, 8), np.array([[0.2, 0.01]]), np.array([[0.1, 0.02]]), "sensitivity")
COUNTS = Counts(100, 80, 95, 90, 79, 85, 21.0)


def run(bits: LayerBits | None, counts: Counts = COUNTS) -> SimpleNamespace:
    allocation = None if bits is None else {"fc1": bits}
    return SimpleNamespace(counts=counts, recipe=SimpleNamespace(allocation=allocation))


def test_each_run_of_bits_is_a_point_at_its_expected_loss() -> None:
    found = predictions.prediction_of([run(LayerBits(8, 4)), run(LayerBits(4, 4))], LOSSES)
    expected = predict([point(COUNTS, 0.3), point(COUNTS, 0.11)])
    assert found.runs == 2
    assert found.line == pytest.approx(expected.line)


def test_float_runs_never_right_and_widths_of_other_targets_say_nothing() -> None:
    """A run on NVIDIA's formats would else keep the page of integers from opening."""
    blocks = read_width("NVFP4")
    never = Counts(100, 3, 20, 0, 0, 5, 40.0)
    others = [run(None), run(LayerBits(blocks, blocks)), run(LayerBits(4, 4), never)]
    found = predictions.prediction_of(others, LOSSES)
    assert found.runs == 0
    assert np.isfinite(found.bands(np.array([0.1]), 0.9)).all()


def test_float_is_known_from_the_run_on_the_most_images() -> None:
    few = Counts(10, 9, 10, 9, 9, 9, 1.0)
    assert predictions.float_top1([run(None, few), run(None)]) == pytest.approx(0.9)
    assert predictions.float_top1([run(None, Counts(20, 3, 5, 5, 3, 5, 1.0))]) == 0.25
    assert predictions.float_top1([]) is None
