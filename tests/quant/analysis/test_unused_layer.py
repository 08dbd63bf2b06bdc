"""A layer whose output nothing reads: it loses nothing, and nothing that is asked of it fails."""

import pytest
import torch
from torch import Tensor, nn

from lrp.engine.layers import list_layers
from lrp.propagation.trace import Trace
from quant.allocation.budget import from_average, offer
from quant.allocation.exact import exact
from quant.allocation.objectives import by_sensitivity
from quant.analysis.damage import damage
from quant.analysis.sensitivity_estimation import estimate, measure
from quant.analysis.widths import PLAIN
from quant.calibration.calibration import Calibration
from quant.calibration.presets import preset
from quant.model.quantized_model import QuantizedModel
from quant.primitives.bits import uniform
from tests.models import SIZE, build, random_images

UNUSED = "norm.beside"
WIDTHS = {width: PLAIN[width] for width in (3, 4, 8)}


class Beside(nn.Module):
    """A norm that also runs a layer for nothing."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.norm, self.beside = norm, nn.Linear(norm.normalized_shape[0], 5)

    def forward(self, x: Tensor) -> Tensor:
        self.beside(x)
        given: Tensor = self.norm(x)
        return given


@pytest.fixture(scope="module")
def model() -> nn.Module:
    made = build("vit")
    made.norm = Beside(made.norm)
    return made.requires_grad_(False)


@pytest.fixture(scope="module")
def calibration(model: nn.Module) -> Calibration:
    return Calibration(model, random_images(4), preset("bitlens:views=0"))


@pytest.mark.parametrize("find", [estimate, measure])
def test_it_loses_nothing_and_gets_the_fewest_bits(model, calibration, find):
    found = find(calibration, widths=WIDTHS)
    place = found.names.index(UNUSED)
    assert not found.weight[place].any() and not found.activation[place].any()
    assert found.weight[found.names.index("head")].all()
    layers = list_layers(model, SIZE)
    choices, limits = offer(layers, tuple(WIDTHS), tied=False), from_average(layers, 4)
    bits = exact(choices, by_sensitivity(found), limits).allocation[UNUSED]
    assert (bits.weight, bits.activation) == (3, 3)


def test_it_adds_no_damage(model, calibration):
    found = damage(calibration, uniform(list_layers(model, SIZE), 4, 4))
    place = found.names.index(UNUSED)
    assert found.weight[place] == found.activation[place] == 0
    assert found.total == pytest.approx(found.measured, rel=0.02)


def test_it_is_traced_and_learned_beside(model):
    assert UNUSED in Trace(model, random_images(1)).layers
    tuned = Calibration(model, random_images(4), preset("bitlens-tuned:tuned=50,views=0"))
    allocation = uniform(list_layers(model, SIZE), 4, 4)
    assert torch.isfinite(QuantizedModel(tuned, allocation).run(random_images(2))).all()
