"""The explain page, with the real bundled models."""

import threading
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest

from app.explain import heatmap
from app.first_screen import EXAMPLE_PAIR
from app.parts import gallery, job_panel
from app.state import selection
from app.work import explanations
from assets.errors import InputError
from assets.models.load import BUNDLED, load_model
from assets.pictures import digits
from lrp.engine.interpreter import UnsupportedOperation

Open = Callable[..., AppTest]
RunUntil = Callable[[AppTest, Callable[[], object]], None]


def png(size: tuple[int, int] = (90, 60), mode: str = "RGB", kind: str = "PNG") -> bytes:
    noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(noise).convert(mode).save(buffer, kind)
    return buffer.getvalue()


def group(app: AppTest, key: str):
    return next(g for g in app.get("button_group") if g.key == key)


def errors(app: AppTest) -> list[str]:
    return [error.value for error in app.error]


def texts(app: AppTest) -> str:
    return " ".join(e.value for e in [*app.caption, *app.markdown])


def progress(app: AppTest) -> str:
    return " ".join(bar.proto.text for bar in app.get("progress"))


def press(app: AppTest, label: str) -> None:
    next(button for button in app.button if button.label == label).click().run()
    assert not app.exception


def captions_of_images(app: AppTest) -> list[str]:
    return [picture.proto.imgs[0].caption for picture in app.get("image")]


@pytest.mark.parametrize("model", BUNDLED)
def test_each_bundled_model_is_explained(open_page: Open, model: str) -> None:
    app = open_page(model=model)
    assert errors(app) == []
    assert app.selectbox(key=selection.MODEL).value == model
    offered = [int(o.split(":")[0]) for o in app.radio(key=selection.TARGET.widget).options]
    loaded, drawn = load_model(model), digits.pair("validation", EXAMPLE_PAIR)
    top = loaded.model(loaded.transform()(drawn.image)[None]).topk(5).indices[0].tolist()
    assert offered[:5] == top
    assert set(offered[5:]) == set(drawn.labels) - set(top)  # what is there can be asked about
    assert str(top[0]) in texts(app)
    assert any("rather than" in caption for caption in captions_of_images(app))


def test_every_control_of_the_map_can_be_moved(open_page: Open) -> None:
    app = open_page(model=BUNDLED[-1])
    app.toggle(key=selection.SMOOTH).set_value(False).run()
    for key in (selection.DEPTH.widget, selection.RIVAL.widget, selection.RULES):
        for index in range(len(app.selectbox(key=key).options)):
            app.selectbox(key=key).select_index(index).run()
            assert not app.exception
            assert errors(app) == []
    for key in (selection.SHOWN, selection.DIVIDE):
        for option in group(app, key).options:
            group(app, key).set_value(option).run()
            assert not app.exception


def test_every_layer_can_be_looked_into(open_page: Open) -> None:
    app = open_page(model=BUNDLED[-1], view="Through depth")
    for layer in app.selectbox(key=selection.LAYER.widget).options:
        app.selectbox(key=selection.LAYER.widget).set_value(layer).run()
        assert not app.exception
        assert errors(app) == []
        assert app.query_params["layer"] == layer


def test_maps_of_attention_are_for_models_that_attend_to_all(open_page: Open) -> None:
    windowed = open_page(model="digits-swin").selectbox(key=selection.RULES).options
    app = open_page(model="digits-vit", rules="Transformer attribution")
    assert windowed == ["AttnLRP", "AttnLRP, gamma", "LRP-QViT"]
    assert app.selectbox(key=selection.RULES).value == "transformer-attribution"
    assert selection.DEPTH.widget not in app.session_state  # attention has no depth
    assert errors(app) == []
    app.selectbox(key=selection.MODEL).set_value("digits-swin").run()
    assert app.selectbox(key=selection.RULES).value == "attn-lrp"


def test_rollout_is_said_to_ask_about_no_class(open_page: Open) -> None:
    said = "the same for every class"
    assert said in texts(open_page(model="digits-vit", rules="Attention rollout"))
    assert said not in texts(open_page(model="digits-vit", rules="AttnLRP"))


def test_the_difference_is_that_of_the_two_maps(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[np.ndarray] = []
    scaled = heatmap.heatmaps.scaled

    def seen(values: np.ndarray, supporting: bool = False) -> np.ndarray:
        drawn.append(values)
        return scaled(values, supporting)

    monkeypatch.setattr(heatmap.heatmaps, "scaled", seen)
    app = open_page(model="digits-deit", divide="Class | class")
    assert errors(app) == []
    first, second, second_again, difference = drawn[:4]
    assert np.array_equal(second, second_again)
    assert np.allclose(difference, first - second)
    assert np.abs(difference).max() > 0


def test_another_target_needs_no_other_forward_pass(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[object] = []
    trace = explanations.Trace

    def counted(*args: object) -> object:
        runs.append(args)
        return trace(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(explanations, "Trace", counted)
    app = open_page(model="digits-swin", image="image-77")
    first = len(runs)
    for option in app.radio(key=selection.TARGET.widget).options[1:]:
        target = int(option.split(":")[0])
        app.radio(key=selection.TARGET.widget).set_value(target).run()
        assert app.query_params["class"] == str(target)
        rival = app.selectbox(key=selection.RIVAL.widget).value
        assert f"**{target}** rather than **{rival}**" in captions_of_images(app)
    assert first == 1
    assert len(runs) == first


def test_a_model_without_rules_is_said_to_be_the_models_fault(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: object) -> object:
        raise UnsupportedOperation("no relevance rule for 'softsign' in norm")

    monkeypatch.setattr(explanations, "Trace", refused)
    app = open_page(model="digits-deit", image="image-78")
    sentence = "This model cannot be explained: no relevance rule for 'softsign' in norm."
    assert [e for e in errors(app) if e.startswith(sentence)]


def test_a_link_opens_the_same_view(open_page: Open) -> None:
    asked = {"model": "digits-swin", "image": "pair-3", "class": "8", "against": "1"}
    app = open_page(**asked, depth="pixels", show="For only", divide="Class | class")
    assert app.radio(key=selection.TARGET.widget).value == 8
    assert app.selectbox(key=selection.RIVAL.widget).value == 1
    assert app.selectbox(key=selection.DEPTH.widget).value == "pixels"
    assert group(app, selection.SOURCE).value == "Two digits"
    assert [group(app, key).value for key in (selection.SHOWN, selection.DIVIDE)] == [
        "For only",
        "Class | class",
    ]
    app = open_page(**asked, view="Through depth", layer="head.fc", rules="LRP-QViT")
    assert app.selectbox(key=selection.LAYER.widget).value == "head.fc"
    assert app.selectbox(key=selection.RULES).value == "lrp-qvit"


def test_the_chosen_layer_is_chosen_on_every_page(open_page: Open) -> None:
    app = open_page(model="digits-swin", view="Through depth")
    app.selectbox(key=selection.LAYER.widget).set_value("layers.1.blocks.0.mlp.fc2").run()
    app.switch_page("app/views/budget.py").run()
    assert app.query_params["layer"] == "layers.1.blocks.0.mlp.fc2"
    app.switch_page("app/views/explain.py").run()
    assert app.selectbox(key=selection.LAYER.widget).value == "layers.1.blocks.0.mlp.fc2"


def test_what_takes_long_shows_progress_and_can_be_cancelled(
    open_page: Open, monkeypatch: pytest.MonkeyPatch, run_until: RunUntil
) -> None:
    held, trace = threading.Event(), explanations.Trace

    def slow(*args: object) -> object:
        assert held.wait(90)
        return trace(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(explanations, "Trace", slow)
    monkeypatch.setattr(job_panel, "PATIENCE", 0.05)
    app = open_page(model="digits-vit", image="image-79")
    assert "Running digits-vit" in progress(app)
    assert not app.radio
    press(app, "Cancel")
    assert "Running digits-vit was cancelled" in app.info[0].value
    held.set()
    press(app, "Start again")
    run_until(app, lambda: app.radio)
    assert errors(app) == []


@pytest.mark.parametrize(
    "nonsense",
    [
        {"image": "pair-99999999", "class": "12345"},
        {"image": "../../etc/passwd", "class": "-1"},
        {"image": "image-x", "layer": "no.such", "depth": "nowhere", "bits": "lots"},
        {"image": "upload-0123456789ab", "model": "no-such-model", "rules": "none"},
    ],
)
def test_a_broken_link_still_opens(open_page: Open, nonsense: dict[str, str]) -> None:
    app = open_page(**nonsense)
    assert len(errors(app)) == 1
    assert "choose one above" in errors(app)[0]
    assert app.radio(key=selection.TARGET.widget).options


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.png", png()),
        ("transparent.png", png(mode="RGBA")),
        ("grey.png", png(mode="L")),
        ("palette.png", png(mode="P")),
        ("print.jpg", png(mode="CMYK", kind="JPEG")),
        ("photo.webp", png((700, 500), kind="WEBP")),
    ],
)
def test_an_upload_of_any_kind_is_explained(
    open_page: Open, run_until: RunUntil, name: str, data: bytes
) -> None:
    app = open_page(model="digits-swin")
    group(app, selection.SOURCE).set_value("Your own").run()
    app.file_uploader(key=selection.UPLOAD).upload(name, data).run()
    assert not app.exception
    assert errors(app) == []
    run_until(app, lambda: "image" in app.query_params)
    assert app.query_params["image"].startswith("upload-")
    assert app.radio(key=selection.TARGET.widget).options


@pytest.mark.parametrize(
    ("name", "data", "complaint"),
    [
        ("broken.png", png()[:200], "damaged"),
        ("empty.png", b"", "no PNG, JPEG or WebP"),
        ("words.jpg", b"these are words", "no PNG, JPEG or WebP"),
        ("huge.png", png((200, 200)), ""),
    ],
)
def test_a_bad_upload_is_refused_in_words_and_nothing_is_lost(
    open_page: Open, name: str, data: bytes, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "huge.png":
        monkeypatch.setattr("assets.pictures.uploads.MAX_PIXELS", 20_000)
        complaint = "million pixels"
    app = open_page(model="digits-swin", image="pair-2")
    before = list(app.radio(key=selection.TARGET.widget).options)
    group(app, selection.SOURCE).set_value("Your own").run()
    app.file_uploader(key=selection.UPLOAD).upload(name, data).run()
    assert not app.exception
    assert len(errors(app)) == 1
    assert complaint in errors(app)[0]
    assert list(app.radio(key=selection.TARGET.widget).options) == before


def test_an_upload_is_decoded_once(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    opened = gallery.open_image
    monkeypatch.setattr(gallery, "open_image", lambda data: decoded.append(1) or opened(data))
    app = open_page(model="digits-swin")
    group(app, selection.SOURCE).set_value("Your own").run()
    noise = png((321, 123))
    app.file_uploader(key=selection.UPLOAD).upload("a.png", noise).run()
    for _ in range(3):
        app.run()
    assert not app.exception and errors(app) == [] and decoded == [1]
    loaded = load_model("digits-swin")
    seen = app.session_state["_pictures"]
    (identifier,) = seen
    prepared = explanations.prepare_upload(loaded, identifier, lambda: pytest.fail("anew"))
    picture = Image.open(BytesIO(noise)).convert("RGB")
    assert torch.equal(prepared.images[0], loaded.transform()(picture))
    app.selectbox(key=selection.MODEL).set_value("digits-vit").run()
    assert not app.exception and errors(app) == [] and decoded == [1, 1]


def test_a_thin_upload_is_refused_in_words(open_page: Open) -> None:
    app = open_page(model="digits-swin")
    group(app, selection.SOURCE).set_value("Your own").run()
    app.file_uploader(key=selection.UPLOAD).upload("thin.png", png((400_000, 1))).run()
    assert not app.exception and "_pictures" not in app.session_state
    assert "400,000 by 1 pixels: too thin to be resized, crop it" in errors(app)[0]


def test_own_model_that_cannot_be_had_keeps_the_former(open_page: Open) -> None:
    app = open_page(model="digits-swin")
    app.text_input(key=selection.OWN_NAME).set_value("vit_tinny_patch16_224")
    app.button[-1].click().run()
    assert not app.exception
    assert "vit_tiny_patch16_224" in errors(app)[0]
    assert app.selectbox(key=selection.MODEL).value == "digits-swin"
    assert app.radio(key=selection.TARGET.widget).options


def test_a_name_alone_asks_nothing_of_the_network(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: asked.append(1))
    app = open_page(model="digits-swin")
    app.text_input(key=selection.OWN_NAME).set_value("vit_tiny_patch16_224")
    app.button[-1].click().run()
    assert "are not on this machine: ask for their download" in errors(app)[0] and not asked
    downloads = []

    def pretrained(name: str, download: bool) -> None:
        downloads.append((name, download))
        raise InputError("the network is away")

    monkeypatch.setattr("assets.models.load.pretrained", pretrained)
    app.checkbox(key=selection.OWN_DOWNLOAD).check()
    app.button[-1].click().run()
    assert not app.exception and "the network is away" in errors(app)[0]
    assert downloads == [("vit_tiny_patch16_224", True)]


def test_a_checkpoint_that_was_overwritten_is_loaded_anew(
    open_page: Open, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("weights") / "live.pth.tar"
    state = load_model("digits-swin").model.state_dict()

    def loaded_key(app: AppTest) -> str:
        app.text_input(key=selection.OWN_NAME).set_value("digits-swin")
        app.text_input(key=selection.OWN_CHECKPOINT).set_value(str(path))
        app.button[-1].click().run()
        assert not app.exception and errors(app) == []
        return app.session_state["_current"].loaded.key

    torch.save({"state_dict": state}, path)
    app = open_page(model="digits-vit")
    assert loaded_key(app) == load_model("digits-swin", path).key
    averaged = {f"module.{k}": v + (k == "head.fc.bias") for k, v in state.items()}
    torch.save({"state_dict": state, "state_dict_ema": averaged}, path)
    for again in (app, open_page(model="digits-vit")):
        assert loaded_key(again) == load_model("digits-swin", path).key
    (note,) = [text.value for text in app.text]
    assert note == "The checkpoint: of its weights the averaged ones are used (state_dict_ema)."


def test_own_folder_that_does_not_fit_keeps_the_former(
    open_page: Open, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("empty")
    app = open_page(model="digits-swin")
    app.text_input(key=selection.OWN_FOLDER).set_value(str(folder))
    app.button[-1].click().run()
    assert not app.exception
    assert "no pictures" in errors(app)[0]
    assert app.selectbox(key=selection.MODEL).value == "digits-swin"


def test_own_images_are_explained(
    open_page: Open, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("images")
    for digit in range(10):
        (folder / str(digit)).mkdir()
        (folder / str(digit) / "a.png").write_bytes(png())
    app = open_page(model="digits-swin")
    app.text_input(key=selection.OWN_FOLDER).set_value(str(folder))
    app.button[-1].click().run()
    assert not app.exception
    assert errors(app) == []
    assert app.selectbox(key=selection.MODEL).value == "digits-swin *"
    assert f"{folder.name} (10)" in texts(app)


@pytest.mark.real_data
def test_a_real_vision_transformer_is_explained(open_page: Open, real_data) -> None:
    app = open_page(model="digits-swin")
    app.text_input(key=selection.OWN_NAME).set_value("deit_tiny_patch16_224")
    weights = real_data / "deit_tiny_patch16_224.safetensors"
    app.text_input(key=selection.OWN_CHECKPOINT).set_value(str(weights))
    app.text_input(key=selection.OWN_FOLDER).set_value(str(real_data / "imagenet_sample"))
    app.button[-1].click().run()
    assert not app.exception
    assert errors(app) == []
    assert "74 layers" in texts(app)
    assert "Single images" in group(app, selection.SOURCE).options
