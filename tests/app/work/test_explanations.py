"""What is explained of one picture: under which key it is kept, and that it is the real thing."""

import numpy as np
import pytest
import torch
from PIL import Image

from app.state.selection import ModelChoice
from app.work import explanations, models
from app.work.wanted import Wanted
from assets.models.load import LoadedModel
from lrp.engine.progress import Cancelled, Progress
from lrp.methods.catalogue import METHODS

PATIENCE = 60


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return models.load(ModelChoice("digits-swin"), "cpu")


def picture(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    return Image.fromarray(pixels)


def made(wanted: Wanted):
    assert wanted.start("me").ended.wait(PATIENCE)
    found = wanted.get()
    assert found is not None
    return found


def trace(loaded: LoadedModel, seed: int, rules: str = "ATTN_LRP"):
    prepared = explanations.prepare(loaded, picture(seed))
    return prepared, made(explanations.trace_of(loaded, prepared, rules))


def test_one_pixel_makes_another_picture(loaded: LoadedModel) -> None:
    one, other = picture(0), picture(0)
    same = explanations.prepare(loaded, other).key
    assert explanations.prepare(loaded, one).key == same
    other.putpixel((0, 0), (255, 0, 255))
    assert explanations.prepare(loaded, other).key != same


def test_pixels_of_another_shape_are_another_picture(loaded: LoadedModel) -> None:
    wide, tall = Image.new("RGB", (64, 32)), Image.new("RGB", (32, 64))
    assert wide.tobytes() == tall.tobytes()
    assert explanations.prepare(loaded, wide).key != explanations.prepare(loaded, tall).key


def test_the_picture_shown_is_the_one_the_model_sees(loaded: LoadedModel) -> None:
    assert np.array_equal(np.asarray(explanations.prepare(loaded, picture(3)).seen), picture(3))


def test_targets_share_a_trace_and_rules_do_not(loaded: LoadedModel) -> None:
    prepared, one = trace(loaded, 1)
    _, two = trace(loaded, 1)
    _, other = trace(loaded, 1, "LRP_QVIT")
    assert one is two
    assert one is not other
    first, second = (made(explanations.relevance_of(one, prepared, t)) for t in (1, 2))
    assert int(first.target) == 1
    assert not np.allclose(first.pixels.numpy(), second.pixels.numpy())


def test_traces_are_kept_in_bounded_number(loaded: LoadedModel) -> None:
    prepared, _ = trace(loaded, 100)
    for seed in range(101, 110):
        trace(loaded, seed)
    assert explanations.trace_of(loaded, prepared, "ATTN_LRP").get() is None


@pytest.mark.parametrize("method", ["attn-lrp", "grad-cam", "occlusion", "random"])
def test_a_method_draws_the_map_it_draws_anywhere(loaded: LoadedModel, method: str) -> None:
    prepared = explanations.prepare(loaded, picture(5))
    found = made(explanations.map_of(loaded, prepared, method, 3))
    expected = METHODS[method].maps(loaded.model, prepared.images, torch.tensor([3]))[0]
    assert found.values == pytest.approx(expected.numpy(), abs=1e-5)
    assert found.seconds > 0
    assert found.cost > 0


def test_classes_and_methods_have_maps_of_their_own(loaded: LoadedModel) -> None:
    prepared = explanations.prepare(loaded, picture(6))
    keys = {
        explanations.map_of(loaded, prepared, method, target).key
        for method in ("attn-lrp", "saliency")
        for target in (1, 2)
    }
    assert len(keys) == 4


def test_the_page_that_waits_and_the_queue_share_a_map(loaded: LoadedModel) -> None:
    prepared = explanations.prepare(loaded, picture(7))
    found = made(explanations.map_of(loaded, prepared, "saliency", 1, at_once=True))
    assert explanations.map_of(loaded, prepared, "saliency", 1).get() is found


def test_curves_go_from_the_picture_to_nothing(loaded: LoadedModel) -> None:
    prepared = explanations.prepare(loaded, picture(8))
    found = made(explanations.curves_of(loaded, prepared, "attn-lrp", 4))
    with torch.no_grad():
        ends = [loaded.model(x).softmax(1)[0, 4] for x in (prepared.images, 0 * prepared.images)]
    for curve in (found.morf, found.lerf):
        assert [curve[0], curve[-1]] == pytest.approx([float(e) for e in ends], abs=1e-5)
    assert (found.deleted[0], found.deleted[-1]) == (0, 1)
    assert found.gap == pytest.approx(float((found.lerf - found.morf).mean()))
    assert explanations.map_of(loaded, prepared, "attn-lrp", 4).get() is not None


def test_what_one_took_tells_how_long_the_like_of_it_will_take(loaded: LoadedModel) -> None:
    first, second = (explanations.prepare(loaded, picture(seed)) for seed in (10, 11))
    like = explanations.curves_of(loaded, second, "lrp-qvit", 2)
    assert explanations.seconds_of(like.key) is None
    made(explanations.curves_of(loaded, first, "lrp-qvit", 1))
    assert explanations.seconds_of(like.key) > 0
    other = explanations.curves_of(loaded, second, "rollout", 2)
    assert explanations.seconds_of(other.key) is None


def test_a_cancelled_map_is_not_made(loaded: LoadedModel) -> None:
    stopped = Progress(stopped=lambda: True)
    with pytest.raises(Cancelled):
        explanations.explain(loaded, torch.zeros(1, 3, 64, 64), METHODS["saliency"], 0, stopped)
