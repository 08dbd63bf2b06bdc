"""The tape against a walk back through the layers, written apart from it."""

import torch

from bench.relprop import relprop
from lrp.propagation.relevance import relevance
from lrp.propagation.rules import CHEFER
from lrp.propagation.trace import Trace
from tests.models import build


def test_chefers_rules_give_what_their_walk_through_the_layers_gives(images):
    model, images = build("vit", torch.float64), images.double()
    batch = relevance(Trace(model, images, CHEFER), 2)
    for index in range(len(images)):
        walked = relprop(model, images[index : index + 1], 2)
        assert set(walked) == set(batch.blocks)
        for name, expected in walked.items():
            found = batch.blocks[name][index]
            torch.testing.assert_close(found, expected[0], rtol=1e-4, atol=1e-6)
