"""What is downloaded is what is shown, with what made it."""

import json
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest

from app.explain import downloads
from assets.models.load import load_model
from assets.pictures import digits
from lrp.engine.layers import list_layers
from lrp.maps.heatmap import heatmap
from lrp.propagation.relevance import relevance
from lrp.propagation.rules import ATTN_LRP_GAMMA
from lrp.propagation.trace import Trace

Open = Callable[..., AppTest]
RunUntil = Callable[[AppTest, Callable[[], object]], None]
LINK = {"model": "digits-deit", "image": "pair-1", "class": "3"}


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[], bytes | str]]:
    """Catch what the buttons would hand out, to call it after the page has run."""
    caught: dict[str, Callable[[], bytes | str]] = {}

    def button(label: str, make: Callable[[], bytes | str], name: str, *args, **kwargs) -> None:
        caught[name] = make

    monkeypatch.setattr(downloads.st, "download_button", button)
    return caught


def test_arrays_and_description_are_those_of_the_rules_chosen(open_page: Open, files) -> None:
    open_page(**LINK, rules="AttnLRP, gamma", depth="blocks.2")
    loaded = load_model("digits-deit")
    images = loaded.transform()(digits.pair("validation", 1).image)[None]
    trace = Trace(loaded.model, images, ATTN_LRP_GAMMA)
    found = relevance(trace, 3)
    arrays = np.load(BytesIO(files["relevance.npz"]()))
    assert arrays["blocks.2"] == pytest.approx(heatmap(trace, found, "blocks.2")[0].numpy())
    assert arrays["pixels"].shape == (64, 64)
    names = {layer.name for layer in list_layers(loaded.model, loaded.input_size)}
    assert names - set(arrays) == {"head", "head_dist"}  # those see pooled features
    facts = json.loads(files["explanation.json"]())
    assert facts["rules"]["name"] == "ATTN_LRP_GAMMA"
    assert facts["rules"]["linear"] == "gamma"
    assert (facts["image"], facts["method"], facts["depth"]) == (
        "pair-1",
        "attn-lrp-gamma",
        "blocks.2",
    )
    assert (facts["target"]["class"], facts["weights"]) == (3, loaded.key)
    assert facts["versions"]["torch"] == torch.__version__


def test_a_map_of_attention_is_named_as_what_it_is(
    open_page: Open, files, run_until: RunUntil
) -> None:
    app = open_page(**LINK, rules="Gradient-weighted attention")
    run_until(app, lambda: files)  # a busy machine makes the map while the page waits
    arrays = np.load(BytesIO(files["relevance.npz"]()))
    assert list(arrays) == ["map"]
    assert arrays["map"].min() >= 0
    facts = json.loads(files["explanation.json"]())
    assert facts["method"] == "gradient-attention"
    assert "rules" not in facts
    assert facts["target"]["class"] == 3


def test_pictures_are_png(open_page: Open, files) -> None:
    open_page(**LINK)
    overlay = Image.open(BytesIO(files["overlay.png"]()))
    row = Image.open(BytesIO(files["relevance.png"]()))
    assert overlay.format == "PNG"
    assert overlay.size == (448, 448)
    assert row.size == (4 * 448 + 3 * 8, 448)
    inside = np.asarray(row.convert("RGB"))[:, 456 : 456 + 448]
    assert np.array_equal(inside, np.asarray(overlay.convert("RGB")))
