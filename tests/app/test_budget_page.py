"""The Budget page: what is planned at once, measured on release, locked, limited and linked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app import budget_state, compute, state
from app.jobs import JobQueue
from lrp.progress import check
from quant.allocation import MENU, LayerBits
from quant.evaluation import Step, stream
from quant.presets import DEFAULT
from quant.runs import DONE, FILE, STOPPED, Runs
from quant.sensitivity import ESTIMATED, Sensitivity
from tests.app import runs_made as made

Open = Callable[..., AppTest]
RunUntil = Callable[[AppTest, Callable[[], object]], None]
SWIN = {"model": "digits-swin"}
FOUR = 40  # the row of 4 bits, which the page begins with: 2 to 8 bits in 121 steps
IMAGES = 100


@pytest.fixture(autouse=True)
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """A history of its own; what was calibrated stays in memory."""
    monkeypatch.setenv("BITLENS_HOME", str(tmp_path))
    return Runs(tmp_path / FILE)


@pytest.fixture(autouse=True)
def nothing_goes_on() -> Iterator[None]:
    """Stop what a test left running, or the next one would wait for it."""
    yield
    for queue in (compute.jobs(), compute.quick_jobs()):
        stop_all(queue)


def stop_all(queue: JobQueue) -> None:
    for job in list(queue._jobs.values()):
        for owner in list(job.owners):
            queue.leave(job, owner)
        assert job.ended.wait(60)


@pytest.fixture
def opened(open_page: Open, run_until: RunUntil) -> Open:
    """Open the page with the plain slider, once the sensitivities are there."""

    def opened(begin: Callable[[AppTest], object] = lambda app: None, **link: str) -> AppTest:
        app = open_page(**SWIN | link)
        app.session_state[budget_state.PLAIN] = True
        app.session_state[budget_state.AUTO] = False
        begin(app)
        app.switch_page("app/views/budget.py").run()
        assert not app.exception
        run_until(app, lambda: app.error or not app.progress)
        app.select_slider(key=budget_state.IMAGES).set_value(IMAGES).run()
        return app

    return opened


@pytest.fixture
def page(opened: Open) -> AppTest:
    return opened()


def choose(app: AppTest, key: str, value: object) -> None:
    """Choose an option of a segmented control or of pills."""
    next(group for group in app.get("button_group") if group.key == key).set_value(value).run()
    assert not app.exception


def press(app: AppTest, label: str) -> None:
    next(button for button in app.button if button.label == label).click().run()
    assert not app.exception


def move(app: AppTest, row: int) -> None:
    app.select_slider(key=budget_state.BUDGET).set_value(row).run()
    assert not app.exception


def labels(app: AppTest) -> list[str]:
    return [button.label for button in app.button]


def said(app: AppTest) -> str:
    texts = [*app.caption, *app.markdown, *app.info, *app.warning]
    return " ".join(text.value for text in texts).replace("\u00a0", " ")


def errors(app: AppTest) -> list[str]:
    return [error.value for error in app.error]


def metrics(app: AppTest) -> dict[str, tuple[str, str]]:
    return {m.label: (m.value, m.delta.replace("\u00a0", " ")) for m in app.metric}


def frame(app: AppTest, column: str) -> object:
    return next(t.value for t in app.dataframe if column in t.value)


def bits(app: AppTest) -> dict[str, tuple[int, int]]:
    rows = frame(app, "activations").to_numpy().tolist()
    return {name: (int(w), int(a)) for name, w, a in rows}


def figures(app: AppTest) -> dict[str, dict[str, str]]:
    return frame(app, "Gap").set_index("").to_dict("index")


def slider(app: AppTest) -> list[str]:
    return app.select_slider(key=budget_state.BUDGET).options


def number(text: str) -> float:
    value, *prefix = text.split()
    scale = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}
    return float(value) * scale["".join(prefix).removesuffix("B")]


def test_it_opens_with_four_bits_spent_and_says_by_what(page: AppTest) -> None:
    assert page.select_slider(key=budget_state.BUDGET).value == FOUR
    assert slider(page)[FOUR] == "4.00 bit"
    assert "how far each layer's bits move the model's answer" in said(page)
    assert "Let go of the slider and its budget is measured here" in said(page)
    assert len(set(bits(page).values())) > 3
    assert errors(page) == []


def test_the_budget_is_spent_anew_when_it_moves(page: AppTest) -> None:
    before, size = np.zeros((len(bits(page)), 2)), 0.0
    for row in (0, 26, 60, 120):
        move(page, row)
        average = 2 + row / 20
        ours, even = figures(page)["this budget"], figures(page)["uniform"]
        assert float(ours["Weight bits"]) <= average + 0.005
        assert number(ours["BitOps"]) <= average**2 / 1024 * number(
            figures(page)["float"]["BitOps"]
        ) * (1 + 1e-2)
        assert float(even["Weight bits"]) == int(average)
        assert number(ours["Size"]) > size
        now = np.array(list(bits(page).values()))
        assert (now >= before).all()  # bits never fall
        before, size = now, number(ours["Size"])
        assert page.query_params.get("bits", "4") in (f"{average:g}", [f"{average:g}"])
    assert {w for w, _ in bits(page).values()} == {8}


def test_moving_the_budget_runs_no_model(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    stop_all(compute.quick_jobs())
    monkeypatch.setattr("lrp.interpreter.Interpreter.run", lambda *a, **k: ran.append(a))
    monkeypatch.setattr("quant.budget_plan.price", lambda *a: ran.append(a))
    move(page, 82)
    assert slider(page)[82] == "6.10 bit"
    assert page.query_params["bits"] in ("6.1", ["6.1"])
    assert ran == []
    assert not compute.jobs().find(budget_state._LIVE)


def release(app: AppTest, row: int, run_until: RunUntil) -> None:
    """Let go of the slider with measuring on, and wait for the last image."""
    app.toggle(key=budget_state.AUTO).set_value(True).run()
    move(app, row)
    run_until(app, lambda: "in all" in said(app))


def test_letting_go_measures_and_keeps_a_run(
    page: AppTest, history: Runs, run_until: RunUntil
) -> None:
    release(page, 30, run_until)
    (run,) = history.listed()
    found = run.evaluation
    assert found is not None
    assert (run.state, found.images) == (DONE, IMAGES)
    assert (run.recipe.objective, run.recipe.budget) == ("sensitivity", "3.50 bit")
    assert run.recipe.allocation == {n: LayerBits(w, a) for n, (w, a) in bits(page).items()}
    top1, interval = metrics(page)["Top-1, measured"]
    assert top1 == f"{100 * found.top1:.1f} %"
    low, high = interval.removeprefix("95 %: ").removesuffix(" %").split(" to ")
    assert float(low) < 100 * found.top1 < float(high)
    difference, between = metrics(page)["Against float, same images"]
    exact = 100 * (run.counts.correct - run.counts.plain) / IMAGES
    assert float(difference.replace("−", "-")) == pytest.approx(exact, abs=0.051)
    assert between.startswith("95 %: ")
    assert "sensitivity 3.50 bit: 100 images, in all. Layers run as " in said(page)
    assert "1 configuration measured on these 100 images" in said(page)
    assert frame(page, "configuration")["top-1"].tolist() == [top1]


class Gate:
    """Lets evaluations see their first images only, until it opens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened = threading.Event()
        monkeypatch.setattr("app.evaluations.stream", self)

    def __call__(self, *args: object, cancel: threading.Event, **options: object) -> Iterator[Step]:
        for step in stream(*args, cancel=cancel, **options):
            yield step
            while not self.opened.wait(0.01):
                check(cancel)


def test_moving_again_stops_what_was_started(
    page: AppTest, history: Runs, run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    page.toggle(key=budget_state.AUTO).set_value(True).run()
    move(page, 34)
    run_until(page, lambda: "so far" in said(page))
    assert "of 100 images, so far" in said(page)
    assert "Top-1, measured" in metrics(page)
    move(page, 35)
    run_until(page, lambda: history.listed()[-1].state == STOPPED)
    gate.opened.set()
    run_until(page, lambda: "in all" in said(page))
    later, earlier = history.listed()
    assert (later.state, later.recipe.budget) == (DONE, "3.75 bit")
    assert (earlier.state, earlier.recipe.budget) == (STOPPED, "3.70 bit")
    assert 0 < earlier.counts.images < IMAGES
    move(page, 34)  # goes on where it was cut off
    run_until(page, lambda: "3.70 bit: 100 images, in all" in said(page))
    assert [run.counts.images for run in history.listed()] == [IMAGES, IMAGES]


def test_what_was_stopped_is_kept_and_said(
    page: AppTest, history: Runs, run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    Gate(monkeypatch)
    page.toggle(key=budget_state.AUTO).set_value(True).run()
    move(page, 36)
    run_until(page, lambda: "so far" in said(page))
    press(page, "Stop")
    run_until(page, lambda: "what was measured is kept" in said(page))
    assert "Top-1, measured" in metrics(page)
    assert "Stop" not in labels(page)
    assert history.listed()[0].state == STOPPED


def test_a_run_that_was_deleted_is_measured_again(
    page: AppTest, history: Runs, run_until: RunUntil
) -> None:
    release(page, 30, run_until)
    history.delete(history.listed()[0].id)
    move(page, 31)
    run_until(page, lambda: "3.55 bit: 100 images, in all" in said(page))
    move(page, 30)
    run_until(page, lambda: "3.50 bit: 100 images, in all" in said(page))
    assert sorted(run.recipe.budget for run in history.listed()) == ["3.50 bit", "3.55 bit"]


def test_what_was_measured_of_another_model_is_not_shown(
    page: AppTest, run_until: RunUntil
) -> None:
    release(page, 30, run_until)
    know_sensitivities("digits-vit")
    page.selectbox(key=state.MODEL).set_value("digits-vit").run()
    assert len(bits(page)) == len(compute.layers_of(made.model("digits-vit")))
    assert "Top-1, measured" not in metrics(page)
    page.selectbox(key=state.MODEL).set_value("digits-swin").run()
    assert "Let go of the slider" in said(page)


def know_sensitivities(name: str) -> None:
    """Keep made-up sensitivities of another model, which take long to find."""
    layers = compute.layers_of(made.model(name))
    calibrating = compute.calibrating(made.model(name), None, DEFAULT)
    losses = np.random.default_rng(0).random((2, len(layers), 1)) * 4.0 ** -np.array(MENU)
    names = tuple(layer.name for layer in layers)
    found = Sensitivity(names, MENU, *losses, ESTIMATED, 32)
    found.write(calibrating.sensitivities(ESTIMATED))


def test_an_error_in_measuring_is_told(
    page: AppTest, run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **options: object) -> Iterator[Step]:
        raise ValueError("sensitivity 3.90 bit gives logits that are not finite")
        yield

    monkeypatch.setattr("app.evaluations.stream", broken)
    page.toggle(key=budget_state.AUTO).set_value(True).run()
    move(page, 38)
    run_until(page, lambda: page.error)
    assert "Measuring sensitivity 3.90 bit failed" in errors(page)[0]
    assert slider(page)


def locked(app: AppTest) -> list[str]:
    return app.multiselect(key=f"{budget_state.BUDGET}-locks").value


def test_a_click_locks_a_layer_at_the_bits_it_has(page: AppTest) -> None:
    name = next(name for name, found in bits(page).items() if found not in ((2, 2), (8, 8)))
    had = bits(page)[name]
    page.multiselect(key=f"{budget_state.BUDGET}-locks").set_value([name]).run()
    assert not page.exception
    for row in (20, len(slider(page)) - 1):
        move(page, row)
        assert bits(page)[name] == had
    assert "1 layer is locked by hand" in said(page)
    page.multiselect(key=f"{budget_state.BUDGET}-locks").set_value([]).run()
    assert locked(page) == []
    assert bits(page)[name] > had


def test_layers_are_locked_in_the_list(page: AppTest) -> None:
    first, *_, last = bits(page)
    page.multiselect(key=state.LOCK_LAYERS).set_value([first, last])
    page.selectbox(key=state.LOCK_BITS).set_value(7)
    press(page, "Lock")
    assert (bits(page)[first], bits(page)[last]) == ((7, 7), (7, 7))
    assert f"`{first}` 7 bit, `{last}` 7 bit" in said(page)
    press(page, "Clear all")
    assert locked(page) == []
    press(page, "First and last at 8")
    assert (bits(page)[first], bits(page)[last]) == ((8, 8), (8, 8))
    assert slider(page)[0] > "2.00 bit"  # locks take some of every budget


def test_with_all_layers_locked_there_is_one_budget_and_a_way_out(page: AppTest) -> None:
    page.multiselect(key=state.LOCK_LAYERS).set_value(list(bits(page)))
    page.selectbox(key=state.LOCK_BITS).set_value(8)
    press(page, "Lock")
    assert slider(page) == ["8.00 bit"]
    assert set(bits(page).values()) == {(8, 8)}
    for unit in (budget_state.SIZE, budget_state.BITOPS):
        choose(page, budget_state.UNIT_CHOICE, unit)
        assert len(slider(page)) == 1
    press(page, "Unlock all")
    assert len(slider(page)) > 100


def test_limits_that_cannot_be_met_are_said_and_nothing_is_lost(page: AppTest) -> None:
    move(page, 50)
    names = list(bits(page))
    page.multiselect(key=state.LOCK_LAYERS).set_value(names)
    page.selectbox(key=state.LOCK_BITS).set_value(6)
    press(page, "Lock")
    page.number_input(key=budget_state.SIZE_LIMIT).set_value(0.3).run()
    assert "There is no such budget. Size: " in errors(page)[0]
    assert "the budget gives 0.3 MB" in errors(page)[0] or "0.3 MB" in errors(page)[0]
    assert not page.dataframe
    press(page, next(label for label in labels(page) if label.startswith("Unlock ")))
    assert errors(page) == []
    left = set(locked(page))
    assert 0 < len(left) < len(names)
    assert all(bits(page)[name] == (6, 6) for name in left)
    assert max(number(figures(page)["this budget"]["Size"]) for _ in "1") < 1e6
    page.number_input(key=budget_state.SIZE_LIMIT).set_value(0.01).run()
    assert "no unlocking is enough" in errors(page)[0]
    page.number_input(key=budget_state.SIZE_LIMIT).set_value(None).run()
    assert errors(page) == []
    assert set(locked(page)) == left


def test_other_limits_hold_besides_the_budget(page: AppTest) -> None:
    move(page, 120)
    free = figures(page)["this budget"]
    page.number_input(key=budget_state.SIZE_LIMIT).set_value(0.4).run()
    held = figures(page)["this budget"]
    parameters = sum(layer.parameters for layer in compute.layers_of(made.model()))
    assert float(held["Weight bits"]) * parameters / 8 <= 0.4e6 * 1.001
    assert float(free["Weight bits"]) == 8
    page.number_input(key=budget_state.BITOPS_LIMIT).set_value(0.5).run()
    assert number(figures(page)["this budget"]["BitOps"]) <= 0.5e9 * 1.001
    choose(page, budget_state.UNIT_CHOICE, budget_state.SIZE)  # the budget itself limits the size
    assert not [n for n in page.number_input if n.key == budget_state.SIZE_LIMIT]
    assert number(figures(page)["this budget"]["BitOps"]) <= 0.5e9 * 1.001


@pytest.mark.parametrize(
    ("unit", "suffix"), [(budget_state.SIZE, " MB"), (budget_state.BITOPS, " G")]
)
def test_budgets_are_counted_in_other_units(page: AppTest, unit: str, suffix: str) -> None:
    choose(page, budget_state.UNIT_CHOICE, unit)
    told = slider(page)
    values = [float(text.removesuffix(suffix)) for text in told]
    assert (np.diff(values) > 0).all()  # no two budgets are called the same
    move(page, 90)
    assert page.select_slider(key=budget_state.BUDGET).value == 90
    ours = figures(page)["this budget"]
    if unit == budget_state.BITOPS:
        assert number(ours["BitOps"]) <= values[90] * 1e9 * 1.01
    choose(page, budget_state.UNIT_CHOICE, budget_state.AVERAGE)
    assert page.select_slider(key=budget_state.BUDGET).value == FOUR
    choose(page, budget_state.UNIT_CHOICE, unit)
    assert page.select_slider(key=budget_state.BUDGET).value == 90


def test_only_the_widths_that_are_offered_are_taken(page: AppTest) -> None:
    choose(page, budget_state.WIDTHS_CHOICE, [2, 4, 8])
    move(page, 70)
    assert {b for pair in bits(page).values() for b in pair} <= {2, 4, 8}
    choose(page, budget_state.WIDTHS_CHOICE, [])
    assert next(
        g for g in page.get("button_group") if g.key == budget_state.WIDTHS_CHOICE
    ).value == list(MENU)


def test_weights_and_activations_are_tied_where_asked(page: AppTest) -> None:
    assert any(w != a for w, a in bits(page).values())
    page.toggle(key=budget_state.APART_CHOICE).set_value(True).run()
    assert all(w == a for w, a in bits(page).values())


def test_a_view_is_in_its_address_and_comes_back_from_it(page: AppTest, opened: Open) -> None:
    choose(page, budget_state.OBJECTIVE_CHOICE, "lrp")
    choose(page, budget_state.WIDTHS_CHOICE, [2, 4, 8])
    page.toggle(key=budget_state.APART_CHOICE).set_value(True).run()
    move(page, 70)
    choose(page, budget_state.UNIT_CHOICE, budget_state.BITOPS)
    choose(page, budget_state.UNIT_CHOICE, budget_state.AVERAGE)
    link = {
        name: value if isinstance(value, str) else value[0]
        for name, value in page.query_params.items()
    }
    assert {"by": "lrp", "widths": "248", "tied": "1", "bits": "5.5"}.items() <= link.items()
    assert "Ω 4⁻ᵇ" in said(page)
    again = opened(**link)
    assert again.select_slider(key=budget_state.BUDGET).value == 70
    assert bits(again) == bits(page)
    assert again.query_params == page.query_params
    unit = opened(**link | {"unit": "size"})
    assert slider(unit)[0].endswith(" MB")


@pytest.mark.parametrize("junk", ["x", "9", "", "-1", "nan", "4;8"])
def test_junk_in_a_link_is_the_default(opened: Open, junk: str) -> None:
    app = opened(
        bits=junk, by=junk, unit=junk, widths=junk.replace("8", "").replace("4", ""), tied=junk
    )
    assert slider(app)[app.select_slider(key=budget_state.BUDGET).value] == "4.00 bit"
    assert len(slider(app)) == 121
    assert "in nats" in said(app)
    assert errors(app) == []
