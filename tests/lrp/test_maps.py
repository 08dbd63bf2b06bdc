import pytest
import torch

from lrp.layers import list_layers
from lrp.maps import (
    _from_windows,
    block_map,
    default_block,
    grid_size,
    layer_map,
    pixel_map,
)
from lrp.relevance import relevance
from lrp.trace import Trace
from tests.models import SIZE, build


@pytest.mark.parametrize("side", [16, 14])  # 14 is padded to 16
def test_windows_are_put_back_where_timm_took_them_from(side):
    block = build("swin").layers[0].blocks[1]
    assert any(block.shift_size)
    block.dynamic_mask = True  # lets timm take a side that is padded
    seen = []
    block.attn.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    numbered = torch.arange(2.0 * side * side).reshape(2, side, side, 1)
    block._attn(numbered.expand(-1, -1, -1, 16).contiguous())
    tokens = seen[0][..., 0]  # (2 * windows, 16)
    grid = _from_windows(block, tokens, torch.Size((2, side, side, 16)))
    assert torch.equal(grid, numbered[..., 0])


def test_every_map_keeps_the_sum_of_its_layers_tokens(model, images):
    trace = Trace(model, images)
    found = relevance(trace, 0)
    prefix = getattr(model, "num_prefix_tokens", 0)
    for layer in list_layers(model, SIZE):
        grid = layer_map(trace, found, layer)
        if layer.role in ("head", "fc", "head_dist"):
            assert grid is None
        elif layer.role in ("qkv", "fc1", "fc2", "proj") and layer.kind == "linear":
            tokens = found.layers[layer.name][0].sum(-1).reshape(3, -1)
            torch.testing.assert_close(grid.flatten(1).sum(1), tokens[:, prefix:].sum(1))


def test_block_maps_have_one_value_a_patch(model, images):
    trace = Trace(model, images)
    found = relevance(trace, 0)
    assert block_map(trace, found, next(iter(trace.blocks))).shape == (3, *grid_size(trace))
    assert default_block(trace) == list(trace.blocks)[1]
    assert pixel_map(found).shape == (3, 32, 32)


def test_relevance_of_a_bright_square_lies_on_it():
    """A patch that alone differs from a constant image alone changes the tokens it makes."""
    model = build("vit")
    images = torch.zeros(1, *SIZE)
    images[..., 8:16, 16:24] = 3
    found = relevance(Trace(model, images), 0)
    outside = pixel_map(found).clone()
    outside[..., 8:16, 16:24] = 0
    assert pixel_map(found).abs().sum() > 0
    assert outside.abs().max() == 0
