import itertools
import threading

import pytest
import torch

from lrp.engine.progress import Cancelled, Progress
from lrp.propagation.relevance import relevance
from lrp.propagation.rules import LRP_QVIT
from lrp.propagation.scores import ContributionScores, contribution_scores
from lrp.propagation.trace import Trace


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


def scores_of(per_image):
    layers = tuple(f"l{i}" for i in range(per_image.shape[1]))
    return ContributionScores(layers, per_image, LRP_QVIT, "positive-sum")


def spearman(first, second):
    """1 - 6 sum d^2 / (n (n^2 - 1)), for values without ties."""
    ranks = [{v: r for r, v in enumerate(sorted(values))} for values in (first, second)]
    gaps = (ranks[0][a] - ranks[1][b] for a, b in zip(first, second, strict=True))
    count = len(first)
    return 1 - 6 * sum(gap**2 for gap in gaps) / (count * (count**2 - 1))


def test_stability_is_the_mean_rank_correlation_over_all_ways_to_halve():
    per_image = torch.rand(6, 12, generator=torch.Generator().manual_seed(2)) + torch.arange(12) / 8
    every = []
    for half in itertools.combinations(range(6), 3):
        rest = [i for i in range(6) if i not in half]
        means = (per_image[list(part)].mean(0).tolist() for part in (half, rest))
        every.append(spearman(*means))
    assert min(every) < max(every)
    expected = sum(every) / len(every)
    assert scores_of(per_image).stability == pytest.approx(expected, abs=0.02)


def test_stability_tells_sure_rankings_from_chance_and_needs_four_images():
    chance = torch.rand(8, 40, generator=torch.Generator().manual_seed(1))
    assert abs(scores_of(chance).stability) < 0.4
    assert scores_of(chance[:1].expand(4, -1)).stability == pytest.approx(1)
    assert scores_of(chance[:3]).stability is None


def test_progress_counts_images_and_cancel_stops(model, images):
    seen, stop = [], threading.Event()

    def tell(done, total, *_):
        seen.append((done, total))
        if done == 2:
            stop.set()

    with pytest.raises(Cancelled):
        contribution_scores(model, images.split(1), 3, progress=Progress(tell, stop.is_set))
    assert seen == [(1, 3), (2, 3)]


def test_bad_input_is_refused(model, images):
    with pytest.raises(ValueError, match="no images"):
        contribution_scores(model, [], 0)
    with pytest.raises(ValueError, match="'sum' is unknown"):
        contribution_scores(model, [images], 3, statistic="sum")
    with pytest.raises(ValueError, match="not finite"):
        contribution_scores(model, [images * float("nan")], 3)
