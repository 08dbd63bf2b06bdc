"""Names from outside on every page: none reaches an element as Markdown."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import Message
from PIL import Image
from safetensors.torch import save_file
from streamlit.testing.v1 import AppTest

from app.budget import tabs
from app.state import budget, runs, selection
from quant.allocation.allocation_file import SCHEMA
from quant.history.runs import Runs
from tests.app import budget_pages as on
from tests.app import runs_made as made

Open = Callable[..., AppTest]
BAD = "![x](http://evil.test) :material/home: $x$ <b>b</b>"
AS_A_NAME = BAD.replace("/", "\u2215").replace("<b>b<\u2215b>", "<b>")  # of a folder: no slash
# What Streamlit does not draw as Markdown: of tables, charts, own components, boxes to write in.
PLAIN = {"alt", "id", "user_key", "widget_id", "code_text", "form_id", "query_param_key"}
PLAIN |= {"json", "spec", "arrow_data", "placeholder", "default", "file_name", "raw_values", "url"}
PLAIN |= {"query_string", "data", "element_id", "fragment_id", "active_script_hash", "value"}
LISTS = {"selectbox", "multiselect"}  # whose options are plain


def strings(message: Message) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of every field of an element."""
    for field, value in message.ListFields():
        plain = message.DESCRIPTOR.name.lower() in LISTS and field.name == "options"
        if field.name in PLAIN or plain:
            continue
        for one in value if field.is_repeated else [value]:
            if isinstance(one, Message):
                yield from strings(one)
            elif isinstance(one, str):
                yield f"{message.DESCRIPTOR.name}.{field.name}", one


def drawn(app: AppTest) -> dict[str, str]:
    """Every text of a page that mentions the hostile host or icon, by element."""
    elements = [e for root in (app.main, app.sidebar) for e in root]
    elements += [*app.toast]
    found: dict[str, str] = {}
    for element in elements:
        proto = getattr(element, "proto", None)
        if isinstance(proto, Message):
            found |= {name: text for name, text in strings(proto) if "evil.test" in text}
    return found


def check(app: AppTest, *where: str) -> None:
    """Assert that the name is on the page, and that it is escaped wherever it is drawn."""
    assert not app.exception
    found = drawn(app)
    assert found, f"the name is nowhere: {[error.value for error in app.error]}"
    for name, text in found.items():
        for raw in ("![x]", "[x](", ":material", "$x$", "<b>", "http:/"):
            assert raw not in text, f"{name}: {text}"
    for name in where:
        assert any(name in each for each in found), f"not in {name}, but in {list(found)}"


def folder(tmp_path: Path) -> Path:
    """A folder of ten classes, all with hostile names."""
    root = tmp_path / AS_A_NAME
    for number in range(10):
        one = root / f"{AS_A_NAME} {number}"
        one.mkdir(parents=True)
        for place in range(8):
            pixels = np.random.default_rng(place).integers(0, 255, (28, 28, 3)).astype("uint8")
            Image.fromarray(pixels).save(one / f"{AS_A_NAME} {place}.png")
    return root


def adopt(app: AppTest, name: str = "", checkpoint: str = "", images: str = "") -> None:
    """Fill in the form of the user's own model, and load it."""
    app.text_input(key=selection.OWN_NAME).set_value(name)
    app.text_input(key=selection.OWN_CHECKPOINT).set_value(checkpoint)
    app.text_input(key=selection.OWN_FOLDER).set_value(images)
    next(b for b in app.button if b.label == "Load").click().run()


@pytest.mark.parametrize("parameter", ["image", "class", "against", "run", "bits", "by", "w"])
def test_links(open_page: Open, parameter: str) -> None:
    check(open_page(**{parameter: BAD}))


@pytest.mark.parametrize("page", ["explain", "budget", "layers"])
def test_folders_and_their_classes(open_page: Open, tmp_path: Path, page: str) -> None:
    app = open_page()
    adopt(app, "digits-vit", images=str(folder(tmp_path)))
    if page != "explain":
        app.switch_page(f"app/views/{page}.py").run()
    check(app, "Markdown")


@pytest.mark.parametrize("what", ["name", "checkpoint", "images"])
def test_what_the_form_cannot_load(open_page: Open, what: str) -> None:
    app = open_page()
    adopt(app, **{what: AS_A_NAME if what == "checkpoint" else BAD})
    check(app, "Alert")


def test_tensors_of_a_checkpoint(open_page: Open, tmp_path: Path) -> None:
    from tests.app.runs_made import model

    weights = {
        name: each.contiguous() for name, each in model("digits-vit").model.state_dict().items()
    }
    path = tmp_path / "weights.safetensors"
    save_file({BAD: next(iter(weights.values())).clone(), **weights}, path)
    app = open_page()
    adopt(app, "digits-vit", checkpoint=str(path))
    check(app, "Alert")


def test_uploads(open_page: Open) -> None:
    app = open_page()
    app.session_state[selection.SOURCE] = "Your own"
    app.run()
    app.file_uploader(key=selection.UPLOAD).upload(f"{BAD}.png", b"no picture").run()
    check(app, "Alert")


@pytest.mark.parametrize("field", ["layers", "schema", "bits"])
def test_allocation_files(open_budget: Open, field: str) -> None:
    page = open_budget(lambda app: on.know_sensitivities(on.MODEL))
    layers: dict[str, Any] = {layer.name: {"weight": 4, "activation": 4} for layer in on.layers()}
    document: dict[str, Any] = {"schema": SCHEMA, "layers": layers}
    if field == "layers":
        layers[BAD] = layers.popitem()[1]
    elif field == "bits":
        layers[next(iter(layers))] = {"weight": BAD, "activation": BAD}
    else:
        document["schema"] = BAD
    data = json.dumps(document).encode()
    on.choose(page, budget.BELOW, tabs.LAYERS)
    page.file_uploader(key=budget.IMPORT).upload(f"{BAD}.json", data).run()
    check(page, "Alert")


def test_runs(open_page: Open, history: Runs) -> None:
    plain, four = made.recipe(None), made.recipe(4)
    for recipe in (
        plain,
        replace(four, budget=BAD, device=BAD, data=f"/x/{AS_A_NAME}"),
    ):
        made.keep(history, recipe, made.answers({1, 2}))
    history.note(2, BAD)
    history.pin(2, True)
    app = open_page("runs", run="2", model="digits-swin")
    check(app, "Markdown")
    assert app.session_state[runs.RUN.key] == 2
