"""Forms of layers: rows and back, against torch's own layers and against loops."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lrp.engine.interpreter import Convolution, Interpreter, Linear, UnsupportedOperation
from tests.models import build, random_images

FORMS = [
    Convolution((4, 4), 4),
    Convolution((3, 2), (2, 1), (1, 0)),
    Convolution((3, 3), 1, "same"),
    Convolution((2, 2), 2, "valid", (2, 1)),
]


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.mark.parametrize("form", FORMS)
def test_a_convolution_by_rows_is_the_convolution(form):
    images, weight, bias = drawn(2, 3, 12, 10), drawn(5, 3, *form.kernel), drawn(5)
    steps = form.stride, form.padding, form.dilation
    wanted = F.conv2d(images, weight, bias, *steps)
    rows = weight.flatten(1)
    torch.testing.assert_close(form.apply(images, weight, bias), wanted)
    torch.testing.assert_close(form.apply(images, rows, bias), wanted)
    found = form.by_rows(lambda x: torch.einsum("blc,kc->blk", x, rows) + bias, images)
    torch.testing.assert_close(found, wanted)


def test_rows_are_the_patches_in_reading_order():
    form, images = Convolution((4, 5), (4, 5)), drawn(2, 3, 8, 10)
    found = form.rows(images)
    for image, (number, (row, column)) in itertools.product(
        range(2), enumerate(itertools.product(range(2), range(2)))
    ):
        patch = images[image, :, 4 * row : 4 * row + 4, 5 * column : 5 * column + 5]
        assert torch.equal(found[image, number], patch.flatten())


def test_a_linear_layers_rows_are_its_input():
    form, x, layer = Linear(), drawn(2, 7, 3), nn.Linear(3, 4).double()
    torch.testing.assert_close(form.apply(x, layer.weight, layer.bias), layer(x))
    assert form.rows(x) is x
    torch.testing.assert_close(form.by_rows(layer, x), layer(x))


def test_groups_are_applied_but_have_no_rows():
    form, images, weight = Convolution((3, 3), 1, 1, 1, 3), drawn(1, 3, 6, 6), drawn(6, 1, 3, 3)
    wanted = torch.cat([F.conv2d(images[:, [c]], weight[2 * c : 2 * c + 2]) for c in range(3)], 1)
    torch.testing.assert_close(form.apply(images, weight)[..., 1:-1, 1:-1], wanted)
    with pytest.raises(UnsupportedOperation, match="in 3 groups"):
        form.rows(images)


class Without(Interpreter):
    """The example of the interpreter's docstring."""

    def weigh(self, name, form, input, weight, bias):
        output = super().weigh(name, form, input, weight, bias)
        return output * 0 if name == "blocks.1.mlp.fc2" else output


def test_an_interpreter_that_overrides_one_method_changes_one_layer():
    model = build("vit")
    found = Without(model).run(random_images())
    model.blocks[1].mlp.fc2.weight.zero_()
    model.blocks[1].mlp.fc2.bias.zero_()
    torch.testing.assert_close(found, model(random_images()))
