"""Made-up recipes and answers, and processes that write them into a history."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from quant.evaluation.answers import Answers
from quant.history.recipe import Recipe
from quant.history.runs import Runs
from quant.primitives.bits import LayerBits

RECIPE = Recipe(
    model="digits-vit",
    checkpoint=None,
    model_key="digits-vit-0123",
    data=None,
    images_key="digits-validation",
    images=500,
    seed=0,
    preset="bitlens",
    calibration_key="digits-calibration",
    calibration_images=32,
    allocation={"patch_embed.proj": LayerBits(8, 8), "head": LayerBits(3, 5)},
    objective="lrp",
    budget="4 bits",
    device="cpu",
    versions={"torch": "2.0"},
)


def recipe(**changes: Any) -> Recipe:
    """The made-up recipe, with changes."""
    return replace(RECIPE, **changes)


def answers(start: int, stop: int) -> Answers:
    """Answers that follow from the position alone: three of four are right, float always."""
    places = np.arange(start, stop)
    labels = (places % 10).astype(np.int32)
    predicted = np.where(places % 4 == 3, (labels + 1) % 10, labels).astype(np.int32)
    return Answers(labels, predicted, labels, places % 8 != 7, places.astype(np.float32) / 100)


def write(path: str, clip: int, chunks: int, pipe: Connection) -> None:
    """Append ten answers at a time to the run whose preset clips at `clip`.

    Says that it is ready, waits to be told, then says (run, answers kept) after each time.
    """
    pipe.send("ready")
    pipe.recv()
    runs = Runs(path)
    run = runs.begin(recipe(preset=f"bitlens:clip={clip}"))
    first = run.counts.images
    for start in range(first, first + 10 * chunks, 10):
        runs.append(run.id, answers(start, start + 10), 0.5, start)
        pipe.send((run.id, start + 10))
    runs.finish(run.id)


def execute(path: Any, *statements: str) -> Any:
    """Run statements on a file as another program would; return what the last one found."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return [connection.execute(statement).fetchall() for statement in statements][-1]


def make_older(path: Any, version: int) -> None:
    """Take away from a history's file what versions after `version` (2 or 3) have brought."""
    sums = [f"ALTER TABLE {table} DROP COLUMN sum" for table in ("runs", "answers", "logits")]
    logits = ["DROP TABLE logits"] if version < 3 else []
    execute(path, *sums, *logits, f"PRAGMA user_version = {version}")
