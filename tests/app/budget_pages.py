"""What tests do to the Budget page, and read off it."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from app.state import budget
from app.work import models
from app.work.job import CANCELLED, Job
from app.work.jobs import JobQueue
from lrp.engine.layers import Layer
from lrp.engine.progress import Progress
from quant.allocation.objectives import LRP, PRODUCT, SENSITIVITY
from quant.analysis.sensitivity import ESTIMATED, Sensitivity
from quant.calibration.presets import DEFAULT
from quant.evaluation.stream import Step, stream
from quant.experiments.calibrating import Calibrating
from quant.primitives.bits import MENU
from tests.app import runs_made as made

MODEL = "digits-swin"
RunUntil = Callable[[AppTest, Callable[[], object]], None]
FOUR = 40  # the row of 4 bits, which the page begins with: 2 to 8 bits in 121 steps
IMAGES = 100


def choose(app: AppTest, key: str, value: object) -> None:
    """Choose an option of a segmented control or of pills."""
    next(group for group in app.get("button_group") if group.key == key).set_value(value).run()
    assert not app.exception


def press(app: AppTest, label: str) -> None:
    next(button for button in app.button if button.label == label).click().run()
    assert not app.exception


def cancel(app: AppTest, run_until: RunUntil, find: Callable[[], Job | None]) -> None:
    """Press *Cancel* once it is there, and wait until the job that goes on has stopped."""
    run_until(app, lambda: "Cancel" in labels(app))
    job = find()
    assert job is not None
    press(app, "Cancel")
    assert job.ended.wait(60)
    assert job.state == CANCELLED
    app.run()


def move(app: AppTest, row: int) -> None:
    app.select_slider(key=budget.PLAIN_BUDGET).set_value(row).run()
    assert not app.exception


def labels(app: AppTest) -> list[str]:
    return [button.label for button in app.button]


def said(app: AppTest) -> str:
    texts = [*app.caption, *app.markdown, *app.info, *app.warning]
    return " ".join(text.value for text in texts).replace("\u00a0", " ")


WORDS = {
    "most relevance": LRP,
    "weighted by relevance": PRODUCT,
    "closest to float's.": SENSITIVITY,
}


def spent_by(app: AppTest) -> str:
    """Name the objective that the page says it spends by."""
    return next((name for words, name in WORDS.items() if words in said(app)), "")


def errors(app: AppTest) -> list[str]:
    return [error.value for error in app.error]


def layers() -> tuple[Layer, ...]:
    return models.layers_of(made.model(MODEL))


def metrics(app: AppTest) -> dict[str, tuple[str, str]]:
    return {m.label: (m.value, m.delta.replace("\u00a0", " ")) for m in app.metric}


def frame(app: AppTest, column: str) -> pd.DataFrame:
    """Return the table that has a column."""
    return next(t.value for t in app.dataframe if column in t.value)


def bits(app: AppTest) -> dict[str, tuple[int, int]]:
    rows = frame(app, "activations").to_numpy().tolist()
    return {name: (int(w), int(a)) for name, w, a in rows}


def figures(app: AppTest) -> dict[str, dict[str, str]]:
    return frame(app, "Gap").set_index("").to_dict("index")


def slider(app: AppTest) -> list[str]:
    return app.select_slider(key=budget.PLAIN_BUDGET).options


def number(text: str) -> float:
    """Read a quantity: "2.30 MB" is 2300000."""
    value, *prefix = text.split()
    scale = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}
    return float(value) * scale["".join(prefix).removesuffix("B")]


def made_up(name: str, how: str = ESTIMATED) -> Sensitivity:
    """Return sensitivities by chance, which fall as widths grow."""
    names = tuple(layer.name for layer in models.layers_of(made.model(name)))
    losses = np.random.default_rng(0).random((2, len(names), 1)) * 4.0 ** -np.array(MENU)
    return Sensitivity(names, MENU, *losses, how, 32)


def know_sensitivities(name: str, folder: str | None = None) -> None:
    """Keep made-up sensitivities of a model, which take long to find."""
    found = calibrating(name, folder)
    made_up(name).write(found.sensitivity_file(ESTIMATED), found.kept_key)


def calibrating(name: str, folder: str | None = None) -> Calibrating:
    return models.calibrating(made.model(name), folder, DEFAULT)


def write_pictures(folder: Path, count: int) -> None:
    """Write pictures of noise, one class after the other."""
    for index in range(count):
        place = folder / str(index % 10)
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(place / f"{index}.png")


def stop_all(queue: JobQueue) -> None:
    """Stop what runs and what waits, and wait until it has stopped."""
    for job in list(queue._jobs.values()):
        for owner in list(job.owners):
            queue.leave(job, owner)
        assert job.ended.wait(60)


class Gate:
    """Lets evaluations see their first images only, until it opens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened = threading.Event()
        monkeypatch.setattr("quant.experiments.measuring.stream", self)

    def __call__(self, *args: object, progress: Progress, **options: object) -> Iterator[Step]:
        for step in stream(*args, progress=progress, **options):
            yield step
            while not self.opened.wait(0.01):
                progress.check()
