"""Readings of LRP-QViT's score and objective under its own quantizer, widths tied, side by side.

`python -m bench.readings --model M --checkpoint FILE --data FOLDER`. Needs trained weights, so it
is no part of `python -m bench`.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import numpy as np

from assets.home import home
from assets.sets.options import add_data_arguments, add_model_arguments
from assets.sets.selection import Draw
from assets.terminal import markdown
from lrp.engine.names import part_of
from lrp.propagation.rules import LRP_QVIT
from lrp.propagation.scores import STATISTICS, Scoring
from quant.allocation.budget import from_average, offer
from quant.allocation.exact import exact
from quant.allocation.objectives import (
    RANDOM,
    REVERSED,
    SENSITIVITY,
    UNIFORM,
    Losses,
    by_scores,
    by_sensitivity,
    random_losses,
    reversed_losses,
)
from quant.analysis.sensitivity_estimation import estimate
from quant.analysis.widths import PLAIN
from quant.calibration.presets import preset
from quant.commands.shared.options import Subject, subject
from quant.evaluation.clustered import Answered, Estimate, standard_error
from quant.experiments.calibrating import Calibrating
from quant.experiments.measuring import Measuring, Variant
from quant.experiments.objective_sweep import Configuration, Row, Trial, summarise
from quant.primitives.bits import MENU, Allocation, LayerBits, uniform

SUM, MEAN, ABSOLUTE = STATISTICS
RULES = LRP_QVIT.name
COLUMNS = (
    "bits",
    "bits by",
    "draws",
    "W / A bits",
    "GBitOps",
    "top-1, %",
    "to uniform, points",
    "divergence, nats",
    "to uniform, nats",
)


class Reading(NamedTuple):
    """How relevance decides bits.

    Attributes:
        statistic: of a layer's relevance.
        kinds: whether scores are divided by the mean of the layers of their kind.
        linear: whether Omega (w + a) is maximised, not Omega (4^-w + 4^-a) minimised.
        narrow: whether widths are the budget and one bit more and less, not 2 to 8.
        size: whether size alone is limited, and BitOps are not.
    """

    statistic: str
    kinds: bool = False
    linear: bool = False
    narrow: bool = False
    size: bool = False

    def __str__(self) -> str:
        kinds, value = ", by kind" * self.kinds, "linear" if self.linear else "4^-b"
        narrow, size = ", narrow" * self.narrow, ", size alone" * self.size
        return f"{self.statistic}{kinds}, {value}{narrow}{size}"

    def losses(self, scores: Mapping[str, float]) -> Losses:
        """Return what each width of each layer costs."""
        found = by_scores(_alike(scores) if self.kinds else scores, str(self))
        if not self.linear:
            return found
        column = found.weight[:, :1] * 4.0 ** MENU[0]
        lost = column * (MENU[-1] - np.array(MENU))
        return replace(found, weight=lost, activation=lost)


_EVERY = (
    Reading(SUM),
    Reading(ABSOLUTE),
    Reading(MEAN),
    Reading(SUM, kinds=True),
    Reading(SUM, narrow=True),
    Reading(MEAN, narrow=True),
    Reading(SUM, kinds=True, narrow=True),
    Reading(SUM, linear=True),
    Reading(SUM, linear=True, narrow=True),
    Reading(MEAN, linear=True, narrow=True),
    Reading(SUM, kinds=True, linear=True, narrow=True),
    Reading(SUM, size=True),
    Reading(SUM, narrow=True, size=True),
    Reading(SUM, kinds=True, narrow=True, size=True),
    Reading(SUM, linear=True, narrow=True, size=True),
)
READINGS = {str(reading): reading for reading in _EVERY}
# What uniform bits give with more of them for attention products, which no size limits.
MORE = {UNIFORM: 0, f"{UNIFORM}, products + 1": 1, f"{UNIFORM}, products {MENU[-1]}": MENU[-1]}
NARROW = f"{SENSITIVITY}, narrow"
BESIDE = (*MORE, NARROW, REVERSED, RANDOM)


def _alike(scores: Mapping[str, float]) -> dict[str, float]:
    """Divide scores by the mean of the layers of their kind."""
    of_kind: dict[str, list[float]] = {}
    for name, score in scores.items():
        of_kind.setdefault(part_of(name), []).append(score)
    return {name: score / float(np.mean(of_kind[part_of(name)])) for name, score in scores.items()}


class Attempt:
    """One draw of calibration images: what readings choose on them, and what that gives."""

    def __init__(self, options: argparse.Namespace, model: Subject, draw: int) -> None:
        counts = options.images, options.limit
        images = Draw(model.loaded, options.data, None, *counts, seed=draw, measured_seed=0)
        self.draw, self._model, self._images = draw, model, images.calibrating
        chosen = preset(options.preset)
        self._calibrating = Calibrating(model.loaded, self._images, chosen, model.device, home())
        self._measuring = Measuring(self._calibrating, images.measured, None)
        self._found: dict[str, dict[str, float]] = {}  # scores
        self._known: dict[str, Answered] = {}

    def trial(self, by: str, budget: float) -> Trial:
        """Measure what a reading, a control or the yardstick makes of a budget."""
        name = f"{RANDOM}-{self.draw}" if by == RANDOM else by
        one = Configuration(budget, name, self._chosen(by, budget), math.nan, None)
        return Trial(one, self.draw, self._answered(one), None)

    def _chosen(self, by: str, budget: float) -> Allocation:
        if by in READINGS:
            return self._spent(budget, self._losses(READINGS[by]), READINGS[by])
        if by in MORE:
            return self._even(int(budget), MORE[by])
        if by == NARROW:
            return self._spent(budget, self._sensitivity(budget), Reading(SUM, narrow=True))
        first = self._losses(Reading(SUM))
        random = random_losses(first.names, self.draw)
        return self._spent(budget, random if by == RANDOM else reversed_losses(first))

    def _even(self, bits: int, more: int) -> Allocation:
        """Return the same bits for all layers, and more for attention products."""
        layers, wide = self._model.layers, min(bits + more, MENU[-1])
        products = {one.name: LayerBits(wide, wide) for one in layers if one.is_product}
        return uniform(layers, bits, bits) | products

    def _spent(self, budget: float, losses: Losses, reading: Reading = _EVERY[0]) -> Allocation:
        layers = self._model.layers
        menu, limits = _narrow(budget) if reading.narrow else MENU, from_average(layers, budget)
        limits = replace(limits, bitops=math.inf) if reading.size else limits
        return exact(offer(layers, menu, tied=True), losses, limits).allocation

    def _losses(self, reading: Reading) -> Losses:
        return reading.losses(self._scores(reading.statistic))

    def _sensitivity(self, budget: float) -> Losses:
        """Estimate what each narrow width costs, as other widths are not calibrated for it."""
        calibration, widths = self._calibrating.calibration, _narrow(budget)
        calibration.solve(widths)
        return by_sensitivity(estimate(calibration, widths={w: PLAIN[w] for w in widths}))

    def _scores(self, statistic: str) -> dict[str, float]:
        if statistic not in self._found:
            model = self._model
            how = RULES, statistic, model.device
            self._found[statistic] = Scoring(model.loaded, self._images, *how).scores().mean
        return self._found[statistic]

    def _answered(self, one: Configuration) -> Answered:
        """Measure an allocation, once."""
        key = str(one.allocation)
        if key not in self._known:
            variant = Variant(one.allocation, one.objective, f"{one.budget:g} bits")
            *_, last = self._measuring.measure(variant)
            places = np.array(self._measuring.images.indices)
            self._known[key] = Answered(last.answers, places)
        return self._known[key]


def main() -> None:
    """Measure all readings, and print what was found so far after every draw."""
    options = _options()
    model, trials = subject(options), list[Trial]()
    for draw in range(options.draws):
        attempt = Attempt(options, model, draw)
        for budget, by in product(options.budgets, options.by):
            trial = attempt.trial(by, budget)
            found = trial.answered.answers.evaluation(0)
            told = f"divergence {found.divergence:.4f}, top-1 {100 * found.top1:.1f}"
            print(f"draw {draw + 1}, {trial.configuration}: {told}", flush=True)
            trials.append(trial)
        print(f"\n{options.model}, {options.preset}, {draw + 1} draws\n\n{_table(model, trials)}\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.readings", description=__doc__)
    add_model_arguments(parser)
    add_data_arguments(parser)
    parser.add_argument("--preset", default="lrp-qvit", help="default: lrp-qvit")
    parser.add_argument("--budgets", type=int, nargs="+", default=[4, 6], help="default: 4 6")
    every = [*BESIDE, *READINGS]
    parser.add_argument("--by", nargs="+", default=every, choices=every, help="default: all")
    parser.add_argument("--draws", type=int, default=5, help="default: 5")
    parser.add_argument("--images", type=int, default=32, help="that calibrate (default: 32)")
    parser.add_argument("--limit", type=int, help="images to measure (default: all)")
    return parser.parse_args()


def _narrow(budget: float) -> list[int]:
    return [width for width in MENU if abs(width - budget) <= 1]


def _table(model: Subject, trials: Sequence[Trial]) -> str:
    rows = [_cells(row, _gained(trials, row)) for row in summarise(model.costs, trials)]
    return markdown([list(COLUMNS), *rows])


def _gained(trials: Sequence[Trial], row: Row) -> list[float]:
    """Return each draw's divergence less that of uniform bits."""
    at = [trial for trial in trials if trial.configuration.budget == row.budget]
    even = {t.draw: _divergence(t) for t in at if t.configuration.objective == UNIFORM}
    return [_divergence(t) - even[t.draw] for t in at if t.configuration.kind == row.objective]


def _divergence(trial: Trial) -> float:
    return float(trial.answered.answers.divergence.mean(dtype=float))


def _cells(row: Row, gained: Sequence[float]) -> list[str]:
    uniform_bits = row.objective == UNIFORM
    return [
        f"{row.budget:g}",
        row.objective,
        str(row.runs),
        f"{row.weight_bits:.2f} / {row.activation_bits:.2f}",
        f"{row.bitops / 1e9:.2f}",
        _points(row.top1),
        "" if uniform_bits or row.to_uniform is None else _points(row.to_uniform, "+"),
        _with_error(row.divergence, row.divergence_error),
        "" if uniform_bits else _with_error(float(np.mean(gained)), standard_error(gained), "+"),
    ]


def _points(estimate: Estimate, sign: str = "") -> str:
    shown, error = 100 * estimate.value, estimate.error
    return f"{shown:{sign}.1f}" + ("" if error is None else f" ± {100 * error:.1f}")


def _with_error(value: float, error: float | None, sign: str = "") -> str:
    return f"{value:{sign}.3f}" + ("" if error is None else f" ± {error:.3f}")


if __name__ == "__main__":
    main()
