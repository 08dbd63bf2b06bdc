"""Read one attention as pictures and numbers, in float beside quantized. Pure."""

from __future__ import annotations

import numpy as np
import pandas as pd

MEAN = -1  # instead of a head's number: all heads averaged


def head_of(attention: np.ndarray, head: int) -> np.ndarray:
    """Return one head (N, N) of an attention (h, N, N), or the mean over the heads."""
    return attention.mean(0) if head == MEAN else attention[head]


def on_patches(head: np.ndarray, prefix: int, size: tuple[int, int]) -> np.ndarray | None:
    """Arrange what is looked at as patches (rows, columns); None where tokens are not patches.

    Of the first prefix token's query (the class token's), or of the mean over all queries.

    Args:
        head: (N, N), queries in rows.
        prefix: tokens before the patches.
        size: (H, W) of the image that the patches cut up.
    """
    looked = (head[0] if prefix else head.mean(0))[prefix:]
    rows = round((len(looked) * size[0] / size[1]) ** 0.5)
    return looked.reshape(rows, -1) if rows and len(looked) % rows == 0 else None


def moved(plain: np.ndarray, quantized: np.ndarray) -> np.ndarray:
    """Return how much of each row's attention moves, 0 to 1: half the sum of its changes."""
    return np.abs(plain - quantized).sum(-1) / 2


def table(plain: np.ndarray, quantized: np.ndarray) -> pd.DataFrame:
    """Return one row a head of attentions (h, N, N)."""
    return pd.DataFrame(
        {
            "head": range(len(plain)),
            "attention moved (%)": 100 * moved(plain, quantized).mean(-1),
            "most in a row (%)": 100 * moved(plain, quantized).max(-1),
            "sum of a row, float": plain.sum(-1).mean(-1),
            "sum of a row, quantized": quantized.sum(-1).mean(-1),
        }
    ).round(3)
