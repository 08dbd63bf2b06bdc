"""Presets by name, and varied by what a user writes."""

from dataclasses import fields

import pytest

from quant.calibration.presets import CHOICES, DEFAULT, PRESETS, Preset, preset


def choices(found: Preset) -> dict[str, object]:
    return {f.name: getattr(found, f.name) for f in fields(found)[2:]}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_found_by_its_name(name: str) -> None:
    assert preset(name) == PRESETS[name]
    assert preset(name).name == name
    assert preset(name).says


def test_the_default_is_there_and_no_two_are_alike() -> None:
    assert DEFAULT in PRESETS
    assert len({p.key for p in PRESETS.values()}) == len(PRESETS)


def test_every_choice_can_be_varied_and_every_preset_is_made_of_choices() -> None:
    assert set(choices(PRESETS[DEFAULT])) == set(CHOICES)
    for one in PRESETS.values():
        for field, value in choices(one).items():
            if isinstance(CHOICES[field], tuple):
                assert value in CHOICES[field]


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("bitlens:gelu=uniform", {"gelu": "uniform"}),
        ("bitlens:bias=off,heads=off", {"bias": False, "heads": False}),
        ("repq-vit:sequential=on", {"sequential": True}),
        ("bitlens:ridge=0.5", {"ridge": 0.5}),
        ("bitlens:ridge=off", {"ridge": None}),
        ("lrp-qvit:clip=3", {"clip": 3.0}),
        ("integer:stream=8", {"stream": 8}),
        ("bitlens:stream=16", {"stream": 16}),
        ("integer:tokens=scaled", {"tokens": "scaled"}),
        ("bitlens:", {}),
    ],
)
def test_a_variation_changes_what_it_names_and_nothing_else(name: str, changed: dict) -> None:
    found, base = preset(name), PRESETS[name.partition(":")[0]]
    assert found.name == name
    assert choices(found) == choices(base) | changed
    assert (found.key == base.key) == (choices(found) == choices(base))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "best",
            "no preset 'best': choose from bitlens, bitlens-affine, bitlens-dynamic, bitlens-tuned",
        ),
        ("", "no preset ''"),
        ("bitlens:speed=on", "a preset has no 'speed': vary norm"),
        ("bitlens:gelu=cubic", "gelu=cubic: choose from uniform, rotated"),
        ("bitlens:gelu", "gelu=: choose from"),
        ("bitlens:bias=maybe", "bias=maybe: choose from on, off"),
        ("bitlens:bias=True", "bias=True: choose from on, off"),
        ("bitlens:clip=-1", "clip=-1: use a positive number"),
        ("bitlens:clip=off", "clip=off: use a positive number"),
        ("bitlens:clip=nan", "clip=nan: use a positive number"),
        ("bitlens:stream=4", "stream=4: choose from off, 8, 16"),
        ("bitlens:stream=on", "stream=on: choose from off, 8, 16"),
        ("bitlens:ridge=x", "ridge=x: use a positive number"),
        ("bitlens:name=x", "a preset has no 'name'"),
    ],
)
def test_what_is_no_preset_is_refused_with_what_would_be(name: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        preset(name)
