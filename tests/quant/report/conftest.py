"""A history of made-up answers to real images, and a report of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from assets.sets.image_set import class_names
from lrp.engine.layers import list_layers
from quant.calibration.presets import preset
from quant.experiments.calibrating import Calibrating
from quant.history.recipe import Recipe
from quant.history.runs import FILE, Run, Runs
from quant.primitives.bits import LayerBits
from quant.report.page import write
from quant.report.subject import Opened, Subject, gather
from tests.app import runs_made as made

WRONG_AT_4, WRONG_AT_8, WRONG_IN_FLOAT = set(range(1, 15)), {5, 6, 20}, {20}


def mixed_recipe() -> Recipe:
    """Bits that differ from layer to layer, as the page's slider gives them."""
    recipe = made.recipe(4, objective="sensitivity", budget="4.00 bit")
    assert recipe.allocation is not None
    allocation = {
        name: LayerBits(3 + place % 3, 8 - place % 4)
        for place, name in enumerate(recipe.allocation)
    }
    return replace(recipe, allocation=allocation)


@pytest.fixture
def mixed() -> Recipe:
    """How those bits were measured."""
    return mixed_recipe()


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Float, uniform 8 and 4 bits, and mixed bits (run 4) on 60 images."""
    runs = Runs(tmp_path_factory.mktemp("report") / FILE)
    float_says = made.answers(WRONG_IN_FLOAT, WRONG_IN_FLOAT)
    made.keep(runs, made.recipe(None), float_says)
    made.keep(runs, made.recipe(8), made.answers(WRONG_AT_8, WRONG_IN_FLOAT))
    made.keep(runs, made.recipe(4), made.answers(WRONG_AT_4, WRONG_IN_FLOAT))
    made.keep(runs, mixed_recipe(), made.answers({1, 2, 20}, WRONG_IN_FLOAT))
    return runs


def opened(home: Path | None = None) -> Opened:
    """All that the recipes name."""
    loaded, (calibration, images) = made.model(), made.sets()
    layers = list_layers(loaded.model, loaded.input_size)
    how = Calibrating(
        loaded, calibration, preset("repq-vit"), next(loaded.model.parameters()).device, home
    )
    return Opened(loaded, layers, class_names(loaded), images, how)


@pytest.fixture(scope="session")
def subject(history: Runs, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """The mixed bits, with uniform 4 bits named beside them, sensitivities known."""
    there = opened(tmp_path_factory.mktemp("calibrated"))
    assert there.calibrating is not None
    there.calibrating.find_sensitivity("estimated")
    return replace(gather(history, [4, 3]), opened=there)


@pytest.fixture(scope="session")
def bare(history: Runs) -> Subject:
    """The same where neither the model nor its images are there any more."""
    gone = Opened(missing=("The model is not here: it was deleted.",))
    return replace(gather(history, [4, 3]), opened=gone)


@pytest.fixture(scope="session")
def written(subject: Subject) -> str:
    """The report of it."""
    return write(subject)


@pytest.fixture
def run(subject: Subject) -> Run:
    """The run that is told of in full."""
    return subject.run
