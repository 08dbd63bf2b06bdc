"""Spending budgets: a whole plan against one exact solution, growing models, and gaps."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from bench.models import NAMES, build
from bench.timing import ratios, show
from lrp.engine.layers import Layer, list_layers
from quant.allocation.budget import Choices, from_average, offer
from quant.allocation.exact import exact
from quant.allocation.objectives import Losses
from quant.allocation.path import BudgetPlan, budget_plan
from quant.primitives.bits import MENU

AVERAGES = [round(2 + 0.05 * step, 2) for step in range(121)]
SIZES = (74, 148, 296, 592, 1000)
SEEDS = range(5)
SIDES = {"tied": True, "separate": False}


def main() -> None:
    """Measure plans of 121 budgets on DeiT-Tiny's layers and multiples of them."""
    layers = list_layers(build(NAMES[0], 1)[0], (3, 224, 224))
    for side, tied in SIDES.items():
        choices, losses = offer(layers, tied=tied), _losses(layers, 0)
        limit = from_average(layers, 4)
        name = f"{side}: a plan of {len(AVERAGES)} budgets"
        runs = {
            "exact": lambda c=choices, lo=losses, li=limit: exact(c, lo, li),
            name: lambda c=choices, lo=losses: _plan(layers, c, lo),
        }
        show(f"{len(layers)} layers, against one exact solution", ratios(runs, "exact", 5))
        print(f"{name}: {1000 * _median_seconds(runs[name]):.0f} ms here")
        _show_growth(layers, side)
    _show_gaps(layers)


def _show_growth(layers: tuple[Layer, ...], side: str) -> None:
    runs = {}
    for count in SIZES:
        many = _repeated(layers, count)
        choices, losses = offer(many, tied=SIDES[side]), _losses(many, 0)
        runs[f"{count} layers"] = lambda m=many, c=choices, lo=losses: _plan(m, c, lo)
    show(f"{side}: plans of growing models", ratios(runs, f"{SIZES[0]} layers", rounds=3))


def _show_gaps(layers: tuple[Layer, ...]) -> None:
    """Print how far plans are from their bounds, and from exact solutions."""
    print(f"\n{f'gaps in %, {len(SEEDS)} sets of losses':<44} median   90 %   most")
    for side, tied in SIDES.items():
        choices = offer(layers, tied=tied)
        sets = [_losses(layers, seed) for seed in SEEDS]
        for name, nested in (("nested", True), ("each row its own", False)):
            plans = [_plan(layers, choices, losses, nested) for losses in sets]
            _show_quantiles(f"{side}, {name}, above the bound", np.array([p.gap for p in plans]))
            above = [
                gap
                for plan, losses in zip(plans, sets, strict=True)
                for gap in _above_exact(plan, choices, losses)
            ]
            _show_quantiles(f"{side}, {name}, above exact", np.array(above))


def _above_exact(plan: BudgetPlan, choices: Choices, losses: Losses) -> Iterator[float]:
    for row in range(4, len(plan.limits), 12):
        yield plan.loss[row] / exact(choices, losses, plan.limits[row]).loss - 1


def _show_quantiles(name: str, values: np.ndarray) -> None:
    quantiles = np.quantile(100 * values, (0.5, 0.9, 1))
    print(f"{name:<44}" + "".join(f"{value:7.3f}" for value in quantiles))


def _plan(
    layers: tuple[Layer, ...], choices: Choices, losses: Losses, nested: bool = True
) -> BudgetPlan:
    limits = [from_average(layers, average) for average in AVERAGES]
    return budget_plan(choices, losses, limits, nested)


def _median_seconds(run: Callable[[], object], rounds: int = 7) -> float:
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _repeated(layers: tuple[Layer, ...], count: int) -> tuple[Layer, ...]:
    copies = range(-(-count // len(layers)))
    many = [replace(la, name=f"{copy}.{la.name}") for copy in copies for la in layers]
    return tuple(many[:count])


def _losses(layers: tuple[Layer, ...], seed: int) -> Losses:
    """Losses that fall as 4^-b with noise in the exponent, from scales far apart."""
    chance = np.random.default_rng(seed)
    shape = (len(layers), len(MENU))
    sides = [
        10 ** chance.normal(0, 0.75, (len(layers), 1))
        * 4.0 ** -(np.array(MENU) + 0.3 * chance.normal(size=shape))
        for _ in range(2)
    ]  # fmt: skip
    return Losses(tuple(la.name for la in layers), MENU, *sides, "made up")
