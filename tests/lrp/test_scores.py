import threading

import pytest
import torch

from lrp.progress import Cancelled
from lrp.relevance import relevance
from lrp.rules import LRP_QVIT
from lrp.scores import contribution_scores
from lrp.trace import Trace


@pytest.mark.parametrize("statistic", ["mean-positive", "positive-sum", "absolute-sum"])
def test_scores_are_the_loop_over_images_and_layers(model, images, statistic):
    model, images = model.double(), images.double()
    scores = contribution_scores(model, images.split(2), 3, statistic=statistic)
    for row, image in zip(scores.per_image, images, strict=True):
        found = relevance(Trace(model, image[None], LRP_QVIT))
        raw = []
        for operands in found.layers.values():
            values = [v for r in operands for v in r.flatten().tolist()]
            positive = sum(v for v in values if v > 0)
            raw.append(
                {
                    "mean-positive": positive / len(values),
                    "positive-sum": positive,
                    "absolute-sum": sum(map(abs, values)),
                }[statistic]
            )
        expected = torch.tensor(raw, dtype=torch.float64) / sum(raw)
        torch.testing.assert_close(row, expected, rtol=1e-3, atol=1e-6)
    assert list(scores.mean) == list(found.layers)
    assert sum(scores.mean.values()) == pytest.approx(1, abs=1e-5)


def test_spread_is_over_the_images(model, images):
    scores = contribution_scores(model, [images], 3)
    torch.testing.assert_close(torch.tensor(list(scores.sd.values())), scores.per_image.std(0))
    assert set(contribution_scores(model, [images[:1]], 1).sd.values()) == {0.0}


def test_progress_counts_images_and_cancel_stops(model, images):
    seen, stop = [], threading.Event()

    def progress(done, total):
        seen.append((done, total))
        if done == 2:
            stop.set()

    with pytest.raises(Cancelled):
        contribution_scores(model, images.split(1), 3, progress=progress, cancel=stop)
    assert seen == [(1, 3), (2, 3)]


def test_bad_input_is_refused(model, images):
    with pytest.raises(ValueError, match="no images"):
        contribution_scores(model, [], 0)
    with pytest.raises(ValueError, match="'sum' is unknown"):
        contribution_scores(model, [images], 3, statistic="sum")
    with pytest.raises(ValueError, match="not finite"):
        contribution_scores(model, [images * float("nan")], 3)
