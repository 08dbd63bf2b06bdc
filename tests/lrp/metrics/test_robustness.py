import threading

import pytest
import torch

from lrp.engine.progress import Cancelled, Progress
from lrp.methods.catalogue import method
from lrp.metrics.robustness import infidelity, max_sensitivity, robustness

METHODS = [method("attn-lrp"), method("random")]


def test_it_is_captums_measures_batch_by_batch_with_the_same_draws(model, images):
    found = robustness(model, images.split(2), 3, METHODS, seed=7)
    target = model(images).argmax(1)
    for one in METHODS:
        parts = []
        for pictures, classes in zip(images.split(2), target.split(2), strict=True):
            generator = torch.Generator().manual_seed(7)
            maps = one.maps(model, pictures, classes)
            wrong = infidelity(model, pictures, maps, classes, generator)
            moved = max_sensitivity(one.maps, model, pictures, classes, generator)
            parts.append((wrong, moved))
        wrong, moved = (torch.cat(p) for p in zip(*parts, strict=True))
        torch.testing.assert_close(found[one.name].infidelity, wrong)
        torch.testing.assert_close(found[one.name].max_sensitivity, moved)
    assert found["random"].max_sensitivity.mean() > found["attn-lrp"].max_sensitivity.mean()


def test_it_counts_maps_and_stops_when_told(model, images):
    stop, seen = threading.Event(), []

    def tell(done, total, *_):
        seen.append((done, total))
        stop.set()

    with pytest.raises(Cancelled):
        robustness(model, images.split(1), 3, METHODS, progress=Progress(tell, stop.is_set))
    assert seen == [(1, 6)]
    with pytest.raises(ValueError, match="no images"):
        robustness(model, [], 0, METHODS)
