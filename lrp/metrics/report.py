"""Faithfulness as figures for files, and those as a table for people."""

import math
from collections.abc import Mapping
from typing import Any

from lrp.metrics.faithfulness import Faithfulness, standard_error
from lrp.metrics.localisation import Localiser
from lrp.metrics.robustness import Robustness

Figures = dict[str, dict[str, Any]]  # by method

LEGEND = """\
MoRF, LeRF: mean probability of the predicted class while cells of the image are deleted, most or
least relevant first; the larger LeRF - MoRF, the more faithful. +-: one standard error over the
images. Cost: the time a map takes, the model's own forward and backward pass being 1."""
PLACES = """\
Mass: share of the positive relevance that lies on the digit's ink. Pointing: how often the
strongest point does. These models were trained with the true masks (token labels), so carry
neither figure over to others."""

SHAKEN = """\
Captum's measures, both better the lower. Infidelity: squared error, in logits, of what the map
predicts for random deletions. Sensitivity: how far a little noise moves the map, relative to it."""


def figures(
    results: dict[str, Faithfulness],
    default: str,
    places: Localiser | None = None,
    shaken: Mapping[str, Robustness] | None = None,
) -> Figures:
    """Return each method's figures, ready for JSON; None is a standard error of one image.

    Args:
        default: the method that the others are compared to, one of `results`.
        places: where the methods' maps lie, where masks are known.
        shaken: captum's measures of the methods, where they were taken.
    """
    made = {name: _figures(result, results[default]) for name, result in results.items()}
    for name, entry in made.items():
        if places is not None:
            entry["localisation"] = _localisation(places, name)
        if shaken:
            entry["infidelity"] = float(shaken[name].infidelity.mean())
            entry["max_sensitivity"] = float(shaken[name].max_sensitivity.mean())
    return made


def _figures(result: Faithfulness, default: Faithfulness) -> dict[str, Any]:
    difference, error = result.versus(default)
    return {
        "morf": float(result.morf_area.mean()),
        "lerf": float(result.lerf_area.mean()),
        "gap": result.gap_mean,
        "gap_se": _known(result.gap_se),
        "versus_default": {"mean": difference, "se": _known(error)},
        "seconds": result.seconds,
        "cost": result.cost,
        "curves": {
            "deleted": result.deleted.tolist(),
            "morf": result.morf.mean(0).tolist(),
            "lerf": result.lerf.mean(0).tolist(),
        },
    }


def _localisation(places: Localiser, name: str) -> dict[str, Any]:
    mass, hits = places.mass[name], places.hits[name]
    return {
        "mass": float(mass.mean()),
        "mass_se": _known(float(standard_error(mass))),
        "pointing": float(hits.float().mean()),
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def rows(made: Figures, default: str) -> list[list[str]]:
    """Return a table of figures, a row a method, the names of its columns first."""
    heading = ["method", "LeRF - MoRF", "MoRF", "LeRF", f"vs {default}", "cost"]
    located, shaken = "localisation" in made[default], "infidelity" in made[default]
    heading += ["mass", "pointing"] * located + ["infidelity", "sensitivity"] * shaken
    return [heading, *([name, *_cells(one, name == default)] for name, one in made.items())]


def legend(made: Figures, default: str) -> str:
    """Return what the columns of the table mean."""
    located, shaken = "localisation" in made[default], "infidelity" in made[default]
    return "\n".join([LEGEND, *[PLACES] * located, *[SHAKEN] * shaken])


def _cells(entry: dict[str, Any], is_default: bool) -> list[str]:
    difference, place = entry["versus_default"], entry.get("localisation")
    cells = [
        _with_error(entry["gap"], entry["gap_se"]),
        f"{entry['morf']:.3f}",
        f"{entry['lerf']:.3f}",
        "" if is_default else _with_error(difference["mean"], difference["se"]),
        f"{entry['cost']:.2f}",
    ]
    if place:
        cells += [_with_error(place["mass"], place["mass_se"]), f"{place['pointing']:.0%}"]
    if "infidelity" in entry:
        cells += [f"{entry['infidelity']:.3g}", f"{entry['max_sensitivity']:.3f}"]
    return cells


def _with_error(mean: float, error: float | None) -> str:
    return f"{mean:.3f}" if error is None else f"{mean:.3f} +- {error:.3f}"
