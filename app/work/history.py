"""The history of runs as the page needs it: opened once, filtered, put into words and tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import streamlit as st

from app import public
from app.look import units
from assets.home import home
from quant.allocation.cost import Cost
from quant.history.recipe import Recipe
from quant.history.runs import FILE, RUNNING, Run, Runs

ANY = "All"
UNKNOWN = "–"
Costs = Mapping[int, Cost | None]


@dataclass(frozen=True)
class Filter:
    """Which runs are wanted; ANY leaves open."""

    model: str = ANY
    objective: str = ANY
    state: str = ANY
    text: str = ""

    def takes(self, run: Run) -> bool:
        """Return whether a run is wanted; every word of the text has to be found in it."""
        values = (run.recipe.model, objective(run.recipe), run.state)
        wanted = (self.model, self.objective, self.state)
        if any(want not in (ANY, have) for want, have in zip(wanted, values, strict=True)):
            return False
        text = f"{run.id} {name(run.recipe)} {run.recipe.model} {run.recipe.preset} {run.note}"
        return all(word in text.lower() for word in self.text.lower().split())


@st.cache_resource(max_entries=2, show_spinner=False)
def _open(path: str) -> Runs:
    return Runs(path)


@st.cache_resource(scope="session", show_spinner=False, on_release=TemporaryDirectory.cleanup)
def _own() -> "TemporaryDirectory[str]":
    return TemporaryDirectory(prefix="bitlens-", ignore_cleanup_errors=True)


@st.cache_resource(scope="session", show_spinner=False)
def _open_own(path: str) -> Runs:
    return Runs(path)


def place() -> str:
    """Return where this user's history is; in the public mode a session's own goes with it."""
    return str(Path(_own().name if public.on() else home()) / FILE)


def let_go() -> None:
    """Remove a session's own history."""
    _own().cleanup()


def history() -> Runs:
    """Return this user's history; ValueError where its file cannot be used."""
    return (_open_own if public.on() else _open)(place())


def objective(recipe: Recipe) -> str:
    """Return what an allocation was chosen by; float has none."""
    return "float" if recipe.allocation is None else recipe.objective


def name(recipe: Recipe) -> str:
    """Return shortly how a model was run: "float", "uniform 4 bits"."""
    return "float" if recipe.allocation is None else f"{recipe.objective} {recipe.budget}"


def quantizer(recipe: Recipe) -> str:
    """Return the preset; float has none."""
    return "" if recipe.allocation is None else recipe.preset


def progress(run: Run) -> str:
    """Return how many images were answered, of how many where it is not all of them."""
    done, wanted = units.count(run.counts.images), units.count(run.recipe.images)
    return done if run.counts.images == run.recipe.images else f"{done} of {wanted}"


def table(runs: Sequence[Run], costs: Costs, marks: Mapping[int, str]) -> pd.DataFrame:
    """Return one row a run, written for reading.

    Args:
        costs: by number; None where the model is not in use.
        marks: what pinned runs are called, by number.
    """
    return pd.DataFrame(
        [{"pin": marks.get(run.id, ""), **_row(run, costs[run.id])} for run in runs]
    )


def _row(run: Run, spent: Cost | None) -> dict[str, object]:
    e = run.evaluation
    bounds = "" if e is None else units.interval(e.top1_low, e.top1_high)
    apart = "" if e is None else units.points_between(e.difference_low, e.difference_high)
    return {
        "run": run.id,
        "model": run.recipe.model,
        "configuration": name(run.recipe),
        "quantizer": quantizer(run.recipe),
        "bits": UNKNOWN if spent is None else f"{spent.average_bits:.2f}",
        "top-1": None if e is None else 100 * e.top1,
        "95 % interval": bounds,
        "to float": None if e is None else 100 * e.difference,
        "its interval": apart,
        "images": progress(run),
        "state": f"{run.state} …" if run.state == RUNNING else run.state,
        "size": UNKNOWN if spent is None else units.size(spent.size_bytes),
        "BitOps": UNKNOWN if spent is None else units.large(spent.bitops),
        "when": run.created,
        "note": run.note,
    }


def numbers(runs: Sequence[Run], costs: Costs) -> pd.DataFrame:
    """Return one row a run for a file: plain numbers, percentages and decimal units."""
    return pd.DataFrame([_numbers(run, costs[run.id]) for run in runs])


def _numbers(run: Run, spent: Cost | None) -> dict[str, object]:
    recipe, e = run.recipe, run.evaluation
    facts: dict[str, object] = {
        "run": run.id,
        "when": run.created.isoformat(timespec="seconds"),
        "model": recipe.model,
        "configuration": name(recipe),
        "quantizer": quantizer(recipe),
        "average bits": None if spent is None else spent.average_bits,
        "size (MB)": None if spent is None else spent.size_bytes / 1e6,
        "BitOps (G)": None if spent is None else spent.bitops / 1e9,
        "images": run.counts.images,
        "images wanted": recipe.images,
        "state": run.state,
        "seconds": run.seconds,
        "note": run.note,
    }
    if e is None:
        return facts
    shares = ("top1", "top1_low", "top1_high", "top5", "agreement")
    differences = ("difference", "difference_low", "difference_high")
    return {
        **facts,
        **{f"{field} (%)": 100 * getattr(e, field) for field in shares},
        **{f"{field} (points)": 100 * getattr(e, field) for field in differences},
        "divergence (nats)": e.divergence,
    }
