"""Relevance through depth: what is left, which block is marked, and the layer below."""

import json
from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from app.explain.depth import counterpart
from app.state import selection
from assets.models.load import load_model
from assets.pictures import digits
from lrp.engine.layers import Layer, list_layers
from lrp.propagation.relevance import relevance
from lrp.propagation.rules import PRESETS
from lrp.propagation.trace import Trace

Open = Callable[..., AppTest]
VIEW = {"view": "Through depth"}
MODELS = ("digits-vit", "digits-deit", "digits-swin")


def strip(app: AppTest) -> dict:
    parts = [json.loads(c.proto.json) for c in app.get("bidi_component")]
    return next(part for part in parts if part.get("label") == "Maps through depth")


def group(app: AppTest, key: str):
    return next(g for g in app.get("button_group") if g.key == key)


def captions(app: AppTest) -> list[str]:
    return [picture.proto.imgs[0].caption for picture in app.get("image")]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("rules", ["AttnLRP", "AttnLRP, gamma", "LRP-QViT"])
def test_each_map_says_what_is_left_there(open_page: Open, model: str, rules: str) -> None:
    app = open_page(model=model, rules=rules, **VIEW)
    name = {"AttnLRP": "ATTN_LRP", "LRP-QViT": "LRP_QVIT"}.get(rules, "ATTN_LRP_GAMMA")
    loaded = load_model(model)
    images = loaded.transform()(digits.pair("validation", 0).image)[None]
    trace = Trace(loaded.model, images, PRESETS[name])
    found = relevance(trace)
    left = {"pixels": found.pixels, **found.blocks}
    said = [item["caption"].rpartition(": ")[2] for item in strip(app)["items"]]
    assert [item["identifier"] for item in strip(app)["items"]] == list(left)
    assert said == [f"{100 * float(r.sum() / found.start[0]):.0f} %" for r in left.values()]
    assert app.get("plotly_chart")
    tables = [t.value for t in app.dataframe]
    lost = next(t for t in tables if "lost (points)" in t)
    parts = lost.drop(columns=["down to", "left (%)", "lost (points)"])
    assert parts.sum(axis=1).tolist() == pytest.approx(lost["lost (points)"].tolist(), abs=0.5)


def test_maps_of_attention_are_not_offered(open_page: Open) -> None:
    app = open_page(model="digits-vit", **VIEW)
    assert app.selectbox(key=selection.RULES).options == ["AttnLRP", "AttnLRP, gamma", "LRP-QViT"]
    app = open_page(model="digits-vit", rules="Attention rollout", **VIEW)
    assert app.selectbox(key=selection.RULES).value == "attn-lrp"


def test_the_block_of_the_chosen_layer_is_marked(open_page: Open) -> None:
    app = open_page(model="digits-swin", layer="layers.1.blocks.1.mlp.fc1", **VIEW)
    assert strip(app)["chosen"] == "layers.1.blocks.1"
    app.selectbox(key=selection.LAYER.widget).set_value("patch_embed.proj").run()
    assert strip(app)["chosen"] == "pixels"
    app.selectbox(key=selection.LAYER.widget).set_value("head.fc").run()
    assert strip(app)["chosen"] == ""


@pytest.fixture(scope="module")
def layers() -> dict[str, Layer]:
    loaded = load_model("digits-swin")
    return {layer.name: layer for layer in list_layers(loaded.model, loaded.input_size)}


@pytest.mark.parametrize(
    ("name", "depth", "expected"),
    [
        ("layers.0.blocks.0.mlp.fc1", "layers.2.blocks.1", "layers.2.blocks.1.mlp.fc1"),
        ("layers.0.blocks.0.attn.matmul1", "pixels", "patch_embed.proj"),
        ("head.fc", "layers.1.blocks.0", "layers.1.blocks.0.attn.matmul2"),
        # the patch embedding and attention both call their layer proj
        ("patch_embed.proj", "layers.1.blocks.0", "layers.1.blocks.0.attn.proj"),
    ],
)
def test_a_click_keeps_the_part_that_the_layer_plays(
    layers: dict[str, Layer], name: str, depth: str, expected: str
) -> None:
    assert counterpart(tuple(layers.values()), layers[name], depth) == expected


@pytest.mark.parametrize("model", MODELS)
def test_heads_are_shown_in_the_image_and_as_attention(open_page: Open, model: str) -> None:
    block = "layers.1.blocks.1" if model == "digits-swin" else "blocks.3"
    heads = load_model(model).model.get_submodule(f"{block}.attn").num_heads
    app = open_page(model=model, layer=f"{block}.attn.matmul2", **VIEW)
    assert sum(caption.startswith("head ") for caption in captions(app)) == heads
    group(app, selection.HEADS).set_value("As attention").run()
    assert sum(caption.startswith("head ") for caption in captions(app)) == heads
    app.selectbox(key=selection.LAYER.widget).set_value(f"{block}.attn.matmul1").run()
    assert not app.exception
    assert group(app, selection.HEADS).options == ["In the image"]  # it has no attention of its own
    app.selectbox(key=selection.LAYER.widget).set_value(f"{block}.mlp.fc1").run()
    assert not any(caption.startswith("head ") for caption in captions(app))
