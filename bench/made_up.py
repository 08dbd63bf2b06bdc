"""Layers and budgets like DeiT-Tiny's, made up: what the slider is measured with."""

import gc
import threading
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise

import numpy as np
import torch

from app.components.budget_table import BudgetTable, Figures, Plain

BLOCK = (  # role, kind, parameters, multiply-accumulates
    ("attn.qkv", "linear", 110_592, 21.8e6),
    ("attn.matmul1", "matmul", 0, 7.5e6),
    ("attn.matmul2", "matmul", 0, 7.5e6),
    ("attn.proj", "linear", 36_864, 7.3e6),
    ("mlp.fc1", "linear", 147_456, 29.0e6),
    ("mlp.fc2", "linear", 147_456, 29.0e6),
)
ENDS = (("patch_embed.proj", "conv2d", 147_456, 28.9e6), ("head", "linear", 192_000, 0.192e6))
ROWS = 121  # budgets from 2 to 8 bits


@dataclass
class Live:
    """What the page remembers between its runs, for its one visitor."""

    row: int = 44
    locked: set[str] = field(default_factory=set)
    chosen: str | None = None

    def commit(self, row: int) -> None:
        """Keep where the slider was let go."""
        self.row = row

    def lock(self, name: str) -> None:
        """Lock a layer, or unlock it."""
        self.locked ^= {name}

    def choose(self, name: str) -> None:
        """Choose a layer."""
        self.chosen = name


LIVE = Live()


@cache
def budget_table(blocks: int = 12, separate: bool = False) -> BudgetTable:
    """Spend 121 budgets at random on 6 layers a block and two: 74 for 12 blocks."""
    model = [(f"blocks.{b}.{role}", str(b), *rest) for b in range(blocks) for role, *rest in BLOCK]
    first, last = [(name, "", *rest) for name, *rest in ENDS]
    names, labels, kinds, parameters, macs = zip(first, *model, last, strict=True)
    values = np.linspace(2, 8, ROWS)
    chance = np.random.default_rng(0)
    taste = [chance.normal(0, 0.8, len(names)) for _ in range(2)]
    # Bits that follow the budget, each layer at its own distance, never fall from row to row.
    spent = [np.clip(np.round(values[:, None] + t), 2, 8).astype(int) for t in taste]
    weight, activation = spent if separate else spent[:1] * 2
    even = values[:, None].repeat(len(names), 1)
    costs = np.array(parameters), np.array(macs)
    return BudgetTable(
        "Average bits", " bit", 2, values.tolist(),
        list(zip(names, labels, kinds, strict=True)), weight, activation,
        _figures(weight, activation, *costs, 0.05), _figures(even, even, *costs, 0.0),
        Plain(4 * sum(parameters), 1024 * sum(macs), 0.772),
        (0.004 * np.exp(-values)).tolist(), _steps(names, weight),
    )  # fmt: skip


def _figures(
    weight: np.ndarray,
    activation: np.ndarray,
    parameters: np.ndarray,
    macs: np.ndarray,
    more: float,
) -> Figures:
    average = weight @ parameters / parameters.sum()
    top1 = np.clip(0.77 - (1.4 - 4 * more) * 4.0 ** -(average - 1.4), 0.1, 1)
    return Figures(
        (weight @ parameters / 8 + 150_000).tolist(),
        ((weight * activation) @ macs).tolist(),
        average.tolist(),
        (activation @ macs / macs.sum()).tolist(),
        [(t - 0.06, t, t + 0.03) for t in top1.tolist()],
    )


def _steps(names: tuple[str, ...], weight: np.ndarray) -> list[str]:
    steps = ["nothing yet: every layer has its fewest bits"]
    for before, after in pairwise(weight):
        risen = np.flatnonzero(after > before)
        layer = risen[-1] if len(risen) else None
        steps.append(
            steps[-1] if layer is None
            else f"{names[layer]} from {before[layer]} to {after[layer]} bits: 18.4 kB more, "
            "expected loss 1.2 % less"
        )  # fmt: skip
    return steps


@cache
def spare_the_collector() -> None:
    """Keep libraries out of the garbage collection after every run, as the dashboard does."""
    gc.collect()
    gc.freeze()


@cache
def keep_busy() -> threading.Thread:
    """Multiply matrices for as long as the process lives, as an evaluation does."""
    matrix = torch.ones(512, 512) / 512

    def work() -> None:
        product = matrix
        while True:
            product = product @ matrix

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
