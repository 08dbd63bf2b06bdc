import pytest
import timm
import torch

from lrp.maps.heatmap import PIXELS, default_depth, depths, heatmap, heatmap_alone
from lrp.propagation.relevance import relevance
from lrp.propagation.trace import Trace
from tests.models import SIZE, SMALL, build


def test_every_depth_offered_has_a_heatmap(model, images):
    trace = Trace(model, images)
    found = relevance(trace, 0)
    offered = depths(trace)
    assert offered == (*trace.blocks, PIXELS)
    for depth in offered:
        assert heatmap(trace, found, depth).shape[0] == len(images)
        alone = heatmap_alone(trace, 0, depth)
        torch.testing.assert_close(alone, heatmap(trace, found, depth))
    assert torch.equal(heatmap(trace, found), heatmap(trace, found, default_depth(trace)))
    assert torch.equal(heatmap(trace, found, PIXELS), found.pixels.sum(1))


def test_a_depth_that_is_not_there_is_refused_with_those_that_are(model, images):
    trace = Trace(model, images)
    with pytest.raises(ValueError, match=r"blocks\.77' has no heatmap .*: use .*pixels"):
        heatmap(trace, relevance(trace, 0), "blocks.77")


class FlatPatches(torch.nn.Module):
    """Embeds patches by a linear layer, as no convolution would tell where they lie."""

    def __init__(self):
        super().__init__()
        self.proj = torch.nn.Linear(3 * 8 * 8, 32)

    def forward(self, x):
        patches = x.reshape(-1, 3, 4, 8, 4, 8).permute(0, 2, 4, 1, 3, 5)
        return self.proj(patches.flatten(3).flatten(1, 2))


def test_a_model_that_does_not_say_how_it_cuts_images_has_pixels_only(images):
    model = build("vit")
    model.patch_embed = FlatPatches().requires_grad_(False)
    trace = Trace(model, images)
    assert depths(trace) == (PIXELS,)
    assert default_depth(trace) == PIXELS


def test_the_default_is_a_quarter_down_or_where_no_token_is_merged_yet(images):
    name, kwargs = SMALL["vit"]
    vit = timm.create_model(name, img_size=SIZE[1], **{**kwargs, "depth": 4}).eval()
    assert default_depth(Trace(vit.requires_grad_(False), images)) == "blocks.1"
    assert default_depth(Trace(build("swin"), images)) == "layers.0.blocks.0"
