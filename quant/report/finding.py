"""What was asked and what was found, in a few sentences and figures."""

from pathlib import Path

from quant.evaluation.answers import Evaluation
from quant.evaluation.comparison import paired
from quant.history.recipe import Recipe
from quant.history.runs import DONE, Run
from quant.report.drawing import units
from quant.report.drawing.elements import Html, join, tag
from quant.report.subject import Subject, evaluation_of, kind_of, name_of


def lead(subject: Subject, run: Run) -> str:
    """Return in one sentence what a run found."""
    e, spent = evaluation_of(run), subject.cost(run.recipe.allocation)
    plain = subject.cost(None)
    quantized, size = run.recipe.allocation is not None, ""
    if spent is not None and plain is not None and quantized:
        size = (
            f"{spent.average_bits:.1f}-bit: {units.size(spent.size_bytes)} instead of "
            f"{units.size(plain.size_bytes)}, "
        )
    apart = f", {to_float(e)}" if quantized else ""
    accuracy = f"{units.share(e.top1)} ({units.interval(e.top1_low, e.top1_high)})"
    return f"{size}{accuracy}{apart}, on {_images(run)}."


def to_float(e: Evaluation) -> str:
    """Return "−0.8 points (−2.4 to +0.6) to float"."""
    bounds = units.points_between(e.difference_low, e.difference_high)
    return f"{units.points(e.difference)} points ({bounds}) to float"


def _images(run: Run) -> str:
    done, wanted = units.count(run.counts.images), units.count(run.recipe.images)
    return f"{done} images" if done == wanted else f"{done} of {wanted} images"


def section(subject: Subject) -> Html:
    """Return what was found: a sentence a run, how sure it is, and the figures."""
    others = [
        tag("p", f"Run {run.id}, {name_of(run.recipe)}: {lead(subject, run)}")
        for run in subject.beside
    ]
    return join(
        [
            tag("p", lead(subject, subject.run), class_="lead"),
            tag("p", " ".join([_sure(subject.evaluation), *_unfinished(subject.run)])),
            _against_uniform(subject),
            *others,
            _figures(subject),
        ]
    )


def _sure(e: Evaluation) -> str:
    agreed = f"Of all answers {units.share(e.agreement)} are float's own."
    if e.difference_low > 0 or e.difference_high < 0:
        better = "better" if e.difference > 0 else "worse"
        return f"It is {better} than float by more than chance explains. {agreed}"
    return (
        f"The interval holds zero: on {units.count(e.images)} images a difference to float is not "
        f"shown, and one within the interval is not ruled out. {agreed}"
    )


def _unfinished(run: Run) -> list[str]:
    return [] if run.state == DONE else [f"The run is {run.state}: these are its answers so far."]


def uniform_of(subject: Subject) -> Run | None:
    """Return the uniform run whose BitOps are nearest to the run's; None where there is none."""
    spent = subject.cost(subject.allocation)
    alike = [run for run in subject.every if kind_of(run.recipe) == "uniform"]
    if spent is None or kind_of(subject.recipe) == "uniform" or not alike:
        return None

    def apart(run: Run) -> float:
        other = subject.cost(run.recipe.allocation)
        assert other is not None and spent is not None
        return abs(other.bitops - spent.bitops)

    return min(alike, key=apart)


def _against_uniform(subject: Subject) -> Html | None:
    """Compare with uniform bits of about the same budget, image by image."""
    even = uniform_of(subject)
    spent = None if even is None else subject.cost(even.recipe.allocation)
    if even is None or spent is None:
        return None
    try:
        gap, low, high = paired(subject.run.answers, even.answers)
    except ValueError:  # it was not named: that its answers are damaged is no matter here
        return None
    sure = "" if low > 0 or high < 0 else ", which may be chance"
    return tag(
        "p",
        f"The nearest uniform bits measured, {name_of(even.recipe)} (run {even.id}, "
        f"{units.size(spent.size_bytes)}, {units.large(spent.bitops)} BitOps): "
        f"{to_float(evaluation_of(even))}. On the same images this run is "
        f"{units.points(gap)} points ({units.points_between(low, high)}) against it{sure}.",
    )


def _figures(subject: Subject) -> Html:
    e, spent, plain = subject.evaluation, subject.cost(subject.allocation), subject.cost(None)
    bounds = units.points_between(e.difference_low, e.difference_high)
    figures = [
        ("Top-1", units.share(e.top1), units.interval(e.top1_low, e.top1_high)),
        ("Points to float", units.points(e.difference), bounds),
        ("Equal answers", units.share(e.agreement), f"divergence {e.divergence:.3f} nats"),
    ]
    if spent is not None and plain is not None:
        smaller = units.factor(plain.size_bytes / spent.size_bytes)
        less = units.factor(plain.bitops / spent.bitops)
        figures += [
            ("Model size", units.size(spent.size_bytes), f"{smaller} smaller than float"),
            ("BitOps an image", units.large(spent.bitops), f"{less} less than float"),
        ]
    return tag(
        "dl",
        *(
            tag("div", tag("dt", name), tag("dd", value), tag("dd", under, class_="under"))
            for name, value, under in figures
        ),
        class_="figures",
    )


def question(subject: Subject) -> Html:
    """Return what was asked."""
    recipe = subject.recipe
    return tag(
        "p",
        f"{_asked(recipe)} The float model's own answers to the same images are the measure. "
        f"It was asked on {_images(subject.run)} of {_folder(recipe)}; none of them calibrated.",
    )


def _asked(recipe: Recipe) -> str:
    how = f"the {recipe.preset} quantizer, calibrated on {recipe.calibration_images} images"
    if kind_of(recipe) == "uniform":
        return (
            f"How well does {recipe.model} answer with {recipe.budget} in every layer, under {how}?"
        )
    if kind_of(recipe) == "file":
        return (
            f"How well does {recipe.model} answer with the bits of the file {recipe.budget}, "
            f"under {how}?"
        )
    return (
        f"Which bits should each layer of {recipe.model} get within a budget of {recipe.budget}, "
        f"so that the least is lost? Bits were spent by {recipe.objective}, under {how}."
    )


def _folder(recipe: Recipe) -> str:
    return "the bundled digits" if recipe.data is None else f"the folder {Path(recipe.data).name}"
