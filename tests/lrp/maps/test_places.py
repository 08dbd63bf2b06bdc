import re
from dataclasses import replace

import pytest
import timm
import torch
from timm.models.swin_transformer import window_partition

from lrp.engine.layers import list_layers
from lrp.maps.heatmap import PIXELS, heatmap
from lrp.maps.places import (
    _from_windows,
    attention_relevance,
    block_map,
    grid_size,
    head_maps,
    layer_map,
)
from lrp.propagation.relevance import relevance
from lrp.propagation.trace import Trace
from tests.models import FAMILIES, IMAGES, SIZE, build, random_images

# What runs on pooled features, on class tokens alone (CaiT, PiT) or across heads (CaiT).
NOWHERE = re.compile(
    r"head(_dist|\.fc)?|attn_pool\.(proj|mlp\.fc\d)|.*\.pool\.fc|.*\.proj_[lw]"
    r"|blocks_token_only\.\d\.(attn\.(q|proj)|mlp\.fc\d)"
)


@pytest.mark.parametrize("side", [16, 14])  # 14 is padded to 16
@pytest.mark.parametrize("family", ["swin", "swinv2", "swinv2-cr"])
def test_windows_are_put_back_where_timm_took_them_from(family, side):
    model = build(family)
    stage = model.stages[0] if family == "swinv2-cr" else model.layers[0]
    block = stage.blocks[1]
    assert any(block.shift_size)
    block.dynamic_mask = True  # lets timm take a side that is padded
    seen = []
    block.attn.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    numbered = torch.arange(2.0 * side * side).reshape(2, side, side, 1)
    attend = block._shifted_window_attn if family == "swinv2-cr" else block._attn
    attend(numbered.expand(-1, -1, -1, 16).contiguous())
    tokens = seen[0][..., 0]  # (2 * windows, 16)
    grid = _from_windows(block, tokens, torch.Size((2, side, side, 16)))
    assert torch.equal(grid, numbered[..., 0])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_has_a_map_that_keeps_the_sum_over_its_patches(family):
    trace = Trace(build(family, torch.float64), random_images().double())
    found = relevance(trace, 0)
    for layer in list_layers(trace.model, SIZE):
        grid = layer_map(trace, found, layer)
        assert (grid is None) == bool(NOWHERE.fullmatch(layer.name)), layer.name
        if grid is None:
            continue
        dims = {"matmul1": (1, 2), "matmul2": (1, 3)}.get(layer.role, (-1,))
        dims = (1,) if layer.kind == "conv2d" else dims
        tokens = found.layers[layer.name][-1].sum(dims).reshape(IMAGES, -1)
        prefix = tokens.shape[1] - grid[0].numel()
        assert prefix in (0, getattr(trace.model, "num_prefix_tokens", 1))
        torch.testing.assert_close(grid.flatten(1).sum(1), tokens[:, prefix:].sum(1))


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"pit"}))  # PiT's patches overlap
def test_tokens_stand_where_a_change_of_one_patch_is_seen(family):
    model = build(family)
    changed = random_images(1)
    before = Trace(model, changed)
    rows, columns = grid_size(before)
    high, wide = SIZE[1] // rows, SIZE[2] // columns
    changed[..., high : 2 * high, 2 * wide : 3 * wide] += 1
    after = Trace(model, changed)
    block = next(iter(before.blocks))
    layer = next(la for la in list_layers(model, SIZE) if la.block == block)
    difference = replace(
        relevance(before),
        blocks={block: (after.blocks[block] - before.blocks[block]).abs()},
        layers={
            layer.name: ((after.operands[layer.name][0] - before.operands[layer.name][0]).abs(),)
        },
    )
    for grid in (block_map(before, difference, block), layer_map(before, difference, layer)):
        assert grid.shape == (1, rows, columns)
        assert grid.nonzero().tolist() == [[0, 1, 2]]


def test_images_that_are_no_squares_keep_their_shape():
    kwargs = FAMILIES["dinov2"][1] | {"dynamic_img_size": True}
    model = timm.create_model("vit_small_patch14_reg4_dinov2", img_size=32, **kwargs)
    trace = Trace(model.eval().requires_grad_(False), torch.randn(1, 3, 24, 48))
    assert grid_size(trace) == (3, 6)
    assert block_map(trace, relevance(trace), "blocks.1").shape == (1, 3, 6)


@pytest.mark.parametrize("family", ["deit", "cait", "registers", "siglip", "swin", "swinv2"])
def test_heads_hand_relevance_to_the_keys_they_look_at(family):
    """A head's map is its attention's relevance, summed over queries and put in place."""
    trace = Trace(build(family, torch.float64), random_images().double())
    found = relevance(trace)
    for layer in list_layers(trace.model, SIZE):
        if layer.role != "matmul2":
            continue
        heads = head_maps(trace, found, layer)
        keys = attention_relevance(found, layer.name).sum(-2)  # over the queries
        if layer.block in trace.windows:
            keys = _by_place(trace.windows[layer.block], keys, heads.shape[-2:])
        flat = heads.flatten(2)
        torch.testing.assert_close(flat, keys[..., -flat.shape[-1] :])


def _by_place(block, keys, grid):
    """Sort (B, windows, h, n) by timm's own partition of numbered tokens: (B, h, H * W)."""
    shift = tuple(-s for s in block.shift_size)
    numbered = torch.arange(grid.numel()).reshape(1, *grid, 1)
    windows = window_partition(torch.roll(numbered, shift, (1, 2)), tuple(block.window_size))
    flat = keys.transpose(1, 2).flatten(2)  # (B, h, windows * n)
    return torch.zeros_like(flat).index_copy(2, windows.flatten(), flat)


def test_other_layers_have_no_heads(model, images):
    trace = Trace(model, images)
    found = relevance(trace)
    others = [la for la in list_layers(model, SIZE) if la.kind != "matmul"]
    assert all(head_maps(trace, found, layer) is None for layer in others)


def test_block_maps_have_one_value_a_patch(model, images):
    trace = Trace(model, images)
    found = relevance(trace, 0)
    assert block_map(trace, found, next(iter(trace.blocks))).shape == (3, *grid_size(trace))
    assert heatmap(trace, found, PIXELS).shape == (3, 32, 32)


def test_relevance_of_a_bright_square_lies_on_it():
    """A patch that alone differs from a constant image alone changes the tokens it makes."""
    model = build("vit")
    images = torch.zeros(1, *SIZE)
    images[..., 8:16, 16:24] = 3
    trace = Trace(model, images)
    found = relevance(trace, 0)
    outside = heatmap(trace, found, PIXELS).clone()
    outside[..., 8:16, 16:24] = 0
    assert heatmap(trace, found, PIXELS).abs().sum() > 0
    assert outside.abs().max() == 0
