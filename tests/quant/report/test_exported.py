"""What was exported: told fact by fact, of these bits and of no others."""

import json
from pathlib import Path
from typing import Any

import pytest

from quant.history.recipe import Recipe
from quant.report.exported import Exported, read, section
from tests.quant.report.parsed import Page


def payload(recipe: Recipe, **changes: Any) -> dict[str, Any]:
    """What `quant export --json` writes."""
    assert recipe.allocation is not None
    return {
        "model": recipe.model,
        "weights": recipe.model_key,
        "preset": recipe.preset,
        "format": "onnx",
        "file": "/somewhere/<b>model.onnx",
        "bits": {layer: str(bits) for layer, bits in recipe.allocation.items()},
        "bytes": 250_000,
        "float_bytes": 1_000_000,
        "opset": 21,
        "check": {"images": 64, "largest": 0.0123, "typical": 0.001, "equal": 0.984375},
        "latency": {
            "seconds": 0.009, "float_seconds": 0.012, "ratio": 0.75, "low": 0.7, "high": 0.8,
        },
        "integer_products": 40,
        "at_run_time": {"head": "two rotations", "a": "a rotation", "b": "a rotation"},
        "versions": {"onnx": "1.23"},
    } | changes  # fmt: skip


def written(path: Path, content: object) -> str:
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


def test_facts_of_an_export_stand_in_a_table(mixed: Recipe, tmp_path: Path) -> None:
    found = read(written(tmp_path / "e.json", payload(mixed)), mixed)
    assert found.name == "<b>model.onnx"
    page = Page(section([found]))
    facts = {row["what"]: row["found"] for row in page.table("found")}
    assert facts["file"] == "250 kB, 0.25 of the float file's"
    assert facts["same answers as Bitlens"] == "98.4 % of 64 images"
    assert facts["largest difference of logits"] == "0.012"
    assert facts["an image takes"] == "9 ms, float 12 ms: 0.75 times as long (0.70 to 0.80)"
    assert facts["computed at run time besides"] == "two rotations: head; a rotation: 2 layers"
    assert page.named("b") == []


def test_formats_that_are_not_timed_are_told_of_without(mixed: Recipe, tmp_path: Path) -> None:
    whole = payload(mixed)
    few = {k: v for k, v in whole.items() if k not in ("latency", "integer_products", "opset")}
    facts = dict(read(written(tmp_path / "e.json", few), mixed).facts)
    assert "an image takes" not in facts
    assert facts["format"] == "onnx"


@pytest.mark.parametrize(
    "changes",
    [{"weights": "other"}, {"preset": "bitlens"}, {"bits": {}}, {"bits": {"head": "W8A8"}}],
)
def test_of_other_bits_or_weights_it_is_refused(
    mixed: Recipe, tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="export the run's"):
        read(written(tmp_path / "e.json", payload(mixed, **changes)), mixed)


@pytest.mark.parametrize(
    "content", [[], {}, 3, {"weights": 1}, {"check": []}, {"bytes": "many"}, {"float_bytes": 0}]
)
def test_what_is_no_export_is_refused_in_one_sentence(
    mixed: Recipe, tmp_path: Path, content: Any
) -> None:
    if isinstance(content, dict) and content and "weights" not in content:
        content = payload(mixed, **content)
    with pytest.raises(ValueError, match="is not what `quant export --json` writes"):
        read(written(tmp_path / "e.json", content), mixed)
    with pytest.raises(ValueError, match="cannot be read"):
        read(str(tmp_path / "none.json"), mixed)


def test_nothing_exported_says_how() -> None:
    assert "<code>python -m quant export</code>" in section([])
    assert section([Exported("a", [])]) != section([])
