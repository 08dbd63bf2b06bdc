"""The layers page: one layer apart, the whole model in the background, the lesson."""

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from app.state import quantizer, selection
from app.state.entry import Entry
from quant.calibration.presets import PRESETS

Open = Callable[..., AppTest]
RunUntil = Callable[[AppTest, Callable[[], object]], None]
LAYER = "layers.1.blocks.0.mlp.fc1"
QUICK = {"model": "digits-swin", "preset": "repq-vit", "layer": LAYER}
NOTHING: Entry[None] = Entry("_current", None, clean=lambda selected: None)


def said(app: AppTest) -> str:
    return " ".join(text.value for text in (*app.caption, *app.markdown))


@pytest.fixture
def layers(open_page: Open, run_until: RunUntil) -> AppTest:
    app = open_page("layers", **QUICK)
    run_until(app, lambda: "goes to other tokens" in said(app))
    return app


def choose_layer(app: AppTest, name: str, run_until: RunUntil) -> None:
    app.selectbox(key=selection.LAYER.widget).set_value(name).run()
    run_until(app, lambda: f"layer={name}" and "goes to other tokens" in said(app))


def errors(app: AppTest) -> list[str]:
    return [error.value for error in app.error]


def test_it_opens_at_the_layer_chosen_elsewhere(layers: AppTest) -> None:
    assert layers.selectbox(key=selection.LAYER.widget).value == LAYER
    assert "its output has an SQNR of" in said(layers)
    assert "Input" in said(layers)
    assert "16 levels" in said(layers)
    assert errors(layers) == []


def test_another_width_has_another_error(layers: AppTest, run_until: RunUntil) -> None:
    before = said(layers)
    layers.selectbox(key=quantizer.WEIGHT.widget).set_value(8).run()
    run_until(layers, lambda: "At 8 bits by 4" in said(layers))
    assert before != said(layers)
    run_until(layers, lambda: "w" in layers.query_params)  # written once nothing is waited for
    assert layers.query_params["w"] == "8"


def test_the_threshold_is_said_and_moves_without_a_model(
    layers: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*args: object, **kwargs: object) -> None:
        raise AssertionError("the model ran")

    monkeypatch.setattr("lrp.engine.interpreter.Interpreter.run", forbidden)
    assert "K = 2.0 touches" in said(layers)
    layers.session_state["_clip"] = 0.4
    layers.run()
    assert not layers.exception
    text = next(m.value for m in layers.markdown if m.value.startswith("K = 0.4 touches"))
    touched, total = text.split("**")[1].split(" of ")
    assert 0 < int(touched) <= int(total)
    ways = next(t.value for t in layers.dataframe if "way" in t.value)
    assert list(ways["channels touched"])[2] == touched


def test_only_what_follows_a_layernorm_has_thresholds(layers: AppTest, run_until: RunUntil) -> None:
    choose_layer(layers, "layers.1.blocks.0.mlp.fc2", run_until)
    run_until(layers, lambda: "K = " not in said(layers))
    assert next(h.value for h in layers.subheader) == "Before and after"


def test_an_attention_product_has_two_activations(layers: AppTest, run_until: RunUntil) -> None:
    choose_layer(layers, "layers.1.blocks.0.attn.matmul2", run_until)
    run_until(layers, lambda: "Attention probabilities" in said(layers))
    assert layers.selectbox(key=quantizer.WEIGHT.widget).disabled
    assert "Values" in said(layers)


def test_a_link_names_preset_and_widths(open_page: Open) -> None:
    app = open_page("layers", model="digits-swin", preset="lrp-qvit", w="3", a="6", layers="Lesson")
    assert app.query_params["preset"] == "lrp-qvit"
    app.query_params["w"] = "3"
    assert quantizer.DEFAULT_WIDTH == 4


def test_the_link_to_a_layer_that_was_not_chosen_opens_it(open_page: Open) -> None:
    app = open_page(model="digits-swin", view="Through depth")
    shown = app.selectbox(key=selection.LAYER.widget).value
    assert selection.LAYER.parameter not in app.query_params
    app.query_params[selection.LAYER.parameter] = shown  # as its link to the Layers page does
    app.switch_page("app/views/layers.py").run()
    assert app.selectbox(key=selection.LAYER.widget).value == shown


@pytest.mark.parametrize("junk", ["9", "x", "", "-1"])
def test_junk_in_a_link_is_the_default(open_page: Open, junk: str) -> None:
    app = open_page("layers", model="digits-swin", preset=junk, w=junk, a=junk, layers="Lesson")
    assert "preset" not in app.query_params
    assert not app.exception
    assert errors(app) == []


def test_the_whole_model_is_measured_in_the_background(
    open_page: Open, run_until: RunUntil
) -> None:
    app = open_page("layers", **QUICK, layers="Whole model")
    run_until(app, lambda: app.dataframe)
    table = app.dataframe[0].value
    assert list(table.columns) == ["layer", *(f"{bits} bit" for bits in range(2, 9))]
    assert len(table) == 40
    assert (table["8 bit"] > table["2 bit"]).all()
    assert "suffers most" in said(app)
    assert f"Chosen: **{LAYER}**" in said(app)
    next(b for b in app.button if b.label == "Look into this layer").click().run()
    run_until(app, lambda: "goes to other tokens" in said(app))
    assert "a bit brings" in said(app)  # the curve comes from the same measurement


def test_sums_and_norms_are_layers_of_their_own_where_they_are_quantized(
    open_page: Open, run_until: RunUntil
) -> None:
    app = open_page("layers", **QUICK, layers="Whole model", stream="8")
    run_until(app, lambda: len(app.dataframe) > 1)
    layers, between = (frame.value for frame in app.dataframe)
    assert len(layers) == 40  # which can be chosen: none of them is a sum
    assert list(between.columns) == ["name", "kind", "bits", "SQNR"]
    assert set(between["kind"]) == {"residual sum", "LayerNorm output"}
    assert set(between["bits"]) == {8}
    assert "layers.1.blocks.0.add2" in set(between["name"])
    assert "layers.1.blocks.0.norm1" in set(between["name"])
    assert between["SQNR"].between(15, 60).all()
    worst = between["name"][between["SQNR"].idxmin()]
    assert f"**{worst}** has the least SQNR" in said(app)
    assert not set(between["name"]) & set(layers["layer"])
    app.selectbox(key=quantizer.STREAM.widget).set_value("off").run()
    run_until(app, lambda: len(app.dataframe) == 1)
    assert "stream" not in app.query_params


def test_the_preset_says_that_the_stream_is_quantized(open_page: Open, run_until: RunUntil) -> None:
    app = open_page("layers", **QUICK, stream="16")
    run_until(app, lambda: "goes to other tokens" in said(app))
    assert "LayerNorm outputs have 16 bits" in said(app)
    assert errors(app) == []


def test_the_sweep_can_be_cancelled_and_started_again(open_page: Open, run_until: RunUntil) -> None:
    link = {**QUICK, "model": "digits-deit", "preset": "lrp-qvit", "layer": ""}
    app = open_page("layers", **link, layers="Whole model")
    assert app.progress
    next(b for b in app.button if b.label == "Cancel").click().run()
    run_until(app, lambda: not app.progress)
    assert any(b.label == "Measure all layers at all widths" for b in app.button)


def test_the_lesson_needs_no_model(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "CURRENT", NOTHING)
    app = open_page("layers", layers="Lesson")
    assert "8 levels stand" in said(app)
    app.session_state["_lesson_bits"] = 2
    app.session_state["_lesson_clip"] = 50
    app.run()
    assert "4 levels stand" in said(app)
    assert "are clipped" in said(app)
    assert app.dataframe[0].value["clipped"].any()


def test_without_a_model_or_images_it_says_so(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "CURRENT", NOTHING)
    app = open_page("layers")
    assert "Choose a model" in app.info[0].value


def test_a_layer_that_cannot_be_calibrated_is_named(
    open_page: Open, run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise ValueError("the input of blocks.3.mlp.fc1 is not finite: check the weights")

    monkeypatch.setattr("quant.calibration.calibration.Solver", broken)
    app = open_page("layers", model="digits-vit", preset="lrp-qvit", a="7")
    run_until(app, lambda: app.error)
    assert "blocks.3.mlp.fc1 is not finite" in errors(app)[0]


@pytest.mark.parametrize("page", ["layers", "budget"])
def test_presets_are_offered_with_their_sentences(
    open_page: Open, run_until: RunUntil, page: str
) -> None:
    app = open_page(page, model="digits-swin", preset="lrp-qvit", by="lrp")
    run_until(app, lambda: not app.progress)
    box = app.selectbox(key=quantizer.PRESET.widget)
    assert list(box.options) == list(PRESETS)
    assert box.value == "lrp-qvit"
    assert all(preset.says in box.help for preset in PRESETS.values())
    assert page == "budget" or PRESETS["lrp-qvit"].says in said(app)
    assert app.query_params["preset"] in ("lrp-qvit", ["lrp-qvit"])
