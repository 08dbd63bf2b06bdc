"""The whole report: one file that asks nothing of anyone, says all, and survives what is gone."""

import base64
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from lrp.engine.progress import Cancelled, Progress
from lrp.maps.heatmap import heatmap_alone
from lrp.propagation.trace import Trace
from quant.model.quantized_trace import QuantizedTrace
from quant.report import heatmaps
from quant.report.page import write
from quant.report.subject import Subject
from tests.app import runs_made as made
from tests.quant.report.parsed import Page, style_fetches

SECTIONS = [
    "What was found", "The question", "The choice, and how it was bought", "Bits by layer",
    "Accuracy against cost", "Accuracy by class", "Where the model looks, before and after",
    "What was exported", "How to repeat it", "Method and limits", "Words",
    "Versions and checksums",
]  # fmt: skip
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def headings(page: Page) -> list[str]:
    places = [page.text.find(f" {title} ") for title in SECTIONS]
    assert -1 not in places
    return [title for _, title in sorted(zip(places, SECTIONS, strict=True))]


def test_it_is_one_small_file_that_fetches_nothing(written: str) -> None:
    page = Page(written)
    assert page.faults == []
    assert page.fetched == []
    assert style_fetches(written) == []
    assert {"script", "link", "iframe", "form"} & {name for name, _ in page.tags} == set()
    assert len(written.encode("utf-8")) < 5_000_000
    policy = next(m["content"] for m in page.named("meta") if "http-equiv" in m)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_all_its_parts_stand_in_order(written: str) -> None:
    assert headings(Page(written)) == SECTIONS


def test_every_chart_has_words_and_a_table(written: str) -> None:
    page = Page(written)
    drawn = [svg for svg in page.named("svg") if svg.get("aria-hidden") != "true"]
    assert len(drawn) == 6  # the way, two strips, two costs, classes
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in drawn)
    assert len(page.named("details")) == 6  # two charts of cost share theirs; heatmaps have one
    assert len(page.named("figcaption")) == 5 + heatmaps.IMAGES


def test_eight_images_have_three_pictures_each(written: str) -> None:
    shown = [img for img in Page(written).named("img") if "width" in img and img["alt"]]
    pictures = [img for img in shown if img["width"] == str(heatmaps.WIDTH)]
    assert len(pictures) == 3 * heatmaps.IMAGES
    for img in pictures:
        data = base64.b64decode(img["src"].removeprefix("data:image/jpeg;base64,"))
        assert Image.open(BytesIO(data)).size == (heatmaps.WIDTH, heatmaps.WIDTH)
    assert len({img["src"] for img in pictures}) == len(pictures)


def test_maps_are_those_of_float_and_of_the_quantized_model(subject: Subject) -> None:
    found, missing = heatmaps.explain(subject, Progress())
    assert missing == []
    assert [one.place for one in found][:2] == [1, 2]  # whose answer changed
    calibrating, model = subject.opened.calibrating, made.model().model
    assert calibrating is not None
    one, target = found[1], int(subject.run.answers.reference[2])
    batch = made.sets()[1][2][0][None]
    traces: Sequence[Trace] = (
        Trace(model, batch),
        QuantizedTrace(batch, calibrating.calibration, subject.allocation),
    )
    for trace, side in zip(traces, (one.before, one.after), strict=True):
        expected = heatmap_alone(trace, target)[0].detach().numpy()
        np.testing.assert_array_equal(side.values, expected)
        chances = torch.softmax(trace.logits[0].detach(), 0).numpy()
        np.testing.assert_array_equal(side.probabilities, chances)
    assert one.alike.rank < 1


def test_it_can_be_stopped(subject: Subject) -> None:
    with pytest.raises(Cancelled):
        write(subject, progress=Progress(stopped=lambda: True))


def test_names_from_outside_stay_text(subject: Subject) -> None:
    recipe = replace(subject.recipe, model=HOSTILE, budget=HOSTILE, data=f"/x/{HOSTILE}",
                     checkpoint=HOSTILE)  # fmt: skip
    run = replace(subject.run, recipe=recipe, note=f"{HOSTILE}\u202e\udcff")
    opened = replace(subject.opened, classes=(HOSTILE,) * 10)
    html = write(replace(subject, run=run, opened=opened))
    page = Page(html)
    assert page.faults == []
    assert page.fetched == []
    assert page.named("script") == []
    assert "<script" not in html
    assert HOSTILE in page.text
    html.encode("utf-8")


def test_where_the_model_is_gone_the_rest_is_told(bare: Subject) -> None:
    html = write(bare)
    page = Page(html)
    assert page.faults == []
    assert headings(page) == SECTIONS
    assert "Not all could be told: The model is not here: it was deleted." in page.text
    assert page.named("img") == []
    assert "95.0 %" in page.text  # 57 of 60
    assert len(page.table("weight bits")) == len(bare.allocation)


def test_images_that_cannot_be_read_are_left_out(subject: Subject) -> None:
    class Torn:
        key, indices = "torn", tuple(range(60))

        def __len__(self) -> int:
            return 60

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            if index == 1:
                raise ValueError("seven.png is damaged")
            return made.sets()[1][index]

        def picture(self, index: int) -> Image.Image:
            return made.sets()[1].picture(index)

    opened = replace(subject.opened, images=Torn())
    found, missing = heatmaps.explain(replace(subject, opened=opened), Progress())
    assert len(found) == heatmaps.IMAGES - 1
    assert missing == ["An image is left out: seven.png is damaged."]


def test_a_run_that_was_stopped_says_so(subject: Subject) -> None:
    answers = subject.run.answers.part(0, 20)
    run = replace(subject.run, counts=answers.counts(), state="stopped", read=lambda: answers)
    text = Page(write(replace(subject, run=run))).text
    assert "20 of 60 images" in text
    assert "The run is stopped: these are its answers so far." in text


def test_both_themes_and_paper_are_styled(written: str) -> None:
    assert "@media screen and (prefers-color-scheme: dark)" in written
    assert "@media print" in written
    assert "size: A4" in written
