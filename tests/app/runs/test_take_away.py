"""The *Take it away* panel: what it offers, what its job makes, and what it says of it."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import onnx
import pytest
from streamlit.testing.v1 import AppTest

from app.parts import take_away
from app.state import runs as run_state
from app.work import exports, models, reports
from app.work.jobs import JobQueue
from assets.models.load import LoadedModel
from assets.sets.image_set import ImageSet
from quant.experiments.calibrating import Calibrating
from quant.export import formats
from quant.export.formats import FORMATS, Format
from quant.export.request import Exported, Request
from quant.history.recipe import Recipe
from quant.history.runs import Run, Runs
from tests.app import budget_pages as on
from tests.app import runs_made as made
from tests.quant.report.parsed import Page

Open = Callable[..., AppTest]
RunUntil = Callable[[AppTest, Callable[[], object]], None]
SWIN = {"model": "digits-swin"}
EXPORT, DOWNLOAD, STAND_IN = "Export and check", "Download the file", "stand-in"
CHECK = {"images": 60, "largest": 0.0123, "typical": 0.001, "moved": 0.5, "equal": 59 / 60}

LATENCY = {"seconds": 0.002, "float_seconds": 0.004, "ratio": 0.5, "low": 0.4, "high": 0.6}


def as_text(request: Request) -> bytes:
    return json.dumps(dict(request.facts)).encode()


def endless(request: Request) -> bytes:
    while True:
        request.progress(1, 8, "layer")
        threading.Event().wait(0.05)


@dataclass(frozen=True)
class StandIn(Format):
    """A format of text: what the file would say of itself."""

    write: Callable[[Request], bytes] = as_text

    def export(self, request: Request) -> Exported:
        content = self.write(request)
        size = {"bytes": len(content), "float_bytes": 4 * len(content)}
        found = {"check": CHECK, "latency": LATENCY, "versions": {STAND_IN: "1.0"}}
        return Exported(content, {**size, **found})


TEXT = StandIn("words that nobody runs", "", "", ".txt")


@pytest.fixture
def three(history: Runs, monkeypatch: pytest.MonkeyPatch, nothing_goes_on: None) -> list[Run]:
    """Float, 8 bits, and 4 bits of digits-swin on 60 images; one more format in the table."""
    monkeypatch.setitem(FORMATS, STAND_IN, TEXT)
    forget()
    return [
        made.keep(history, made.recipe(None), made.answers({20}, {20})),
        made.keep(history, made.recipe(8), made.answers({5, 20}, {20})),
        made.keep(history, made.recipe(4), made.answers({1, 2, 20}, {20})),
    ]


def forget() -> None:
    """Let go of the exports of other tests."""
    exports._kept()._entries.clear()


def to(app: AppTest, name: str) -> None:
    app.radio(key=run_state.FORMAT).set_value(name).run()
    assert not app.exception


def downloads(app: AppTest) -> list[str]:
    return [button.proto.label for button in app.get("download_button")]


def found(app: AppTest) -> dict[str, str]:
    return dict(on.frame(app, "found").to_numpy().tolist())


def subject(run: Run) -> exports.Subject:
    loaded, recipe = made.model(run.recipe.model), run.recipe
    return exports.Subject(loaded, recipe, lambda: opened(loaded, recipe))


def opened(loaded: LoadedModel, recipe: Recipe) -> tuple[Calibrating, ImageSet]:
    return models.calibrating_again(loaded, recipe), models.measured_again(loaded, recipe)


def content(run: Run, name: str = STAND_IN) -> bytes:
    """The file that is offered."""
    kept = subject(run).made(name)
    assert kept is not None
    return kept.content


def test_a_run_is_exported_by_a_job_and_told_of(
    three: list[Run], open_page: Open, run_until: RunUntil
) -> None:
    app = open_page("runs", **SWIN, run=str(three[2].id))
    assert list(app.radio(key=run_state.FORMAT).options) == list(FORMATS)
    assert DOWNLOAD not in downloads(app)
    to(app, STAND_IN)
    on.press(app, EXPORT)
    run_until(app, lambda: DOWNLOAD in downloads(app))
    facts = json.loads(content(three[2]))
    assert (facts["model"], facts["preset"]) == ("digits-swin", "repq-vit")
    assert facts["calibration_images"] == str(made.CALIBRATION)
    assert set(json.loads(facts["allocation"]).values()) == {"W4A4"}
    assert "98.3 % of the answers are Bitlens' own" in on.said(app)
    assert "0.25 of the float model's" in on.said(app)
    assert found(app)["same answers as Bitlens"].startswith("98.3 % of 60")
    assert "0.50 times as long (0.40 to 0.60)" in found(app)["an image takes"]
    app.session_state[run_state.RUN.key] = three[1].id
    app.run()
    assert DOWNLOAD not in downloads(app)  # that is of another run
    app.session_state[run_state.RUN.key] = three[2].id
    app.run()
    assert DOWNLOAD in downloads(app)


def test_a_report_tells_of_what_was_exported_of_its_run_in_this_session(
    three: list[Run], open_page: Open, run_until: RunUntil
) -> None:
    def report(run: Run) -> Page:
        app.session_state[run_state.RUN.key] = run.id
        app.run()
        on.press(app, "Report")
        run_until(app, lambda: "Download the report" in downloads(app))
        written = reports.written(app.session_state[run_state.REPORT.key][1])
        assert written is not None
        return Page(written.decode())

    app = open_page("runs", **SWIN, run=str(three[2].id))
    to(app, STAND_IN)
    on.press(app, EXPORT)
    run_until(app, lambda: DOWNLOAD in downloads(app))
    told, name = found(app), take_away.file_name(subject(three[2]), STAND_IN)
    page = report(three[2])
    assert name in page.text
    assert {row["what"]: row["found"] for row in page.table("found")} == told
    assert "Nothing that was exported" in report(three[1]).text
    forget()  # the file is gone, but it was exported
    assert name in report(three[2]).text
    app = open_page("runs", **SWIN, run=str(three[2].id))
    assert "Nothing that was exported" in report(three[2]).text


def test_only_a_quantized_run_of_the_model_in_use_is_offered(
    three: list[Run], history: Runs, open_page: Open
) -> None:
    app = open_page("runs", **SWIN, run=str(three[0].id))
    assert EXPORT not in on.labels(app)
    vit = made.keep(history, made.recipe(4, "digits-vit"), made.answers({3}, name="digits-vit"))
    app.session_state[run_state.RUN.key] = vit.id
    app.run()
    assert EXPORT not in on.labels(app)


def test_each_format_says_what_it_is_for(three: list[Run], open_page: Open) -> None:
    app = open_page("runs", **SWIN, run=str(three[2].id))
    captions = list(app.radio(key=run_state.FORMAT).proto.captions)
    assert captions[-1] == "Words that nobody runs."
    assert len(captions) == len(FORMATS)


@pytest.mark.parametrize(
    ("name", "says"),
    [("onnx", "repq-vit has logarithmic quantizers"), ("qonnx", "use the preset integer")],
)
def test_what_a_format_cannot_hold_is_said_in_place(
    name: str, says: str, three: list[Run], open_page: Open, run_until: RunUntil
) -> None:
    app = open_page("runs", **SWIN, run=str(three[2].id))
    to(app, name)
    on.press(app, EXPORT)
    run_until(app, lambda: on.errors(app))
    assert says in on.errors(app)[0].replace("\\", "")
    assert DOWNLOAD not in downloads(app)
    assert EXPORT in on.labels(app)
    to(app, STAND_IN)
    assert on.errors(app) == []


def test_missing_packages_are_told_with_what_installs_them(
    three: list[Run], open_page: Open, run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'onnx'", name="onnx")

    monkeypatch.setattr(formats, "import_module", missing)
    app = open_page("runs", **SWIN, run=str(three[1].id))
    to(app, "onnx")
    on.press(app, EXPORT)
    run_until(app, lambda: on.errors(app))
    assert "make export-tools" in on.errors(app)[0].replace("\\", "")


def test_images_that_are_gone_are_said(
    three: list[Run], history: Runs, open_page: Open, run_until: RunUntil
) -> None:
    other = replace(made.recipe(4), calibration_key="others")
    run = made.keep(history, other, made.answers({1}))
    app = open_page("runs", **SWIN, run=str(run.id))
    to(app, STAND_IN)
    on.press(app, EXPORT)
    run_until(app, lambda: on.errors(app))
    assert "calibrated on are no longer what" in on.errors(app)[0]


def test_it_can_be_cancelled(
    three: list[Run], open_page: Open, run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, STAND_IN, replace(TEXT, write=endless))
    app = open_page("runs", **SWIN, run=str(three[2].id))
    to(app, STAND_IN)
    on.press(app, EXPORT)
    run_until(app, lambda: "Cancel" in on.labels(app))
    assert EXPORT not in on.labels(app)
    key = ("export", STAND_IN, three[2].recipe.key)
    on.cancel(app, run_until, lambda: models.jobs().find(key))
    assert "Cancelled" in on.said(app)
    monkeypatch.setitem(FORMATS, STAND_IN, TEXT)
    on.press(app, EXPORT)
    run_until(app, lambda: DOWNLOAD in downloads(app))


def test_limits_of_jobs_hold(three: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    queue = JobQueue(per_owner=1, seconds=0.5)
    monkeypatch.setattr(models, "jobs", lambda: queue)
    monkeypatch.setattr(models, "owner", lambda: models.Owner("one", (queue,)))
    monkeypatch.setitem(FORMATS, STAND_IN, replace(TEXT, write=endless))
    subjects = [subject(run) for run in three[1:]]
    for one in subjects:
        one.begin(STAND_IN)
    long, refused = (one.job(STAND_IN) for one in subjects)
    assert long is not None
    assert refused is not None
    assert "1 jobs of yours" in refused.error
    assert long.ended.wait(60)
    assert "more than 0.5 s" in long.error


def test_the_budget_page_exports_what_the_slider_shows(
    open_budget: Open, run_until: RunUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, STAND_IN, TEXT)
    forget()
    on.know_sensitivities(on.MODEL)
    app = open_budget()
    to(app, STAND_IN)
    on.press(app, EXPORT)
    run_until(app, lambda: DOWNLOAD in downloads(app))
    on.choose(app, "below", "All layers, import, export")
    (kept,) = exports._kept()._entries.values()
    facts = json.loads(kept.content)
    shown = {name: f"W{w}A{a}" for name, (w, a) in bits(app).items()}
    assert json.loads(facts["allocation"]) == shown
    on.move(app, on.FOUR + 30)
    assert DOWNLOAD not in downloads(app)
    assert EXPORT in on.labels(app)


def bits(app: AppTest) -> dict[str, tuple[int, int]]:
    columns = ["layer", "weight bits", "activation bits"]
    rows = on.frame(app, "weight bits")[columns].to_numpy().tolist()
    return {name: (w, a) for name, w, a in rows}


def test_int8_becomes_a_file_that_says_what_it_is(
    history: Runs, nothing_goes_on: None, open_page: Open, run_until: RunUntil
) -> None:
    forget()
    recipe = made.recipe(8, "digits-vit", preset="integer")
    run = made.keep(history, recipe, made.answers({3}, name="digits-vit"))
    app = open_page("runs", model="digits-vit", run=str(run.id))
    to(app, "onnx")
    on.press(app, EXPORT)
    run_until(app, lambda: DOWNLOAD in downloads(app) or on.errors(app))
    assert on.errors(app) == []
    assert int(found(app)["products on integers"]) > 0
    assert "to float" in found(app)["top-1 of the file"]
    file = onnx.load_from_string(content(run, "onnx"))
    facts = {one.key: one.value for one in file.metadata_props}
    assert facts["weights"] == recipe.model_key
    assert json.loads(facts["check"])["check"]["images"] == made.IMAGES
    assert take_away.file_name(subject(run), "onnx") == "digits-vit-uniform-8-bits-onnx.onnx"
