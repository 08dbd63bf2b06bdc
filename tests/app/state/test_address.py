"""The address: what a link says is read, junk is the default, and what is shown reads back."""

import random
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from app.state import address, budget, entry, quantizer, runs, selection
from app.state.entry import Linked
from quant.allocation.objectives import OBJECTIVES
from quant.calibration.presets import PRESETS

MENU = (2, 3, 4, 5, 6, 7, 8)
MISSING = object()
# By parameter: the entry, then texts of a link with what they mean.
LINKS: dict[str, tuple[Linked, dict[object, object]]] = {
    "image": (
        selection.IMAGE,
        {MISSING: None, "pair-3": "pair-3", "image-12": "image-12", "": "", "junk": "junk"},
    ),
    "class": (
        selection.TARGET,
        {MISSING: None, "4": 4, "0": 0, "007": 7, "-1": None, "1.5": None, "two": None, "": None},
    ),
    "against": (
        selection.RIVAL,
        {MISSING: None, "9": 9, "0": 0, "+1": None, "1e1": None, " 1": None, "": None},
    ),
    "depth": (
        selection.DEPTH,
        {MISSING: None, "blocks.2": "blocks.2", "pixels": "pixels", "": "", "nowhere": "nowhere"},
    ),
    "layer": (
        selection.LAYER,
        {MISSING: None, "head": "head", "blocks.1.mlp.fc1": "blocks.1.mlp.fc1", "": "", "x": "x"},
    ),
    "bits": (
        budget.BITS,
        {MISSING: 4.0, "3.5": 3.5, "6.123": 6.12, "2": 2.0, "8": 8.0, "1.99": 4.0, "8.01": 4.0}
        | {"8.004": 8.0, "-3": 4.0, "nan": 4.0, "inf": 4.0, "": 4.0, "four": 4.0, " 5 ": 5.0},
    ),
    "by": (
        budget.OBJECTIVE,
        {MISSING: "sensitivity", "lrp": "lrp", "lrp-x-sensitivity": "lrp-x-sensitivity"}
        | {"sensitivity": "sensitivity", "LRP": "sensitivity", "": "sensitivity"},
    ),
    "unit": (
        budget.UNIT,
        {MISSING: "average", "size": "size", "bitops": "bitops", "average": "average"}
        | {"Size": "average", "": "average", "MB": "average"},
    ),
    "widths": (
        budget.WIDTHS,
        {MISSING: MENU, "248": (2, 4, 8), "842": (2, 4, 8), "3": (3,), "2345678": MENU}
        | {"": MENU, "19": MENU, "x4y": (4,), "44": (4,), "4,16,float": (4, 16, 32)},
    ),
    "on": (
        budget.TARGET,
        {MISSING: "any", "int8": "int8", "any": "any", "": "any", "INT8": "any", "tpu": "any"},
    ),
    "tied": (
        budget.TIED,
        {MISSING: False, "1": True, "0": False, "": False, "true": False, "11": False},
    ),
    "preset": (
        quantizer.PRESET,
        {MISSING: "bitlens", "lrp-qvit": "lrp-qvit", "repq-vit": "repq-vit", "bitlens": "bitlens"}
        | {"": "bitlens", "LRP-QViT": "bitlens", "none": "bitlens"},
    ),
    "stream": (
        quantizer.STREAM,
        {MISSING: "off", "8": "8", "16": "16", "off": "off", "": "off", "4": "off", "on": "off"},
    ),
    "w": (
        quantizer.WEIGHT,
        {MISSING: 4, "3": 3, "2": 2, "8": 8, "9": 4, "1": 4, "": 4, "03": 4, "-3": 4, "x": 4},
    ),
    "a": (
        quantizer.ACTIVATION,
        {MISSING: 4, "5": 5, "2": 2, "8": 8, "32": 4, "": 4, "5.0": 4, " 5": 4, "a": 4},
    ),
    "run": (
        runs.RUN,
        {MISSING: None, "12": 12, "0": 0, "-2": None, "": None, "last": None, "1.0": None},
    ),
}
CASES = [(name, text) for name, (_, meanings) in LINKS.items() for text in meanings]
VALUES: dict[str, Callable[[random.Random], object]] = {
    "image": lambda r: r.choice([None, "pair-3", "image-7", "upload-00ff"]),
    "class": lambda r: r.choice([None, *range(10)]),
    "against": lambda r: r.choice([None, *range(10)]),
    "depth": lambda r: r.choice([None, "pixels", "blocks.2"]),
    "layer": lambda r: r.choice([None, "head", "layers.1.blocks.0.mlp.fc2"]),
    "bits": lambda r: r.uniform(2, 8),
    "by": lambda r: r.choice(OBJECTIVES),
    "unit": lambda r: r.choice(["average", "size", "bitops"]),
    "widths": lambda r: r.sample(MENU, r.randint(0, 7)),
    "on": lambda r: r.choice(["any", "2-4-8"]),
    "tied": lambda r: r.random() < 0.5,
    "preset": lambda r: r.choice(list(PRESETS)),
    "stream": lambda r: r.choice(["off", "8", "16"]),
    "w": lambda r: r.choice(MENU),
    "a": lambda r: r.choice(MENU),
    "run": lambda r: r.choice([None, 1, 23]),
}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], dict[str, str]]:
    """Begin a session with a link's parameters; return the address it shows."""

    def begin(parameters: dict[str, str]) -> dict[str, str]:
        browser = SimpleNamespace(session_state={}, query_params=dict(parameters))
        for module in (entry, address):
            monkeypatch.setattr(module, "st", browser)
        return browser.query_params

    return begin


def test_every_entry_of_the_address_is_listed_here() -> None:
    assert {each.parameter: each for each in address.ENTRIES} == {
        name: each for name, (each, _) in LINKS.items()
    }
    assert len({each.key for each in address.ENTRIES}) == len(address.ENTRIES)
    assert set(VALUES) == set(LINKS)


@pytest.mark.parametrize(("name", "text"), CASES)
def test_a_link_means_what_it_always_did(opened: Callable, name: str, text: object) -> None:
    linked, meanings = LINKS[name]
    opened({} if text is MISSING else {name: str(text)})
    assert linked.get() == meanings[text]
    assert type(linked.get()) is type(meanings[text])
    for other, (each, its_own) in LINKS.items():
        assert other == name or each.get() == its_own[MISSING]


@pytest.mark.parametrize(("name", "text"), CASES)
def test_the_address_shows_what_is_not_the_default(
    opened: Callable, name: str, text: object
) -> None:
    linked, meanings = LINKS[name]
    shown = opened({"model": "digits-vit"} | ({} if text is MISSING else {name: str(text)}))
    address.show()
    assert shown.pop("model") == "digits-vit"  # a widget's own
    meaning = meanings[text]
    assert set(shown) == (set() if meaning == meanings[MISSING] else {name})
    opened(shown)
    assert linked.get() == meaning


def test_what_the_address_shows_gives_the_same_state_in_a_fresh_session(opened: Callable) -> None:
    chance = random.Random(0)
    for _ in range(100):
        shown = opened({})
        for name, draw in VALUES.items():
            LINKS[name][0].set(draw(chance))
        state = {name: each.get() for name, (each, _) in LINKS.items()}
        address.show()
        again = opened(shown)
        assert {name: each.get() for name, (each, _) in LINKS.items()} == state
        address.show()
        assert again == shown


def test_once_read_the_session_decides(opened: Callable) -> None:
    shown = opened({"w": "3", "tied": "1"})
    assert quantizer.WEIGHT.get() == 3
    quantizer.WEIGHT.set(6)
    shown["w"] = "2"
    assert quantizer.WEIGHT.get() == 6
    address.show()
    assert shown == {"w": "6", "tied": "1"}


def test_a_link_within_the_session_sets_what_was_not_chosen(opened: Callable) -> None:
    shown = opened({"layer": "head"})
    assert (selection.LAYER.get(), selection.DEPTH.get()) == ("head", None)
    shown |= {"layer": "blocks.0.attn.qkv", "depth": "blocks.1"}
    assert (selection.LAYER.get(), selection.DEPTH.get()) == ("head", "blocks.1")
    selection.LAYER.reset()
    assert selection.LAYER.get() is None
    shown["layer"] = "blocks.0.attn.proj"
    assert selection.LAYER.get() == "blocks.0.attn.proj"


def test_what_depends_on_another_choice_goes_with_it(opened: Callable) -> None:
    shown = opened({"image": "pair-3", "class": "4", "against": "9", "layer": "head", "depth": "d"})
    selection.choose_image("pair-3")
    assert (selection.TARGET.get(), selection.RIVAL.get()) == (4, 9)
    selection.choose_image("pair-4")
    assert (selection.TARGET.get(), selection.RIVAL.get()) == (None, None)
    for key in ("one", "one", "other"):
        assert selection.LAYER.get() == "head"
        selection.use(SimpleNamespace(loaded=SimpleNamespace(key=key)))
    assert (selection.LAYER.get(), selection.DEPTH.get()) == (None, None)
    address.show()
    assert shown == {"image": "pair-4"}
