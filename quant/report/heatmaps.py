"""Eight images with where the model looks: in float, and through its integers."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import PurePath

import numpy as np
import torch
from PIL import Image

from lrp.engine.interpreter import UnsupportedOperation
from lrp.engine.progress import Progress
from lrp.maps.heatmap import heatmap_alone
from lrp.maps.pictures import enlarge, from_model_input, legend, overlay, scale
from lrp.metrics.similarity import Likeness, chance_overlap, likeness
from lrp.propagation.trace import Trace
from quant.evaluation.answers import Answers
from quant.experiments.calibrating import Calibrating
from quant.model.quantized_trace import QuantizedTrace
from quant.report.drawing import units
from quant.report.drawing.elements import Html, data_url, folded, join, table, tag
from quant.report.subject import Loaded, Pictures, Subject

IMAGES = 8
WIDTH, QUALITY = 224, 84  # of pictures, and of JPEG


@dataclass(frozen=True, eq=False)
class Side:
    """What one configuration makes of an image: probabilities (K,), and a class's map (h, w)."""

    probabilities: np.ndarray
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Explained:
    """An image in float and through the run's integers, for the class that float answers.

    Attributes:
        place: among those that were measured.
        seen: as the model sees it.
    """

    place: int
    name: str
    seen: Image.Image
    before: Side
    after: Side

    @property
    def alike(self) -> Likeness:
        """How alike both maps are."""
        return likeness(torch.from_numpy(self.before.values), torch.from_numpy(self.after.values))


def choose(answers: Answers, count: int = IMAGES) -> list[int]:
    """Return the places of images to show: those whose answer changed, the most changed first;
    then the first of the others."""
    moved = answers.predicted != answers.reference
    changed = np.flatnonzero(moved)
    changed = changed[np.argsort(-answers.divergence[changed], kind="stable")]
    return [*changed.tolist(), *np.flatnonzero(~moved).tolist()][:count]


def explain(subject: Subject, progress: Progress) -> tuple[list[Explained], list[str]]:
    """Explain images in float and through the run's integers; also return why any is left out.

    Raises:
        Cancelled: the work was to stop.
    """
    opened, found, missing = subject.opened, [], []
    model, images, calibrating = opened.model, opened.images, opened.calibrating
    if model is None or images is None or calibrating is None:
        return [], []
    places = choose(subject.run.answers)
    try:
        calibrating.calibration.solve_for(subject.allocation, progress)
        for done, place in enumerate(places):
            progress(done, len(places), "heatmap")
            try:
                found.append(_explained(subject, model, images, calibrating, place))
            except UnsupportedOperation:
                raise
            except ValueError as error:  # a file is damaged, or gone
                missing.append(f"An image is left out: {error}.")
        progress(len(places), len(places), "heatmap")
    except ValueError as error:  # an operation without a rule, or an image that calibrates is gone
        return [], [f"Heatmaps cannot be drawn: {error}."]
    return found, missing


def _explained(
    subject: Subject, model: Loaded, images: Pictures, calibrating: Calibrating, place: int
) -> Explained:
    prepared, _ = images[place]
    batch = prepared[None].to(calibrating.device)
    target = int(subject.run.answers.reference[place])
    path = images.picture(place).info.get("name", f"picture {images.indices[place] + 1}")
    name = PurePath(str(path)).name
    before = _side(Trace(model.model, batch), target)
    calibration = calibrating.calibration
    after = _side(QuantizedTrace(batch, calibration, subject.allocation), target)
    config = model.data_config
    seen = from_model_input(prepared.numpy(), config["mean"], config["std"])
    return Explained(place, name, seen, before, after)


def _side(trace: Trace, target: int) -> Side:
    probabilities = torch.softmax(trace.logits[0].detach(), 0)
    values = heatmap_alone(trace, target)[0]
    return Side(probabilities.cpu().numpy(), values.detach().cpu().numpy())


def section(subject: Subject, found: Sequence[Explained], missing: Sequence[str]) -> Html:
    """Return the images with both maps, what they say, and a table."""
    notes = [tag("p", why, class_="note") for why in missing]
    if not found:
        why = "Images and heatmaps need the model and its images, which are not both here."
        return join([*notes, *([] if notes else [tag("p", why, class_="note")])])
    cards = tag("div", *(_card(subject, one) for one in found), class_="cards")
    numbers = folded("Heatmaps as numbers", _table(subject, found), open_=True)
    return join([tag("p", sentence(subject, found)), _scale(), cards, *notes, numbers])


def sentence(subject: Subject, found: Sequence[Explained]) -> str:
    """Return in words which images these are, and how far the explanations survive."""
    answers = subject.run.answers
    changed = sum(answers.predicted[e.place] != answers.reference[e.place] for e in found)
    ranks = [one.alike.rank for one in found]
    places = found[0].before.values.size
    chance = units.share(chance_overlap(places), 0)
    which = (
        f"Of these {len(found)} images {changed} changed their answer; they come first, the most "
        "changed before others, so they are no fair sample."
        if changed
        else f"These are the first {len(found)} images measured; none changed its answer."
    )
    return (
        f"{which} Each is explained for float's answer, before (float) and after (through the "
        f"quantized layers' own values): red speaks for it, blue against, each map on its own "
        f"scale. The rank correlation of both maps over {units.count(places)} places is "
        f"{float(np.mean(ranks)):.2f} on average, {min(ranks):.2f} at least (1 is the same order, "
        f"0 none in common); of the strongest tenth chance alone would share {chance}."
    )


def _scale() -> Html:
    colours = tag("img", src=_jpeg(legend(200, 12)), width=200, height=12,
                  alt="colour scale from blue over white to red")  # fmt: skip
    return tag("p", "against ", colours, " for", class_="legend")


def _card(subject: Subject, one: Explained) -> Html:
    answers, seen = subject.run.answers, enlarge(one.seen, WIDTH)
    label, plain, quantized = (
        int(column[one.place]) for column in (answers.labels, answers.reference, answers.predicted)
    )
    name = subject.class_name
    before, after = (overlay(seen, scale(side.values)) for side in (one.before, one.after))
    pictures = (
        (seen, "the picture", f"{one.name}, {name(label)}"),
        (before, "before, float", f"where float sees {name(plain)}"),
        (after, "after, quantized", f"where the quantized model sees {name(plain)}"),
    )
    moved = "changed" if plain != quantized else "same answer"
    said = (
        f"float {_answer(subject, plain, one.before)} → quantized "
        f"{_answer(subject, quantized, one.after)}; correlation {one.alike.rank:.2f}"
    )
    return tag(
        "figure",
        tag("div", *(_picture(*each) for each in pictures), class_="triple"),
        tag("figcaption", tag("b", name(label)), tag("span", moved, class_="moved"), tag("br"),
            said, tag("br"), tag("span", one.name, class_="file")),
    )  # fmt: skip


def _answer(subject: Subject, label: int, side: Side) -> str:
    return f"{subject.class_name(label)} ({units.share(float(side.probabilities[label]), 0)})"


def _picture(image: Image.Image, title: str, words: str) -> Html:
    shown = tag("img", src=_jpeg(image), width=image.width, height=image.height, alt=words)
    return tag("div", shown, tag("small", title))


def _jpeg(image: Image.Image) -> Html:
    buffer = BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return data_url(buffer.getvalue(), "image/jpeg")


def _table(subject: Subject, found: Sequence[Explained]) -> Html:
    answers, name = subject.run.answers, subject.class_name
    head = ["image", "class", "float", "quantized", "correlation", "strongest tenth shared"]
    rows = [
        [
            one.name,
            name(int(answers.labels[one.place])),
            _answer(subject, int(answers.reference[one.place]), one.before),
            _answer(subject, int(answers.predicted[one.place]), one.after),
            f"{one.alike.rank:.2f}",
            units.share(one.alike.overlap, 0),
        ]
        for one in found
    ]
    return table(head, rows, words=4)
