import math
import statistics
import threading
from types import SimpleNamespace

import pytest
import torch
from scipy import stats
from torch import Tensor

from lrp.engine.progress import Cancelled, Progress
from lrp.methods.catalogue import Method, method
from lrp.metrics import faithfulness as subject
from lrp.metrics.deletion import curves
from lrp.metrics.faithfulness import Faithfulness, faithfulness
from tests.models import build, random_images


def ramp(model, images: Tensor, target: Tensor) -> Tensor:
    """A map that is higher further down, and that tells images and targets apart."""
    rows = torch.arange(4.0)[:, None] + torch.arange(4.0) / 4
    return rows * (1 + target[:, None, None]) + images.mean((1, 2, 3))[:, None, None]


def made(name: str, maps) -> Method:
    return Method(name, name, name, maps)


RAMP = made("ramp", ramp)
FLIPPED = made("flipped", lambda *given: -ramp(*given))


@pytest.fixture
def vit():
    return build("vit")


def test_curves_are_those_of_each_images_predicted_class(vit):
    images = random_images(5)
    found = faithfulness(vit, images.split(2), 5, [RAMP, FLIPPED], steps=4)
    target = vit(images).argmax(1)
    assert list(found) == ["ramp", "flipped"]
    for run in (RAMP, FLIPPED):
        morf, lerf = curves(vit, images, run.maps(vit, images, target), target, steps=4)
        result = found[run.name]
        torch.testing.assert_close(result.morf, morf, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(result.lerf, lerf, rtol=1e-4, atol=1e-6)
        assert result.method == run.name
        assert result.deleted.tolist() == [0, 0.25, 0.5, 0.75, 1]
        assert result.seconds > 0 and result.cost > 0
    torch.testing.assert_close(found["ramp"].gap, -found["flipped"].gap, rtol=1e-4, atol=1e-6)


def test_figures_are_those_of_plain_statistics():
    generator = torch.Generator().manual_seed(0)
    one, other = (
        Faithfulness("x", torch.linspace(0, 1, 5), *torch.rand(2, 40, 5, generator=generator), 1, 1)
        for _ in range(2)
    )
    gaps = [
        statistics.mean(least) - statistics.mean(most)
        for most, least in zip(one.morf.tolist(), one.lerf.tolist(), strict=True)
    ]
    assert one.gap_mean == pytest.approx(statistics.mean(gaps), abs=1e-6)
    assert one.gap_se == pytest.approx(stats.sem(gaps), rel=1e-4)
    differences = [a - b for a, b in zip(gaps, other.gap.tolist(), strict=True)]
    paired = stats.ttest_rel(gaps, other.gap.tolist())
    mean, error = one.versus(other)
    assert mean == pytest.approx(statistics.mean(differences), abs=1e-6)
    assert mean / error == pytest.approx(paired.statistic, rel=1e-4)


def test_one_image_has_a_gap_and_no_spread(vit):
    (found,) = faithfulness(vit, [random_images(1)], 1, [RAMP], steps=4).values()
    assert math.isfinite(found.gap_mean)
    assert math.isnan(found.gap_se)
    assert math.isnan(found.versus(found)[1])


def test_random_order_is_worth_nothing_and_a_map_that_knows_the_model_something():
    model, images = build("vit"), 3 * random_images(40)
    methods = [method("random"), method("occlusion")]
    found = faithfulness(model, images.split(20), 40, methods, steps=8)
    assert abs(found["random"].gap_mean) < 3 * found["random"].gap_se
    assert found["occlusion"].gap_mean > 3 * found["occlusion"].gap_se


def test_equal_values_do_not_depend_on_batches_or_other_methods(vit):
    flat = made("flat", lambda model, images, target: torch.zeros(len(images), 4, 4))
    images = random_images(6)
    alone = faithfulness(vit, images.split(4), 6, [flat], steps=4)["flat"]
    beside = faithfulness(vit, images.split(1), 6, [RAMP, flat], steps=4)["flat"]
    torch.testing.assert_close(alone.morf, beside.morf, rtol=1e-4, atol=1e-6)
    seeded = faithfulness(vit, [images], 6, [flat], steps=4, seed=1)["flat"]
    assert not torch.allclose(alone.morf, seeded.morf)


def test_methods_are_told_as_they_finish(vit):
    told, images = [], random_images(3)

    def on_maps(name: str, maps: Tensor) -> None:
        told.append((name, "maps", len(maps)))

    def tell(done: int, total: int, what: str, found: Faithfulness) -> None:
        told.extend([(found.method, "curves", len(found.gap)), (done, total)])

    found = faithfulness(
        vit,
        images.split(2),
        3,
        [RAMP, FLIPPED],
        steps=4,
        progress=Progress(tell),
        on_maps=on_maps,
    )
    first, second = told[:6], told[6:]
    assert first == [
        *[("ramp", "maps", 2), ("ramp", "curves", 2), (2, 6)],
        *[("flipped", "maps", 2), ("flipped", "curves", 2), (4, 6)],
    ]
    assert second == [
        *[("ramp", "maps", 1), ("ramp", "curves", 3), (5, 6)],
        *[("flipped", "maps", 1), ("flipped", "curves", 3), (6, 6)],
    ]
    assert len(found["ramp"].gap) == 3


def test_it_stops_between_methods(vit):
    stop, seen = threading.Event(), []

    def tell(done: int, total: int, *_: object) -> None:
        seen.append((done, total))
        stop.set()

    with pytest.raises(Cancelled):
        faithfulness(
            vit,
            [random_images(3)],
            3,
            [RAMP, FLIPPED],
            steps=4,
            progress=Progress(tell, stop.is_set),
        )
    assert seen == [(3, 6)]


def test_cost_is_the_median_of_the_ratios_without_the_first_call(vit, monkeypatch):
    """Run with a clock that a method and the model's own passes move by known amounts."""
    clock = SimpleNamespace(now=0.0)
    takes = iter([100.0, 6.0, 9.0, 2.0])  # the first is the warm-up

    def slow(model, images: Tensor, target: Tensor) -> Tensor:
        clock.now += next(takes)
        return ramp(model, images, target)

    def own(model, images: Tensor, target: Tensor) -> None:
        clock.now += 2.0

    monkeypatch.setattr("time.perf_counter", lambda: clock.now)
    monkeypatch.setattr(subject, "forward_backward", own)
    found = faithfulness(vit, random_images(6).split(2), 6, [made("slow", slow)], steps=4)["slow"]
    assert found.cost == 3.0  # of 3, 4.5 and 1
    assert found.seconds == 3.0  # of 3, 4.5 and 1 an image


def test_bad_input_is_refused(vit, images):
    with pytest.raises(ValueError, match="no images"):
        faithfulness(vit, [], 0, [RAMP])
    with pytest.raises(ValueError, match="20 steps to delete 16 cells"):
        faithfulness(vit, [images], 3, [RAMP], steps=20)
