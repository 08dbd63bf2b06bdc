"""What a budget buys: an allocation, its cost, and what to compare both with. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from app import units
from app.charts import KINDS
from app.tasks import SEED, Configuration
from lrp.layers import Layer
from lrp.scores import ContributionScores
from quant.allocation import Allocation, LayerBits, Solution, allocate, uniform
from quant.cost import Cost, cost, uniform_cost

FLOAT_BITS = 32.0


@dataclass(frozen=True)
class Spent:
    """The cost of an allocation beside float and beside the same bits spent uniformly."""

    mixed: Cost
    plain: Cost
    uniform: Cost

    @classmethod
    def of(cls, layers: Sequence[Layer], solution: Solution, others: int) -> Spent:
        """Work out the three costs; `others` are the parameters that stay in float."""
        return cls(
            cost(layers, solution.allocation, others),
            cost(layers, {}, others),
            uniform_cost(layers, solution.average_bits, others),
        )

    def table(self) -> pd.DataFrame:
        """Return the three as rows."""
        rows = {"float": self.plain, "uniform": self.uniform, "mixed": self.mixed}
        return pd.DataFrame(
            [
                {
                    "configuration": name,
                    "average bits": round(c.average_bits, 2),
                    "size": units.size(c.size_bytes),
                    "BitOps": units.operations(c.bitops),
                    "size against float": units.factor(self.plain.size_bytes / c.size_bytes),
                    "BitOps against float": units.factor(self.plain.bitops / c.bitops),
                }
                for name, c in rows.items()
            ]
        )


def layer_rows(
    layers: Sequence[Layer],
    scores: ContributionScores,
    allocation: Allocation,
    locks: Mapping[str, int],
) -> pd.DataFrame:
    """Return one row a layer: score, spread, bits, size, work."""
    mean, deviation = scores.mean, scores.sd
    return pd.DataFrame(
        [
            {
                "layer": layer.name,
                "kind": KINDS[layer.kind],
                "score": 100 * mean[layer.name],
                "sd": 100 * deviation[layer.name],
                "weight bits": allocation[layer.name].weight,
                "activation bits": allocation[layer.name].activation,
                "locked": layer.name in locks,
                "weights": layer.parameters,
                "multiply-adds": layer.macs,
            }
            for layer in layers
        ]
    )


def whole_bits(average: float) -> int:
    """Return the whole width nearest to an average, to compare with uniformly."""
    return int(np.clip(round(average), 2, 8))


def plain(layers: Sequence[Layer], others: int) -> Configuration:
    """Configure the model as it is."""
    return Configuration("float", "float", None, cost(layers, {}, others))


def even(layers: Sequence[Layer], others: int, width: int) -> Configuration:
    """Configure every layer at one width."""
    return _configuration("uniform", f"uniform {width} bit", layers, others,
                          uniform(layers, width, width))  # fmt: skip


def mixed(
    layers: Sequence[Layer], others: int, solution: Solution, locks: Mapping[str, int]
) -> Configuration:
    """Configure the layers as the budget was spent."""
    note = f" ({len(locks)} locked)" if locks else ""
    name = f"mixed {units.bits(solution.average_bits)}{note}"
    return _configuration("mixed", name, layers, others, solution.allocation)


def chance(
    layers: Sequence[Layer], others: int, average: float, locks: Mapping[str, int]
) -> Configuration:
    """Configure the layers as the same budget is spent by random scores: the baseline to beat."""
    draws = np.random.default_rng(SEED).random(len(layers))
    scores = {layer.name: float(d) for layer, d in zip(layers, draws, strict=True)}
    solution = allocate(layers, scores, average, locks=locks)
    name = f"random {units.bits(average)}"
    return _configuration("random", name, layers, others, solution.allocation)


def _configuration(
    kind: str, name: str, layers: Sequence[Layer], others: int, allocation: dict[str, LayerBits]
) -> Configuration:
    return Configuration(kind, name, allocation, cost(layers, allocation, others))
