"""What a report is about: runs of one model on the same images, and what can still be loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from PIL.Image import Image

from lrp.engine.inputs import KeyedImages, Model
from lrp.engine.layers import Layer
from quant.allocation.cost import Cost, CostModel
from quant.allocation.objectives import Losses, by_sensitivity
from quant.analysis.sensitivity import HOW, Sensitivity
from quant.evaluation.answers import Evaluation
from quant.experiments.calibrating import Calibrating
from quant.history.recipe import Recipe
from quant.history.runs import Run, Runs
from quant.primitives.bits import Allocation

MOST_OTHERS = 200  # runs that are not named, the newest


class Loaded(Model, Protocol):
    """A float model, and how it wants its pictures."""

    @property
    def data_config(self) -> dict[str, Any]: ...


class Pictures(KeyedImages, Protocol):
    """Images that can be looked at too."""

    def picture(self, index: int) -> Image: ...


@dataclass(frozen=True, eq=False)
class Opened:
    """What the recipe of a run names, as far as it is still there.

    Attributes:
        model: None where it cannot be loaded, and nothing else is there then.
        classes: what each class is called.
        images: those that were measured;  calibrating: how the layers were calibrated.
        missing: why any of them is not there, a sentence each.
    """

    model: Loaded | None = None
    layers: tuple[Layer, ...] = ()
    classes: tuple[str, ...] = ()
    images: Pictures | None = None
    calibrating: Calibrating | None = None
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Subject:
    """What a report is about.

    Attributes:
        run: told of in full: quantized, with answers.
        beside: other runs that were named.
        others: the history's other runs of this model on these images.
        opened: what is still there.
    """

    run: Run
    beside: tuple[Run, ...]
    others: tuple[Run, ...]
    opened: Opened = Opened()

    @property
    def recipe(self) -> Recipe:
        """What it takes to repeat the run."""
        return self.run.recipe

    @property
    def allocation(self) -> Allocation:
        """The bits of the run."""
        assert self.recipe.allocation is not None
        return self.recipe.allocation

    @property
    def named(self) -> tuple[Run, ...]:
        """The runs that were named."""
        return (self.run, *self.beside)

    @property
    def every(self) -> tuple[Run, ...]:
        """All runs that are told of."""
        return (*self.named, *self.others)

    @property
    def evaluation(self) -> Evaluation:
        """What the run's answers say."""
        return evaluation_of(self.run)

    @cached_property
    def costs(self) -> CostModel | None:
        """What costs are counted from; None without the model."""
        opened = self.opened
        return None if opened.model is None else CostModel.of(opened.model.model, opened.layers)

    def cost(self, allocation: Allocation | None) -> Cost | None:
        """Return what an allocation costs, None being float; None without the model."""
        return None if self.costs is None else self.costs.cost(allocation or {})

    @cached_property
    def sensitivity(self) -> Sensitivity | None:
        """The layers' sensitivities, where they are kept."""
        calibrating = self.opened.calibrating
        found = [] if calibrating is None else map(calibrating.kept_sensitivity, HOW)
        return next((one for one in found if one is not None), None)

    @cached_property
    def losses(self) -> Losses | None:
        """What each width of each layer is expected to cost, in nats, where that is known."""
        return None if self.sensitivity is None else by_sensitivity(self.sensitivity)

    def class_name(self, label: int) -> str:
        """Return what a class is called."""
        names = self.opened.classes
        return names[label] if 0 <= label < len(names) else f"class {label}"


def gather(history: Runs, numbers: Sequence[int]) -> Subject:
    """Return what a report of runs is about; the first quantized one is told of in full.

    Raises:
        ValueError: a run is not there, has no answers, or is of another model or other images; or
            none is quantized.
    """
    named = [history.get(number) for number in dict.fromkeys(numbers)]
    for run in named:
        if not run.counts.images:
            raise ValueError(f"run {run.id} has answered no image yet: go on with it first")
        _check_alike(named[0], run)
    quantized = [run for run in named if run.recipe.allocation is not None]
    if not quantized:
        raise ValueError(f"run {named[0].id} is of the float model: name one that is quantized")
    first, known = quantized[0], {run.id for run in named}
    alike = history.listed(first.recipe.model_key, first.recipe.images_key)
    others = [run for run in alike if run.id not in known and run.counts.images]
    beside = tuple(run for run in named if run is not first)
    return Subject(first, beside, tuple(others[:MOST_OTHERS]))


def _check_alike(one: Run, other: Run) -> None:
    if one.recipe.model_key != other.recipe.model_key:
        raise ValueError(
            f"run {other.id} is of another model than run {one.id} ({other.recipe.model_key}, "
            f"{one.recipe.model_key}): a report is of one model"
        )
    if one.recipe.images_key != other.recipe.images_key:
        raise ValueError(
            f"runs {one.id} and {other.id} measured different images: name runs on the same"
        )


def evaluation_of(run: Run) -> Evaluation:
    """Return what a run's answers say; it has some."""
    return run.counts.evaluation(run.seconds)


def name_of(recipe: Recipe) -> str:
    """Return shortly how a model was run: "float", "uniform 4 bits", "bits of the file chosen"."""
    if recipe.allocation is None:
        return "float"
    if recipe.objective == "file":
        return f"bits of the file {recipe.budget}"
    return f"{recipe.objective} {recipe.budget}"


def kind_of(recipe: Recipe) -> str:
    """Return what bits were spent by, of whatever seed: "uniform", "random", "file"."""
    if recipe.allocation is None:
        return "float"
    return "random" if recipe.objective.startswith("random-") else recipe.objective
