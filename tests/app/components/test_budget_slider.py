"""The live budget: what the browser is told of a table, what Python believes of the browser."""

import ast
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app.components import budget_slider
from app.components.budget_slider import painted, row_sent, turn_sent
from app.components.budget_table import Actions, BudgetTable, Figures, Plain
from quant.primitives.formats import label
from quant.primitives.targets import ANY, TARGETS, Target

PAGE = Path(__file__).parent / "budget_slider_page.py"
PATIENCE = 90  # seconds until a run that hangs gives up


def drawn_table(rows: int = 7, layers: int = 9, seed: int = 0) -> BudgetTable:
    """A table of random bits and figures."""
    chance = np.random.default_rng(seed)
    figures = Figures(
        *chance.uniform(1e6, 9e6, (4, rows)).tolist(),
        [tuple(sorted(band)) for band in chance.random((rows, 3)).tolist()],
    )
    return BudgetTable(
        label="Size",
        unit=" MB",
        digits=2,
        values=chance.uniform(1, 9, rows).tolist(),
        layers=[(f"blocks.{i // 4}.l{i % 4}", str(i // 4), "linear") for i in range(layers)],
        weight=chance.integers(2, 9, (rows, layers)),
        activation=chance.integers(2, 9, (rows, layers)).tolist(),
        mixed=figures,
        uniform=None,
        plain=Plain(2.3e7, 1.1e12),
        gap=[0.0] * rows,
        steps=[f"step {row}" for row in range(rows)],
    )


def test_bits_come_back_from_what_the_browser_gets() -> None:
    table = drawn_table()
    wire = table.wire
    for name in ("weight", "activation"):
        read = [[int(digit) for digit in row] for row in wire[name]]
        assert np.array_equal(read, np.asarray(getattr(table, name)))
    assert wire["blocks"] == [("0", 4), ("1", 4), ("2", 1)]
    assert wire["values"][3] == f"{table.values[3]:.2f} MB"
    low, predicted, high = map(float, wire["lines"]["mixed"]["top1"][2].split())
    assert [low, predicted, high] == pytest.approx(
        [100 * v for v in table.mixed.predicted[2]], abs=0.051
    )
    start, end = wire["scale"]
    bands = 100 * np.array(table.mixed.predicted)
    assert start <= bands.min() < start + 10 and end - 10 < bands.max() <= end


def test_bits_that_are_alike_are_sent_once() -> None:
    table = drawn_table()
    alike = replace(table, activation=np.array(table.weight))
    assert alike.wire["activation"] is None
    assert alike.wire["weight"] == table.wire["weight"]


def test_the_browser_can_tell_tables_apart() -> None:
    table = drawn_table()
    more = np.array(table.weight)
    more[0, 0] = 2 if more[0, 0] == 8 else more[0, 0] + 1
    assert drawn_table().wire["id"] == table.wire["id"]
    assert replace(table, weight=more).wire["id"] != table.wire["id"]
    assert replace(table, steps=[*table.steps[:-1], "other"]).wire["id"] != table.wire["id"]


def test_a_table_of_usual_size_stays_small() -> None:
    table = drawn_table(rows=121, layers=74)
    assert len(json.dumps(table.wire)) < 60_000


def test_figures_say_what_is_measured_and_what_predicted() -> None:
    table = replace(drawn_table(), plain=Plain(2.3e7, 1.1e12, 0.772))
    mixed, plain = table.figures(1)
    low, predicted, high = (f"{100 * v:.1f}" for v in table.mixed.predicted[1])
    assert mixed["Accuracy (top-1)"] == f"{predicted} % (predicted, {low} to {high} %)"
    assert plain["Accuracy (top-1)"] == "77.2 % (measured)"
    assert plain["Size"] == "23.0 MB" and plain["BitOps"] == "1.10 T"
    assert mixed["Size"] == f"{table.mixed.size[1] / 1e6:.2f} MB"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"values": []}, "0 budgets"),
        ({"layers": []}, "0 layers"),
        ({"weight": np.full((7, 8), 4)}, r"weight has shape \(7, 8\): use \(7, 9\)"),
        ({"weight": np.full((7, 9), 9)}, "weight has 9 bits: use 2, 3"),
        ({"activation": np.full((7, 9), 1)}, "activation has 1 bits"),
        ({"gap": [0.0]}, "gap has 1 rows: the table has 7"),
        ({"steps": [""] * 8}, "steps has 8 rows"),
        ({"mixed": Figures([1.0], [1.0] * 7, [1.0] * 7, [1.0] * 7)}, "mixed.size has 1 rows"),
    ],
)
def test_a_table_that_does_not_fit_together_is_refused(
    change: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        replace(drawn_table(), **change)


JUNK = [None, 3, "3", [3], [3, 1, 2], ["3", 1], [3.0, 1], [True, 1], [-1, 1], [5, 1], [None, 1], {}]


@pytest.mark.parametrize("sent", JUNK)
def test_junk_is_no_row(sent: object) -> None:
    assert row_sent(sent, 5) is None


def test_a_row_and_its_turn_are_read() -> None:
    assert [row_sent([row, 17], 5) for row in range(5)] == list(range(5))
    assert turn_sent([4, 17]) == 17
    assert [turn_sent(sent) for sent in (None, 17, [4], [4, "17"], [4, True])] == [None] * 5


def mounted(monkeypatch: pytest.MonkeyPatch, state: dict[str, object]) -> tuple[dict, list]:
    """Mount the slider without a page; return how it is mounted, and where what it says goes."""
    arguments: dict[str, object] = {}
    said: list[object] = []
    monkeypatch.setattr(budget_slider, "_mount", lambda **given: arguments.update(given))
    monkeypatch.setattr(budget_slider.st, "session_state", {"key": state})
    budget_slider.budget_slider(
        drawn_table(rows=7), 3, {"blocks.0.l1": 8}, "blocks.1.l0", "key",
        Actions(said.append, lambda: said.append("moved"), said.append, said.append), dark=True,
    )  # fmt: skip
    return arguments, said


def test_callbacks_hear_what_can_be_true(monkeypatch: pytest.MonkeyPatch) -> None:
    state: dict[str, object] = {"row": [6, 99], "lock": "blocks.2.l0", "chosen": "blocks.0.l0"}
    arguments, said = mounted(monkeypatch, state)
    for event in ("row", "lock", "chosen"):
        arguments[f"on_{event}_change"]()
    assert said == [6, "blocks.2.l0", "blocks.0.l0"]
    data = arguments["data"]
    assert (data["row"], data["turn"], data["locked"], data["chosen"]) == (3, 99, [1], 4)


@pytest.mark.parametrize("order", [("row", "moved"), ("moved", "row")])
def test_a_move_is_heard_before_its_commit(
    monkeypatch: pytest.MonkeyPatch, order: tuple[str, str]
) -> None:
    arguments, said = mounted(monkeypatch, {"row": [6, 99], "moved": 99})
    for event in order:
        arguments[f"on_{event}_change"]()
    assert said == ["moved", 6]


def test_a_new_move_is_heard_after_an_old_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments, said = mounted(monkeypatch, {"row": [6, 99], "moved": 120})
    for event in ("row", "moved"):
        arguments[f"on_{event}_change"]()
    assert said == [6, "moved"]


@pytest.mark.parametrize("junk", [None, "blocks.9.l9", 3, ["blocks.0.l0"], {}, "", [7, 1]])
def test_callbacks_do_not_hear_junk(monkeypatch: pytest.MonkeyPatch, junk: object) -> None:
    arguments, said = mounted(monkeypatch, {"row": junk, "lock": junk, "chosen": junk})
    for event in ("row", "lock", "chosen"):
        arguments[f"on_{event}_change"]()
    assert said == []


@pytest.mark.parametrize("dark_page", [False, True])
@pytest.mark.parametrize("to", TARGETS.values(), ids=TARGETS)
def test_names_stand_out_on_every_bar(to: Target, dark_page: bool) -> None:
    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
        channels = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [c / 12.92 if c < 0.04 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return sum(c * w for c, w in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))

    colours = painted(to.widths, dark_page)
    assert {name for *_, names in colours for name in names.split(", ")} == set(
        map(label, to.widths)
    )
    if to is ANY:
        assert [letter for letter, *_ in colours] == list("2345678")
    for _, fill, ink, _ in colours:
        dark, light = sorted((luminance(fill), luminance(ink)))
        assert (light + 0.05) / (dark + 0.05) >= 4.5


@pytest.fixture
def plain() -> AppTest:
    app = AppTest.from_file(str(PAGE), default_timeout=PATIENCE)
    app.query_params["plain"] = "yes"
    app.run()
    assert not app.exception
    return app


def heard(app: AppTest) -> list[list[object]]:
    assert not app.exception
    return ast.literal_eval(app.code[-1].value)


def test_the_plain_slider_says_the_same(plain: AppTest) -> None:
    plain.select_slider[0].set_value(3).run()
    plain.multiselect[0].select("blocks.1.mlp.fc1").run()
    plain.selectbox[0].select("head").run()
    assert heard(plain) == [["move"], ["commit", 3], ["lock", "blocks.1.mlp.fc1"],
                            ["choose", "head"]]  # fmt: skip
    plain.multiselect[0].unselect("blocks.1.mlp.fc1").run()
    assert heard(plain)[-1] == ["lock", "blocks.1.mlp.fc1"]
    assert plain.multiselect[0].value == []


def test_the_plain_slider_follows(plain: AppTest) -> None:
    assert plain.select_slider[0].value == 1
    assert "Latest bought: qkv to 4 bits" in plain.caption[0].value
    plain.select_slider[0].set_value(4).run()
    assert plain.dataframe[1].value["weights"].tolist() == [8] * 5
    plain.button[0].click().run()
    assert plain.select_slider[0].value == 1
    assert plain.dataframe[0].value["Size"].tolist() == ["2.20 MB", "2.20 MB", "22.9 MB"]


def test_the_page_of_the_slider_runs() -> None:
    app = AppTest.from_file(str(PAGE), default_timeout=PATIENCE).run()
    assert heard(app) == []
