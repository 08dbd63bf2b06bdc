"""Below the slider: the trade-off, sweeps, purchases, scores, allocations as files."""

import json
import re
from collections.abc import Callable
from io import StringIO
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from streamlit.testing.v1 import AppTest

from app.budget import allocation_files, scores, tabs, trade_off
from app.state import budget, selection
from app.state import runs as run_state
from app.state.selection import Selected
from app.work import models, spending
from assets.sets.image_set import ImageSet
from lrp.propagation.rules import LRP_QVIT
from lrp.propagation.scores import ContributionScores
from quant.allocation.allocation_file import from_json
from quant.experiments.calibrating import Calibrating
from quant.experiments.measuring import Measuring
from quant.history.runs import DONE, STOPPED, Runs
from quant.primitives.bits import LayerBits, uniform
from tests.app import budget_pages as on
from tests.app import runs_made as made

Open = Callable[..., AppTest]
RunUntil = Callable[[AppTest, Callable[[], object]], None]
LAYERS = on.layers()


def show(app: AppTest, view: str) -> AppTest:
    on.choose(app, budget.BELOW, view)
    return app


def sweep(app: AppTest, objectives: list[str], budgets: list[int]) -> None:
    on.choose(app, budget.SWEEP_OBJECTIVES, objectives)
    on.choose(app, budget.SWEEP_BUDGETS, budgets)
    on.press(app, "Start")


def test_a_sweep_fills_the_history_and_the_table_and_predicts(
    page: AppTest, history: Runs, run_until: RunUntil
) -> None:
    assert "A predicted curve comes with the first run" in on.said(page)
    assert on.figures(page)["this budget"]["Accuracy (top-1)"] == "–"
    sweep(page, ["sensitivity", "uniform"], [3, 5])
    run_until(page, lambda: "Done: 5 configurations" in on.said(page))
    runs = {f"{run.recipe.objective} {run.recipe.budget}".strip(): run for run in history.listed()}
    assert set(runs) == {
        "float float",
        *(f"{objective} {b} bit" for objective in ("sensitivity", "uniform") for b in (3, 5)),
    }
    assert {run.state for run in runs.values()} == {DONE}
    assert runs["float float"].recipe.allocation is None
    assert runs["uniform 3 bit"].recipe.allocation == uniform(LAYERS, 3, 3)
    table = on.frame(page, "configuration").set_index("configuration")
    assert len(table) == 5
    found = runs["sensitivity 5 bit"].evaluation
    assert table.loc["sensitivity 5 bit", "top-1"] == f"{100 * found.top1:.1f} %"
    assert "5 configurations measured on these 100 images" in on.said(page)
    right = history.listed()[0].counts.plain
    assert on.figures(page)["float"]["Accuracy (top-1)"] == f"{right}.0 % (measured)"
    predicted = []
    for row in (0, 40, 120):
        on.move(page, row)
        told = on.figures(page)["this budget"]["Accuracy (top-1)"]
        middle, band = told.split(" % (predicted, ")
        low, high = band.removesuffix(" %)").split(" to ")
        assert float(low) <= float(middle) <= float(high) <= 100
        predicted.append(float(middle))
    assert predicted == sorted(predicted)
    assert "The dotted curve is predicted" in on.said(page)


def test_uniform_bits_are_measured_unasked_once_and_accuracies_predicted_from_them(
    page: AppTest, history: Runs, run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Measuring, "ready", lambda self, variant: True)  # it is in memory
    page.toggle(key=budget.FORETELL.key).set_value(True).run()
    run_until(page, lambda: "predicted" in on.figures(page)["this budget"]["Accuracy (top-1)"])
    run_until(page, lambda: len(history.listed()) == 2)
    run_until(page, lambda: "measured meanwhile" not in on.said(page))
    runs = {run.recipe.budget: run for run in history.listed()}
    assert {name: run.state for name, run in runs.items()} == {"4 bit": DONE, "6 bit": DONE}
    for bits in (4, 6):
        assert runs[f"{bits} bit"].recipe.allocation == uniform(LAYERS, bits, bits)
    times = [run.id for run in history.listed()]
    page.run()
    assert [run.id for run in history.listed()] == times
    assert "measured meanwhile" not in on.said(page)


def test_what_is_measured_to_predict_from_stops_when_that_is_turned_off(
    page: AppTest, run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Measuring, "ready", lambda self, variant: True)
    gate = on.Gate(monkeypatch)
    page.toggle(key=budget.FORETELL.key).set_value(True).run()
    run_until(page, lambda: "measured meanwhile" in on.said(page))
    page.toggle(key=budget.FORETELL.key).set_value(False).run()
    assert "measured meanwhile" not in on.said(page)
    gate.opened.set()
    run_until(page, lambda: not models.jobs().crowd)


def seen(history: Runs) -> int:
    """How many images the latest run has seen."""
    return sum(run.counts.images for run in history.listed()[:1])


def test_a_sweep_is_cancelled_and_what_is_done_is_kept(
    page: AppTest, history: Runs, run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = on.Gate(monkeypatch)
    sweep(page, ["uniform"], [8])
    run_until(
        page, lambda: page.progress and history.listed() and history.listed()[0].counts.images
    )
    on.press(page, "Cancel")
    run_until(page, lambda: "what was measured is kept" in on.said(page))
    assert "nothing was kept" not in on.said(page)
    (run,) = history.listed()
    assert (run.state, run.recipe.objective) == (STOPPED, "float")
    gate.opened.set()
    on.press(page, "Start")
    run_until(page, lambda: "Done: 2 configurations" in on.said(page))
    assert [run.counts.images for run in history.listed()] == [on.IMAGES, on.IMAGES]


def test_a_sweep_makes_way_for_the_slider_and_goes_on(
    page: AppTest, history: Runs, run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = on.Gate(monkeypatch)
    sweep(page, ["uniform"], [8])
    run_until(
        page, lambda: page.progress and history.listed() and history.listed()[0].counts.images
    )
    page.toggle(key=budget.AUTO.key).set_value(True).run()
    on.move(page, 50)
    assert "The sweep makes way for the slider" in on.said(page)
    gate.opened.set()
    run_until(page, lambda: "Done: 2 configurations" in on.said(page))
    runs = [(run.recipe.objective, run.state) for run in history.listed()]
    assert sorted(runs) == [("float", DONE), ("sensitivity", DONE), ("uniform", DONE)]
    assert "4.50 bit: 100 images, in all" in on.said(page)


def test_a_sweep_goes_on_when_the_evaluation_is_stopped_by_hand(
    page: AppTest, history: Runs, run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = on.Gate(monkeypatch)
    sweep(page, ["uniform"], [8])
    run_until(page, lambda: seen(history))
    page.toggle(key=budget.AUTO.key).set_value(True).run()
    on.move(page, 50)
    run_until(page, lambda: "so far" in on.said(page))
    on.press(page, "Stop")
    gate.opened.set()
    run_until(page, lambda: "Done: 2 configurations" in on.said(page))


def test_a_sweep_over_nothing_is_refused(page: AppTest) -> None:
    sweep(page, [], [3])
    assert "Choose at least one objective" in on.said(page)
    sweep(page, ["uniform"], [])
    assert "Choose at least one objective" in on.said(page)


def test_a_sweep_by_scores_that_are_not_there_says_where_to_find_them(page: AppTest) -> None:
    page.select_slider(key=selection.SCORE_IMAGES).set_value(128).run()
    sweep(page, ["lrp"], [4])
    assert "LRP needs contribution scores" in on.said(page)


def test_controls_are_swept_with_every_seed(
    page: AppTest, history: Runs, run_until: RunUntil
) -> None:
    sweep(page, ["random", "reversed"], [4])
    run_until(page, lambda: "Done: 5 configurations" in on.said(page))
    told = {run.recipe.objective for run in history.listed()}
    assert told == {"float", "reversed", "random-0", "random-1", "random-2"}


def test_a_point_whose_run_was_deleted_is_no_crash(
    history: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    picked = SimpleNamespace(selection=SimpleNamespace(points=[{"customdata": [7]}]))
    session = {budget.TRADE_OFF: picked}
    monkeypatch.setattr(trade_off, "st", SimpleNamespace(session_state=session, toast=told.append))
    trade_off._clicked(SimpleNamespace(measuring=SimpleNamespace(history=history)))
    assert "there is no run 7" in told[0]
    assert budget.RELOCKED not in session


def test_how_the_budget_was_bought_is_told_step_by_step(page: AppTest) -> None:
    show(page, tabs.BOUGHT)
    bought = on.frame(page, "expected loss less")
    assert (bought["budget"].diff().dropna() <= 0).all()  # the latest first
    assert (bought["budget"] <= 4).all()
    assert (bought["to"] > bought["from"]).all()
    kilobytes = sum(layer.parameters * (on.bits(page)[layer.name][0] - 2) / 8e3 for layer in LAYERS)
    assert bought["size (kB)"].sum() == pytest.approx(kilobytes)
    on.choose(page, budget.BOUGHT, "Activations")
    assert not page.exception
    on.move(page, 0)
    assert not page.dataframe[-1].value.to_numpy().size


def test_where_the_answer_is_lost_adds_up_to_what_is_measured(
    page: AppTest, run_until: RunUntil
) -> None:
    show(page, tabs.LOST)
    on.press(page, "Share out the damage of these bits")
    run_until(page, lambda: "thousandths of a nat" in on.said(page))
    rows = on.frame(page, "so far")
    assert list(rows["layer"]) == [layer.name for layer in LAYERS]
    found = re.search(r"cost ([\d.]+) thousandths.* add up to ([\d.]+)", on.said(page))
    assert found is not None
    measured, total = map(float, found.groups())
    assert total == pytest.approx(measured, rel=0.03)
    assert float(rows["so far"].iloc[-1]) == pytest.approx(total, abs=0.1)
    assert float((rows["weights"] + rows["inputs"]).sum()) == pytest.approx(total, abs=0.1)
    on.move(page, 100)  # other bits: they are not found yet
    assert "Share out the damage of these bits" in [button.label for button in page.button]


def test_what_is_downloaded_is_what_is_shown(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: dict[str, str] = {}

    def caught(label: str, data: str, name: str, **kwargs: object) -> None:
        files[name] = data

    monkeypatch.setattr(allocation_files.st, "download_button", caught)
    on.move(page, 60)
    show(page, tabs.LAYERS)
    assert set(files) == {"digits-swin-5.00bit.json", "digits-swin-5.00bit.csv"}
    payload = json.loads(files["digits-swin-5.00bit.json"])
    shown = {name: LayerBits(*pair) for name, pair in on.bits(page).items()}
    assert from_json(payload, on.layers()) == shown
    assert payload["preset"] == "bitlens"
    assert payload["size_bytes"] < payload["uniform"]["size_bytes"] * (1 + 1e-9)
    assert f"Expected loss {payload['loss']:.4g}" in on.said(page)
    table = pd.read_csv(StringIO(files["digits-swin-5.00bit.csv"]))
    assert dict(zip(table["layer"], table["weight bits"], strict=True)) == {
        name: bits.weight for name, bits in shown.items()
    }
    losses = table["loss of weights"].sum() + table["loss of activations"].sum()
    assert losses == pytest.approx(payload["loss"])


def bring(app: AppTest, data: bytes) -> None:
    app.file_uploader(key=budget.IMPORT).upload("bits.json", data).run()
    assert not app.exception


def written(bits: dict[str, LayerBits]) -> bytes:
    layers = {name: {"weight": b.weight, "activation": b.activation} for name, b in bits.items()}
    return json.dumps({"schema": 1, "model": "digits-swin", "layers": layers}).encode()


def test_an_allocation_is_brought_back(page: AppTest) -> None:
    show(page, tabs.LAYERS)
    brought = uniform(LAYERS, 5, 6, ends=8)
    bring(page, written(brought))
    assert {name: LayerBits(*pair) for name, pair in on.bits(page).items()} == brought
    assert on.errors(page) == []
    assert on.frame(page, "locked")["locked"].all()
    on.press(page, "Unlock all")
    assert len(set(on.bits(page).values())) > 3


def test_images_that_chose_loaded_bits_are_not_measured(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[ImageSet] = []
    real = spending.measuring

    def measuring(selected: Selected, calibrating: Calibrating, images: ImageSet) -> Measuring:
        measured.append(images)
        return real(selected, calibrating, images)

    monkeypatch.setattr("app.work.spending.measuring", measuring)
    show(page, tabs.LAYERS)
    before = measured[-1]
    chose = sorted(before.indices)[::3]
    payload = json.loads(written(uniform(LAYERS, 5, 6)))
    bring(page, json.dumps(payload | {"chosen_on": {before.source.key: chose}}).encode())
    assert set(measured[-1].indices) == set(before.indices) - set(chose)
    assert len(measured[-1]) == len(before) - len(chose)


NO_LAYER = written({"blocks.0.attn.qkv": LayerBits(4, 4)})
HALF = written({"patch_embed.proj": LayerBits(4, 4)})


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"{", "it is not JSON"),
        (b"\xff\xfe\x00", "it is not JSON"),
        (b"[" * 100_000, "it is nested too deep"),
        (b"[" * 100_000 + b"]" * 100_000, "it is nested too deep"),
        (b"[1, 2]", "this is no allocation"),
        (b'{"schema": 99}', "schema is 99"),
        (NO_LAYER, "is for another model (digits-swin)"),
        (HALF, "lacks the layer"),
        (written(uniform(LAYERS, 4, 4)).replace(b": 4", b": 9", 1), "9 bits"),
        (written(uniform(LAYERS, 4, 4)).replace(b": 4", b': "4"', 1), "'4' bits"),
    ],
)
def test_what_is_no_allocation_of_this_model_is_refused(
    page: AppTest, data: bytes, complaint: str
) -> None:
    first = next(iter(on.bits(page)))
    page.multiselect(key=selection.LOCK_LAYERS).set_value([first])
    on.press(page, "Lock")
    show(page, tabs.LAYERS)
    before = on.bits(page)
    bring(page, data)
    assert on.errors(page)[0].startswith("bits.json: ")
    assert complaint in on.errors(page)[0]
    assert "What was there stays" in on.errors(page)[0]
    assert on.bits(page) == before
    assert on.frame(page, "locked").set_index("layer")["locked"][first]


def test_a_run_that_was_handed_over_locks_its_layers(open_budget: Open) -> None:
    recipe = made.recipe(6)

    def hand_over(app: AppTest) -> None:
        app.session_state[run_state.HANDED.key] = recipe

    app = open_budget(hand_over)
    assert set(on.bits(app).values()) == {(6, 6)}
    assert on.slider(app)[app.select_slider(key=budget.PLAIN_BUDGET).value] == "6.00 bit"
    on.press(app, "Unlock all")
    assert len(set(on.bits(app).values())) > 3


def test_a_run_of_another_model_is_not_taken_over(open_budget: Open) -> None:
    def hand_over(app: AppTest) -> None:
        app.session_state[run_state.HANDED.key] = made.recipe(6, model_key="digits-swin-of-old")

    assert len(set(on.bits(open_budget(hand_over)).values())) > 3


def test_sensitivities_are_shown_at_a_width(page: AppTest) -> None:
    show(page, tabs.BY)
    four = sensed(page)
    assert (four >= 0).all().all()
    assert f"Together {four.to_numpy().sum():.0f};" in on.said(page)
    most = four.sum(axis=1).idxmax()
    assert f"**{most}** is the most sensitive" in on.said(page)
    on.choose(page, budget.SENSED_WIDTH, 2)
    assert sensed(page)["weights"].sum() > four["weights"].sum()


def sensed(app: AppTest) -> pd.DataFrame:
    tables = [
        t.value for t in app.dataframe if list(t.value) == ["layer", "weights", "activations"]
    ]
    return tables[-1].set_index("layer")  # after the slider's bits


def test_scores_are_shown_with_their_spread(
    page: AppTest, run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(
        "app.look.altair_charts.score_table", lambda *a: seen.append(a) or pd.DataFrame()
    )
    show(page, tabs.BY)
    run_until(page, lambda: seen)
    layers, mean, deviation, _ = seen[-1]
    assert sum(mean.values()) == pytest.approx(1)
    assert list(mean) == [layer.name for layer in layers]
    assert any(value > 0 for value in deviation.values())
    assert "Halves of the images rank the layers alike by **0." in on.said(page)


def scored(app: AppTest) -> str:
    """The layer that carries most."""
    text = next(c.value for c in app.caption if "carries most" in c.value)
    return text.split("**")[1]


def test_other_rules_statistics_and_images_are_scored_anew(
    page: AppTest, run_until: RunUntil
) -> None:
    show(page, tabs.BY)
    run_until(page, lambda: "carries most" in on.said(page))
    before = scored(page)
    page.select_slider(key=selection.SCORE_IMAGES).set_value(8).run()
    run_until(page, lambda: "over 8 images" in on.said(page))
    page.selectbox(key=selection.SCORE_STATISTIC).set_value("mean-positive").run()
    run_until(page, lambda: "carries most" in on.said(page))
    assert scored(page) != before
    on.choose(page, selection.SCORE_RULES, "AttnLRP")
    assert "carries most" not in on.said(page)  # and bits are spent by what is known
    assert on.bits(page)
    run_until(page, lambda: "carries most" in on.said(page))
    assert "over 8 images" in on.said(page)


@pytest.mark.parametrize(
    ("noise", "verdict"),
    [(0.0, "enough"), (0.8, "settle the middle ranks"), (30.0, "too few")],
)
def test_the_verdict_follows_the_agreement_of_halves(noise: float, verdict: str) -> None:
    generator = torch.Generator().manual_seed(1)
    common = torch.rand(1, 40, generator=generator)
    rows = common + noise * torch.rand(8, 40, generator=generator)
    names = tuple(map(str, range(40)))
    assert verdict in scores.steadiness(ContributionScores(names, rows, LRP_QVIT, "positive-sum"))


def test_of_few_images_nothing_is_claimed() -> None:
    few = ContributionScores(("a", "b"), torch.rand(3, 2), LRP_QVIT, "positive-sum")
    assert "take 4 or more" in scores.steadiness(few)
