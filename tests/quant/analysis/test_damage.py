"""Damage shared out: against the quantized model, finite differences, and what must hold."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lrp.engine.interpreter import Interpreter, Linear
from lrp.engine.layers import list_layers
from lrp.engine.progress import Cancelled, Progress
from quant.analysis.damage import NEAR, damage
from quant.calibration.calibration import Calibration
from quant.calibration.presets import preset
from quant.model.quantized_model import QuantizedModel
from quant.primitives.bits import Allocation, LayerBits, uniform
from quant.primitives.formats import FLOAT
from tests.models import SIZE, SMALL, build, random_images


def every(calibration: Calibration, *widths: int) -> Allocation:
    return uniform(list_layers(calibration.model, SIZE), *widths)


def divergence(plain: Tensor, other: Tensor) -> float:
    p, q = (torch.softmax(logits.double(), 1) for logits in (plain, other))
    return float((p * (p / q).log()).sum(1).mean())


@pytest.mark.parametrize("family", SMALL)
@pytest.mark.parametrize("bits", [(4, 4), (2, 8), (3, 3)])
def test_parts_add_up_to_the_divergence_of_the_quantized_model(calibrated, family, bits):
    calibration, images = calibrated(family), random_images(5)
    allocation = every(calibration, *bits)
    found = damage(calibration, allocation, images)
    wanted = divergence(
        calibration.model(images), QuantizedModel(calibration, allocation).run(images)
    )
    assert found.images == 5
    assert found.measured == pytest.approx(wanted, rel=0.03)  # some value is rounded apart
    assert found.total == pytest.approx(found.measured, rel=NEAR)
    assert found.names == tuple(allocation)
    assert found.weight.shape == found.activation.shape == (len(allocation),)


class Moved(Interpreter):
    """The float model with the outputs that it is given moved by s_i d_i."""

    def __init__(self, calibration: Calibration, ways: dict[str, Tensor], shares: Any) -> None:
        self.surveyed = calibration.surveyed()
        super().__init__(self.surveyed.turned.model)
        self.ways, self.shares = ways, shares

    def given(self, name: str, output: Tensor) -> Tensor:
        return output + self.shares[name] * self.ways[name] if name in self.ways else output

    def weigh(self, name: str, form: Linear, input: Tensor, *affine: Any) -> Tensor:
        return self.given(name, form.apply(input, *self.surveyed.affine(name, *affine)))

    def multiply(self, name: str, input: Tensor, other: Tensor) -> Tensor:
        return self.given(name, input @ other)


class Ways(QuantizedModel):
    """Keeps how far each layer's output is from the float layer's on the same inputs."""

    def __init__(self, calibration: Calibration, allocation: Allocation) -> None:
        super().__init__(calibration, allocation)
        self.surveyed, self.found = calibration.surveyed(), dict[str, Tensor]()

    def weigh(self, name: str, form: Linear, input: Tensor, *affine: Any) -> Tensor:
        output = super().weigh(name, form, input, *affine)
        self.found[name] = output - form.apply(input, *self.surveyed.affine(name, *affine))
        return output

    def multiply(self, name: str, input: Tensor, other: Tensor) -> Tensor:
        output = super().multiply(name, input, other)
        self.found[name] = output - input @ other
        return output


@pytest.mark.parametrize("family", ["vit", "swin"])
def test_a_layers_part_is_the_derivative_by_finite_differences(calibrated, family):
    """At one point, t = 1/2: sum over x of dKL/dy_i . d_i = dKL/ds_i at s = 1/2."""
    calibration, images = calibrated(family), random_images(2)
    allocation = every(calibration, 3, 3)
    model = Ways(calibration, allocation)
    model.run(images)
    plain = calibration.surveyed().turned.model(images)
    found = damage(calibration, allocation, images, points=(1,))
    step = 0.02
    for row, name in enumerate(found.names):
        ends = []
        for sign in (-1, 1):
            shares = dict.fromkeys(model.found, 0.5) | {name: 0.5 + sign * step}
            ends.append(divergence(plain, Moved(calibration, model.found, shares).run(images)))
        expected = (ends[1] - ends[0]) / (2 * step)
        part = found.weight[row] + found.activation[row]
        assert part == pytest.approx(expected, rel=0.03, abs=1e-4), name


def test_moved_all_the_way_the_float_model_is_the_quantized_one(calibrated):
    calibration, images = calibrated("deit"), random_images(2)
    model = Ways(calibration, every(calibration, 4, 4))
    expected = model.run(images)
    moved = Moved(calibration, model.found, dict.fromkeys(model.found, 1.0)).run(images)
    torch.testing.assert_close(moved, expected, rtol=1e-3, atol=1e-4)


def test_a_side_that_stays_in_float_adds_nothing(calibrated):
    calibration = calibrated("vit")
    layers = list_layers(calibration.model, SIZE)
    weights = {la.name: LayerBits(3, FLOAT) for la in layers if not la.is_product}
    found = damage(calibration, weights)
    assert found.names == tuple(weights)
    assert np.abs(found.activation).max() < 1e-6
    assert found.weight.sum() == pytest.approx(found.measured, rel=NEAR)


def test_one_layer_alone_adds_all_of_it(calibrated):
    calibration = calibrated("vit")
    one = {"blocks.1.mlp.fc1": LayerBits(2, 3)}
    found = damage(calibration, one)
    expected = divergence(
        calibration.model(random_images()), QuantizedModel(calibration, one).run(random_images())
    )
    assert found.measured == pytest.approx(expected, rel=1e-2)
    assert found.weight[0] + found.activation[0] == pytest.approx(expected, rel=0.03)
    assert (found.weight > 0).all()
    assert (found.activation > 0).all()


def test_integer_sums_and_norms_are_parts_too(tmp_path):
    calibration = Calibration(build("vit"), random_images(), preset("integer:stream=8"), tmp_path)
    found = damage(calibration, every(calibration, 8, 8))
    assert {"add1", "blocks.0.norm1", "blocks.1.add2", "norm"} <= set(found.names)
    assert found.total == pytest.approx(found.measured, rel=NEAR)


@pytest.mark.parametrize("images", [torch.zeros(1, *SIZE), torch.ones(3, *SIZE)])
def test_one_image_and_images_all_alike(calibrated, images):
    found = damage(calibrated("vit"), every(calibrated("vit"), 4, 4), images)
    assert np.isfinite([found.total, found.measured]).all()
    assert found.total == pytest.approx(found.measured, rel=NEAR, abs=1e-6)


def test_an_answer_that_is_not_finite_is_refused(calibrated):
    calibration = calibrated("vit")
    with pytest.raises(ValueError, match="divergence from float is not finite"):
        damage(calibration, every(calibration, 4, 4), random_images(2) * 1e30)


def test_nothing_quantized_is_refused(calibrated):
    calibration = calibrated("vit")
    with pytest.raises(ValueError, match="quantizes no layer"):
        damage(calibration, {})
    with pytest.raises(ValueError, match="no layer 'nowhere'"):
        damage(calibration, {"nowhere": LayerBits(4, 4)})


def test_it_can_be_stopped_and_tells_how_far_it_is(calibrated):
    calibration, reports = calibrated("vit"), []
    damage(
        calibration,
        every(calibration, 4, 4),
        random_images(5),
        Progress(lambda *t: reports.append(t[:2])),
    )
    assert reports[-1] == (5, 5)
    with pytest.raises(Cancelled):
        damage(calibration, every(calibration, 4, 4), progress=Progress(stopped=lambda: True))
