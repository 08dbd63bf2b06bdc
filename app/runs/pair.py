"""Two runs on the same images, or one and float, side by side. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from app.look import units
from app.text import Markdown
from app.work.history import name
from quant.evaluation.answers import Answers, Evaluation
from quant.evaluation.comparison import Change, ClassAccuracy, by_class, changed, paired
from quant.history.recipe import Recipe
from quant.history.runs import Run
from quant.primitives.bits import Allocation

FIRST, SECOND = "A", "B"
BOTH, ONLY_ONE, ONLY_OTHER, NEITHER = "both right", "only A right", "only B right", "both wrong"


@dataclass(frozen=True, eq=False)
class Contender:
    """One side of a comparison: a run, or float as it answered the run's images."""

    mark: str
    run: Run
    plain: bool = False

    @property
    def recipe(self) -> Recipe:
        return self.run.recipe

    @property
    def name(self) -> str:
        """What it is, shortly."""
        return "float" if self.plain else name(self.recipe)

    @property
    def title(self) -> str:
        return f"{self.mark}: {self.name}"

    @property
    def allocation(self) -> Allocation | None:
        """Its bits; None is float."""
        return None if self.plain else self.recipe.allocation

    @cached_property
    def answers(self) -> Answers:
        """Its answers to the run's images."""
        own = self.run.answers
        return own.of_reference if self.plain else own


@dataclass(frozen=True, eq=False)
class RunComparison:
    """A and B on the images that both answered."""

    one: Contender
    other: Contender

    @property
    def sides(self) -> tuple[Contender, Contender]:
        return self.one, self.other

    @property
    def key(self) -> tuple[int, bool, int]:
        """Name it, for what is chosen within it."""
        return self.one.run.id, self.one.plain, self.other.run.id

    @cached_property
    def images(self) -> int:
        """How many images both answered."""
        return min(len(side.answers) for side in self.sides)

    @cached_property
    def difference(self) -> tuple[float, float, float]:
        """B's top-1 less A's, and its 95 % interval; ValueError for different images."""
        return paired(self.other.answers, self.one.answers)

    @cached_property
    def outcomes(self) -> dict[str, int]:
        """Count the images by who is right."""
        a, b = (side.answers.correct[: self.images] for side in self.sides)
        parts = {BOTH: a & b, ONLY_ONE: a & ~b, ONLY_OTHER: ~a & b, NEITHER: ~a & ~b}
        return {outcome: int(where.sum()) for outcome, where in parts.items()}

    @cached_property
    def classes(self) -> list[ClassAccuracy]:
        """Accuracy within each class that was seen, A's and B's."""
        return by_class(self.one.answers, self.other.answers)

    @cached_property
    def changes(self) -> list[Change]:
        """The images that A and B answer differently."""
        return changed(self.one.answers, self.other.answers)

    def evaluation(self, side: Contender) -> Evaluation:
        """State what one side's answers to the common images say."""
        return side.answers.part(0, self.images).evaluation(side.run.seconds)


def compared(pinned: Sequence[Run]) -> RunComparison | None:
    """Compare two pinned runs, the older first, or one with float; None where there is nothing."""
    if len(pinned) > 1:
        one, other = sorted(pinned[:2], key=lambda run: run.id)
        return RunComparison(Contender(FIRST, one), Contender(SECOND, other))
    if pinned and pinned[0].recipe.allocation is not None:
        return RunComparison(Contender(FIRST, pinned[0], plain=True), Contender(SECOND, pinned[0]))
    return None


def why_not(comparison: RunComparison) -> str:
    """Return what keeps the answers from being compared; "" where nothing does."""
    if not comparison.images:
        return "One of the two has answered no image yet."
    one, other = comparison.one.recipe, comparison.other.recipe
    if one.images_key != other.images_key and _choice(one) != _choice(other):
        return "They were measured on different images."
    return ""


def _choice(recipe: Recipe) -> tuple[object, ...]:
    """What the order of the images follows from: of two such sets, one begins with the other."""
    own = (recipe.calibration, recipe.calibration_images, recipe.seed)
    return (recipe.data, recipe.data and own)


def verdict(comparison: RunComparison) -> Markdown:
    """Return in words which is better, and how sure that is."""
    gap, low, high = comparison.difference
    one, other = (
        Markdown("**{}, {},** answers {} rightly").format(
            side.mark, side.name, units.share(comparison.evaluation(side).top1)
        )
        for side in comparison.sides
    )
    sure = (
        "More than chance explains."
        if low > 0 or high < 0
        else "That may be chance: the interval holds zero."
    )
    return Markdown(
        "On the same {} images {} and {}: a difference of {} points (95 % interval {}). {}"
    ).format(
        units.count(comparison.images),
        *(one, other, units.points(gap), units.points_between(low, high), sure),
    )


def kind(change: Change) -> str:
    """Return who is right about an image that is answered differently."""
    if change.label == change.one:
        return ONLY_ONE
    return ONLY_OTHER if change.label == change.other else NEITHER
