"""Every Python block of the README and of docs runs, in order, and gives what its page says."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest

from app.state import selection
from app.state.selection import Selected
from assets.models.load import load_model
from assets.sets.image_set import load_images
from quant.__main__ import main

ROOT = Path(__file__).parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): blocks
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if (
        blocks := re.findall(
            r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S
        )
    )
}


def example(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], str]:
    """Run a page's blocks in an empty folder: the names they leave, and what they print."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("BITLENS_HOME", str(folder / "home"))
    names: dict[str, Any] = {"__name__": "example"}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for block in PAGES[page]:
            exec(compile(block, page, "exec"), names)
    return names, printed.getvalue()


def test_the_readme_makes_a_heatmap_and_measures_a_quantized_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, printed = example("README.md", tmp_path, monkeypatch)
    with Image.open(tmp_path / "heatmap.png") as picture:
        assert picture.mode == "RGB" and len(picture.getcolors(2**20) or ()) > 100
    assert names["values"].shape == (8, 8) and names["values"].max() > 0 > names["values"].min()
    result = names["result"]
    assert result.images == 200
    # docs/results/quantization.md: 98 % in float, W4A4 loses 2.5 points; 200 images are +- 2.
    assert 0.90 <= result.top1 <= 0.99 and -0.06 <= result.difference <= 0.01
    assert f"{result.top1:.1%}" in printed


@pytest.mark.slow
def test_the_tutorial_finds_what_it_tells_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, printed = example("docs/tutorial.md", tmp_path, monkeypatch)
    gaps = {name: result.gap_mean for name, result in names["measured"].items()}
    assert gaps["attn-lrp"] > gaps["random"] + 0.3
    assert sum(names["scores"].mean.values()) == pytest.approx(1)
    assert set(names["solution"].allocation) == {layer.name for layer in names["layers"]}
    assert names["mixed"].divergence < 0.7 * names["even"].divergence
    assert names["mixed"].top1 > 0.8 and "mixed: " in printed


def exported(folder: Path, *arguments: str) -> None:
    bits = ["--weight-bits", "8", "--activation-bits", "8"]
    out = ["--out", str(folder / "model.onnx")]
    assert main(["export", "--to", "onnx", *arguments, *bits, *out]) == 0


def test_an_exported_model_runs_by_the_ten_lines_of_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported(tmp_path, "--model", "digits-vit", "--calibration-images", "8")
    digits, labels = load_images(None, load_model("digits-vit")), {}
    (tmp_path / "pictures").mkdir()
    for place in range(30):
        digits.picture(place).save(tmp_path / "pictures" / f"{place:02}.png")
        labels[f"pictures/{place:02}.png"] = digits.label(place)
    answers = example("docs/export.md", tmp_path, monkeypatch)[0]["answers"]
    assert set(answers) == set(labels)
    assert sum(answers[name] == label for name, label in labels.items()) >= 28


@pytest.mark.real_data
def test_real_deit_keeps_its_accuracy_there(
    tmp_path: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Float answers 77.1 % of 468 of these; 100 of them are +- 4 points, INT8 +- 2 beside it."""
    name, data = "deit_tiny_patch16_224", real_data / "imagenet_sample" / "val"
    weights = ["--checkpoint", str(real_data / f"{name}.safetensors")]
    exported(tmp_path, "--model", name, *weights, "--data", str(data))
    loaded = load_model(name, real_data / f"{name}.safetensors")
    images = load_images(data, loaded)
    expected = {}
    for place in range(0, 500, 5):
        file = tmp_path / "pictures" / f"{place:03}.png"
        file.parent.mkdir(exist_ok=True)
        images.picture(place).save(file)
        with torch.no_grad():
            logits = loaded.model(images[place][0][None])
        expected[f"pictures/{file.name}"] = int(logits.argmax()), images.label(place)
    answers = example("docs/export.md", tmp_path, monkeypatch)[0]["answers"]
    assert sum(answers[key] == plain for key, (plain, _) in expected.items()) >= 93
    right, before = (
        sum(found[key] == label for key, (_, label) in expected.items())
        for found in (answers, {key: plain for key, (plain, _) in expected.items()})
    )
    assert right >= before - 3


@pytest.mark.parametrize("page", [page for page in PAGES if "/how-to/" in page])
def test_a_how_to_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names, _ = example(page, tmp_path, monkeypatch)
    assert len(names) > 2


def test_every_page_with_python_is_run() -> None:
    known = {"README.md", "docs/tutorial.md", "docs/export.md"}
    assert {page for page in PAGES if "/how-to/" not in page} == known


def test_the_page_of_the_how_to_opens_for_a_chosen_model() -> None:
    class Layered(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = torch.nn.Linear(3 * 8 * 8, 2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.head(images.flatten(1))

    class Loaded:
        model, input_size = Layered().eval().requires_grad_(False), (3, 8, 8)

    script = PAGES["docs/how-to/add-a-page.md"][0]
    empty = AppTest.from_string(script).run()
    assert [info.value for info in empty.info] == ["Choose a model in the sidebar."]
    chosen = AppTest.from_string(script)
    chosen.session_state[selection.CURRENT.key] = Selected(Loaded(), None, None)  # type: ignore[arg-type]
    chosen.run()
    assert not chosen.exception and not chosen.info
    assert [header.value for header in chosen.header] == ["Where are the weights?"]
