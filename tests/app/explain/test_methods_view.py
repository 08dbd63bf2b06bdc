"""Methods side by side: made in the background, shown as they are, measured on demand."""

import json
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from streamlit.testing.v1 import AppTest

from app.first_screen import EXAMPLE_PAIR
from app.state import selection
from app.work import models
from assets.models.load import load_model
from assets.pictures import digits
from lrp.methods.catalogue import METHODS
from lrp.metrics.localisation import hits, mass

Open = Callable[..., AppTest]
RunUntil = Callable[[AppTest, Callable[[], object]], None]
VIEW = {"view": "Methods side by side"}


@pytest.fixture
def finish(run_until: RunUntil) -> Callable[[AppTest], AppTest]:
    def finished(app: AppTest) -> AppTest:
        run_until(app, lambda: not app.get("progress"))
        return app

    return finished


def captions(app: AppTest) -> list[str]:
    return [picture.proto.imgs[0].caption for picture in app.get("image")]


def table(app: AppTest) -> dict[str, dict[str, object]]:
    found = next(t.value for t in app.dataframe if "cost" in t.value)
    return {row["method"]: row.to_dict() for _, row in found.iterrows()}


def divided(app: AppTest) -> dict[str, dict[str, str]]:
    parts = [json.loads(c.proto.json) for c in app.get("bidi_component")]
    return next(part for part in parts if "before" in part)


def press(app: AppTest, label: str) -> None:
    next(button for button in app.button if button.label == label).click().run()
    assert not app.exception


@pytest.mark.parametrize("model", ["digits-vit", "digits-swin"])
def test_every_suitable_method_is_shown_with_its_cost(
    open_page: Open, finish: Callable[[AppTest], AppTest], model: str
) -> None:
    app = finish(open_page(model=model, image="pair-4", **VIEW))
    options = app.multiselect(key=selection.METHODS).options
    assert ("Attention rollout" in options) == (model == "digits-vit")
    names = [name for name, found in METHODS.items() if found.label in options]
    app.multiselect(key=selection.METHODS).set_value(names[::-1]).run()
    finish(app)
    assert [error.value for error in app.error] == []
    labels = [METHODS[name].label for name in names]
    assert list(table(app)) == labels
    for label in labels:
        cost = table(app)[label]["cost"]
        assert f"**{label}** {cost:.2g}×" in captions(app)
        assert cost > 0


def test_two_of_them_are_divided(open_page: Open, finish: Callable[[AppTest], AppTest]) -> None:
    app = finish(open_page(model="digits-vit", methods="Saliency", **VIEW))
    app.multiselect(key=selection.METHODS).set_value(["saliency", "lrp-qvit", "rollout"]).run()
    finish(app)
    app.selectbox(key=selection.LEFT).set_value("rollout").run()
    app.selectbox(key=selection.RIGHT).set_value("saliency").run()
    sides = divided(app)
    assert [sides[side]["label"] for side in ("before", "after")] == [
        "Attention rollout",
        "Saliency",
    ]
    assert sides["before"]["veil"] != sides["after"]["veil"]
    assert sides["before"]["ground"] == sides["after"]["ground"]
    assert "the same for every class" in " ".join(c.value for c in app.caption)


def test_faithfulness_is_measured_on_demand(
    open_page: Open, finish: Callable[[AppTest], AppTest]
) -> None:
    app = finish(open_page(model="digits-deit", image="pair-2", **VIEW))
    assert not app.get("plotly_chart")
    assert "faithfulness" not in next(iter(table(app).values()))
    app.toggle(key=selection.FAITHFUL).set_value(True).run()
    finish(app)
    assert app.get("plotly_chart")
    rows = table(app)
    best = max(rows, key=lambda label: rows[label]["faithfulness"])
    said = " ".join(caption.value for caption in app.caption)
    assert f"**{best}** orders this picture best" in said
    assert "`python -m lrp faithfulness`" in said


def test_what_lies_on_the_digit_is_measured_and_flattering(
    open_page: Open, finish: Callable[[AppTest], AppTest]
) -> None:
    drawn, loaded = digits.pair("validation", EXAMPLE_PAIR), load_model("digits-vit")
    label = drawn.labels[1]
    app = finish(open_page(model="digits-vit", **{"class": str(label)}, **VIEW))
    images, target = loaded.transform()(drawn.image)[None], torch.tensor([label])
    values = METHODS["attn-lrp"].maps(loaded.model, images, target)
    mask = torch.as_tensor(drawn.masks[1])[None]
    row = table(app)["AttnLRP"]
    assert row["on the digit"] == f"{100 * float(mass(values, mask)):.0f} %"
    assert row["strongest point"] == ("hit" if bool(hits(values, mask)) else "missed")
    assert "trained with these masks" in " ".join(c.value for c in app.caption)
    other = next(k for k in range(10) if k not in drawn.labels)
    app = finish(open_page(model="digits-vit", **{"class": str(other)}, **VIEW))
    assert "on the digit" not in table(app)["AttnLRP"]  # that class is nowhere in the picture


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Make saliency wait until this is set."""
    event, maps = threading.Event(), METHODS["saliency"].maps

    def slow(*args: object) -> object:
        assert event.wait(90)
        return maps(*args)  # type: ignore[arg-type]

    monkeypatch.setitem(METHODS, "saliency", replace(METHODS["saliency"], maps=slow))
    return event


def test_maps_appear_while_others_are_made_and_cancel_keeps_them(
    open_page: Open,
    finish: Callable[[AppTest], AppTest],
    run_until: RunUntil,
    held: threading.Event,
) -> None:
    app = finish(open_page(model="digits-vit", image="pair-5", methods="AttnLRP", **VIEW))
    app.multiselect(key=selection.METHODS).set_value(["attn-lrp", "saliency", "occlusion"]).run()
    run_until(app, lambda: "now Saliency" in app.get("progress")[0].proto.text)
    assert app.get("progress")[0].proto.text.startswith("1 of 3 done")
    assert [c.split("×")[0].rpartition(" ")[0] for c in captions(app) if "×" in c] == [
        "**AttnLRP**"
    ]
    assert {"Saliency: running", "Occlusion: waiting"} <= set(captions(app))
    press(app, "Cancel")
    assert not app.get("progress")
    assert {"Saliency: cancelled", "Occlusion: cancelled"} <= set(captions(app))
    assert list(table(app)) == ["AttnLRP"]
    held.set()
    press(app, "Make the rest")
    finish(app)
    assert list(table(app)) == ["AttnLRP", "Saliency", "Occlusion"]


def test_another_picture_withdraws_the_jobs_of_the_former(
    open_page: Open, run_until: RunUntil, held: threading.Event
) -> None:
    app = open_page(model="digits-vit", image="pair-6", methods="Saliency", **VIEW)
    app.multiselect(key=selection.METHODS).set_value(["saliency", "occlusion"]).run()
    wanted = [job for job in models.jobs()._jobs.values() if job.live]
    assert {job.title for job in wanted} == {"Saliency", "Occlusion"}
    app.session_state["_image"] = "pair-7"
    app.run()
    assert all(job.cancel.is_set() for job in wanted)
    held.set()
    run_until(app, lambda: not app.get("progress"))


def test_a_method_that_fails_says_so_and_the_others_are_shown(
    open_page: Open, finish: Callable[[AppTest], AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise ValueError("no tokens with a place")

    monkeypatch.setitem(METHODS, "grad-cam", replace(METHODS["grad-cam"], maps=broken))
    app = finish(open_page(model="digits-deit", image="pair-8", **VIEW))
    assert "Grad-CAM: failed, no tokens with a place" in captions(app)
    assert "AttnLRP" in table(app)
    assert "Grad-CAM" not in table(app)


def test_curves_that_fail_are_said_to(
    open_page: Open, finish: Callable[[AppTest], AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise ValueError("a map is not finite")

    monkeypatch.setattr("app.work.explanations.curves", broken)
    app = finish(open_page(model="digits-swin", image="image-3", faithfulness="true", **VIEW))
    assert "faithfulness of AttnLRP failed: a map is not finite" in app.error[0].value
    assert "AttnLRP" in table(app)


def test_a_link_to_two_methods_is_kept_while_they_are_made(
    open_page: Open, finish: Callable[[AppTest], AppTest], held: threading.Event
) -> None:
    app = open_page(model="digits-deit", image="pair-9", right="Grad-CAM", **VIEW)
    app.multiselect(key=selection.METHODS).set_value(["saliency", "attn-lrp", "grad-cam"]).run()
    assert app.selectbox(key=selection.RIGHT).value == "grad-cam"
    assert divided(app)["after"]["veil"] is None
    assert divided(app)["after"]["label"].startswith("Grad-CAM: ")
    held.set()
    finish(app)
    assert app.selectbox(key=selection.RIGHT).value == "grad-cam"
    assert divided(app)["after"]["veil"] is not None
    assert divided(app)["after"]["label"] == "Grad-CAM"


def test_no_method_at_all_is_said(open_page: Open, finish: Callable[[AppTest], AppTest]) -> None:
    app = finish(open_page(model="digits-vit", **VIEW))
    app.multiselect(key=selection.METHODS).set_value([]).run()
    assert not app.exception
    assert "at least one method" in app.info[0].value


def test_the_time_left_is_told_once_the_like_was_made(
    open_page: Open, finish: Callable[[AppTest], AppTest], held: threading.Event
) -> None:
    held.set()
    app = finish(open_page(model="digits-swin", image="pair-1", methods="Saliency", **VIEW))
    held.clear()
    app.session_state["_image"] = "pair-9"
    app.run()
    assert "about 1 s left" in app.get("progress")[0].proto.text
    held.set()
    finish(app)
