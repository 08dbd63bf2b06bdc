"""Sensitivities: measured against full runs, estimated against the Fisher information itself."""

import threading
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor
from torch.distributions import Categorical, kl_divergence

from lrp.engine.progress import Cancelled, Progress
from quant.analysis import sensitivity_estimation as module
from quant.analysis.sensitivity import ESTIMATED, MEASURED, Sensitivity
from quant.analysis.widths import PLAIN
from quant.calibration.calibration import Calibration
from quant.calibration.presets import preset
from tests.models import build, random_images
from tests.quant.replaced import Replaced, one_quantized

SIDES = ("weight", "activation")
WIDTHS = (3, 6, 8)
Case = tuple[str, str, int]  # layer, side, width


# Three widths are enough, and quicker.
FEW = {width: PLAIN[width] for width in WIDTHS}
estimate, find, measure = (
    partial(of, widths=FEW) for of in (module.estimate, module.find, module.measure)
)


@pytest.fixture(scope="module")
def measured(calibrated) -> Callable[..., Sensitivity]:
    """Return what is measured on a calibration's own images, once."""
    return cache(lambda family, name="bitlens": measure(calibrated(family, name)))


CASES = [("vit", "bitlens"), ("swin", "bitlens"), ("deit", "repq-vit")]


def some(calibration: Calibration, every: int, *widths: int) -> list[Case]:
    """Each side of every so-many-th layer, of the first and of the last, at some widths."""
    names = list(calibration.surveyed().layers)
    chosen = dict.fromkeys([*names[::every], *names[-3:]])
    return [(name, side, width) for name in chosen for side in SIDES for width in widths]


def value(found: Sensitivity, case: Case) -> float:
    name, side, width = case
    return float(getattr(found, side)[found.names.index(name), found.widths.index(width)])


def drift(calibration: Calibration, case: Case) -> Tensor | float:
    """What a corrected bias takes off: the mean error over the rows of all calibration images."""
    name, side, width = case
    if side == "weight" or not calibration.preset.bias or "matmul" in name:
        return 0.0
    kept: list[Tensor] = []
    quantized = one_quantized(calibration, name, side, width)

    def change(output: Tensor, *operands: Tensor) -> Tensor:
        kept.append(quantized(output, *operands) - output)
        return output

    Replaced(calibration, name, change).run(calibration.images)
    if name == "patch_embed.proj":
        return kept[0].mean((0, 2, 3)).view(-1, 1, 1)
    return kept[0].flatten(0, -2).mean(0)


def divergence(calibration: Calibration, case: Case, images: Tensor) -> float:
    """Run float and the model with one operand quantized from end to end, and compare."""
    name, side, width = case
    quantized, mean = one_quantized(calibration, name, side, width), drift(calibration, case)
    run = Replaced(calibration, name, lambda y, *operands: quantized(y, *operands) - mean)
    plain, found = (
        Categorical(logits=model.run(images).double()) for model in (Replaced(calibration), run)
    )
    return float(kl_divergence(plain, found).mean())


def exact(calibration: Calibration, case: Case, images: Tensor) -> Tensor:
    """1/2 p_y (d log p_y / dt)^2 of all classes y (B, K), for t times the error added."""
    name, side, width = case
    quantized, mean = one_quantized(calibration, name, side, width), drift(calibration, case)
    t = torch.zeros(len(images), requires_grad=True)

    def change(output: Tensor, *operands: Tensor) -> Tensor:
        error = (quantized(output, *operands) - mean - output).reshape(len(images), -1)
        return output + (t[:, None] * error).view(output.shape)

    log = Replaced(calibration, name, change).run(images).log_softmax(1)
    moved = [torch.autograd.grad(column.sum(), t, retain_graph=True)[0] for column in log.T]
    return log.detach().exp() * torch.stack(moved, 1).square() / 2


@pytest.mark.parametrize(("family", "name"), CASES)
def test_measured_is_the_divergence_of_full_runs(calibrated, measured, family, name):
    calibration, found = calibrated(family, name), measured(family, name)
    assert (found.how, found.images, found.widths) == (MEASURED, 3, WIDTHS)
    assert found.names == tuple(calibration.surveyed().layers)
    for case in some(calibration, 5, *WIDTHS):
        expected = divergence(calibration, case, calibration.images)
        assert value(found, case) == pytest.approx(expected, rel=0.01, abs=1e-9), case


@pytest.mark.parametrize("family", ["vit", "swin"])
def test_estimates_of_all_classes_weighted_as_they_are_drawn_are_the_fisher_information(
    calibrated, monkeypatch, family
):
    """Sum over y of q(y) times the estimate that drew y: no sampling is left."""
    calibration, image = calibrated(family), random_images(4)[3:]
    p = calibration.model(image).softmax(1)
    q = p * (1 - p) / (p * (1 - p)).sum()
    monkeypatch.setattr(module, "LABELS", 1)
    found = []
    for label in range(p.shape[1]):

        def draw(weights: Tensor, count: int, y: int = label, **_: object) -> Tensor:
            torch.testing.assert_close(weights / weights.sum(1, keepdim=True), q)
            return torch.full((len(weights), count), y)

        monkeypatch.setattr(torch, "multinomial", draw)
        found.append(estimate(calibration, image))
    for case in some(calibration, 5, *WIDTHS):
        total = sum(float(q[0, y]) * value(one, case) for y, one in enumerate(found))
        expected = float(exact(calibration, case, image).sum())
        assert total == pytest.approx(expected, rel=0.01), case


@pytest.mark.parametrize("family", ["vit", "swin"])
def test_an_estimate_is_off_by_no_more_than_its_sampling(calibrated, monkeypatch, family):
    calibration, labels = calibrated(family), 64
    monkeypatch.setattr(module, "LABELS", labels)
    found = estimate(calibration)
    assert (found.how, found.images) == (ESTIMATED, 3)
    p = calibration.model(calibration.images).softmax(1)
    q = p * (1 - p) / (p * (1 - p)).sum(1, keepdim=True)
    away = []
    for case in some(calibration, 5, *WIDTHS):
        terms = exact(calibration, case, calibration.images)  # p_y f_y
        variance = (q * (terms / q).square()).sum(1) - terms.sum(1).square()
        error = float(variance.sum().div(labels).sqrt() / 3)
        away.append((value(found, case) - float(terms.sum() / 3)) / error)
    assert 0 < np.abs(away).max() < 4.5
    assert abs(np.mean(away)) < 2


@pytest.mark.parametrize("family", ["vit", "swin"])
@pytest.mark.parametrize("side", SIDES)
def test_estimates_rank_layers_as_measuring_does(calibrated, measured, family, side):
    one, other = estimate(calibrated(family)), measured(family)
    for column in (WIDTHS.index(6), WIDTHS.index(8)):
        pair = [getattr(found, side)[:, column] for found in (one, other)]
        assert spearmanr(*pair).statistic > 0.9
        assert 0.75 < np.median(pair[0] / pair[1]) < 1.33  # of the same size, too


def test_few_labels_are_enough_where_answers_are_sure(tmp_path):
    """The likeliest class hardly moves: drawn by p, it would be nearly all that is ever seen."""
    sure = build("vit")
    sure.head.weight.mul_(30)
    calibration = Calibration(sure, random_images(6), preset("repq-vit"), tmp_path)
    p = sure(calibration.images).softmax(1)
    assert float(p.max(1).values.median()) > 0.99
    found, shares = estimate(calibration), []
    for case in some(calibration, 5, 8):
        expected = float(exact(calibration, case, calibration.images).sum(1).mean())
        shares.append(value(found, case) / expected)
    assert 0.67 < np.median(shares) < 1.5
    assert 0.1 < min(shares) < max(shares) < 10


@pytest.mark.parametrize("name", ["bitlens", "repq-vit"])
def test_measuring_does_not_depend_on_how_images_are_split(calibrated, monkeypatch, name):
    calibration, found = calibrated("vit", name), []
    for batch in (2, 5):  # the last part is one image
        monkeypatch.setattr(module, "at_once", lambda *_, batch=batch: batch)
        found.append(measure(calibration, random_images(5)))
    for side in SIDES:
        pair = [getattr(one, side) for one in found]
        np.testing.assert_allclose(*pair, rtol=0.01, atol=1e-9)
    assert found[0].activation.min() > 0  # the head's too, which has a row an image


def test_an_estimate_is_the_same_again_and_draws_from_a_generator_of_its_own(calibrated):
    state = torch.get_rng_state()
    one, other = (estimate(calibrated("vit"), random_images(5)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(one.weight, other.weight)
    assert np.array_equal(one.activation, other.activation)


@pytest.mark.parametrize("find", [estimate, measure])
def test_progress_counts_layers_of_all_batches(calibrated, find, monkeypatch):
    monkeypatch.setattr(module, "at_once", lambda *_: 4)
    calibration, told = calibrated("deit", "repq-vit"), []
    find(calibration, random_images(6), Progress(lambda *counts: told.append(counts[:2])))
    total = 2 * len(calibration.surveyed().layers)  # of 4 images and of 2
    assert told == [(done, total) for done in range(1, total + 1)]


@pytest.mark.parametrize("find", [estimate, measure])
def test_it_stops_between_layers_and_before_anything_is_solved(calibrated, tmp_path, find):
    cancel, told = threading.Event(), []

    def tell(*counts: object) -> None:
        told.append(counts)
        if len(told) == 3:
            cancel.set()

    with pytest.raises(Cancelled):
        find(calibrated("vit", "repq-vit"), progress=Progress(tell, cancel.is_set))
    assert len(told) == 3
    unsolved = Calibration(build("vit"), random_images(), preset("repq-vit"), tmp_path)
    with pytest.raises(Cancelled):
        find(unsolved, progress=Progress(stopped=cancel.is_set))
    assert not list(tmp_path.iterdir())


def test_the_first_images_are_taken_and_as_many_as_the_way_calls_for(calibrated, monkeypatch):
    calibration, asked = calibrated("vit", "repq-vit"), []

    def heard(how: str) -> Callable[..., None]:
        return lambda found, images, *rest: asked.append((how, found, images.tolist(), rest))

    monkeypatch.setattr(module, "measure", heard(MEASURED))
    monkeypatch.setattr(module, "estimate", heard(ESTIMATED))
    monkeypatch.setattr(module, "MEASURED_IMAGES", 2)
    progress = Progress()
    for how, images, expected in (
        *((MEASURED, None, 2), (MEASURED, 3, 3), (ESTIMATED, None, 3), (ESTIMATED, 1, 1)),
    ):
        find(calibration, how, images, progress)
        first = calibration.images[:expected].tolist()
        assert asked.pop() == (how, calibration, first, (progress, FEW))
