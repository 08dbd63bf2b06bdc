import pytest
import torch

from lrp.heatmap import PIXELS, default_depth, depths, heatmap
from lrp.relevance import relevance
from lrp.trace import Trace
from tests.models import build


def test_every_depth_offered_has_a_heatmap(model, images):
    trace = Trace(model, images)
    found = relevance(trace, 0)
    offered = depths(trace, found)
    assert offered == (*trace.blocks, PIXELS)
    for depth in offered:
        assert heatmap(trace, found, depth).shape[0] == len(images)
    assert torch.equal(heatmap(trace, found), heatmap(trace, found, default_depth(trace, found)))
    assert torch.equal(heatmap(trace, found, PIXELS), found.pixels.sum(1))


def test_a_depth_that_is_not_there_is_refused_with_those_that_are(model, images):
    trace = Trace(model, images)
    with pytest.raises(ValueError, match=r"blocks\.77' has no heatmap .*: use .*pixels"):
        heatmap(trace, relevance(trace, 0), "blocks.77")


def test_a_model_that_does_not_say_how_it_cuts_images_has_pixels_only(images):
    model = build("vit")
    del model.patch_embed.patch_size
    trace = Trace(model, images)
    found = relevance(trace, 0)
    assert depths(trace, found) == (PIXELS,)
    assert default_depth(trace, found) == PIXELS
