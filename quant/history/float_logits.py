"""Keep the float model's logits on an image set, so that it runs once for all evaluations."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from quant.history.database import transaction
from quant.history.recipe import Recipe
from quant.history.schema import LOGITS_SUM, SEALS


class FloatLogits:
    """Float's logits on the images of a recipe, in the history's file; they go with its last run.

    Raises:
        ValueError: the history cannot be used; as of all methods.
    """

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self._path, self._key = path, recipe.float_key
        self._names = recipe.model_key, recipe.images_key

    def read(self, start: int, stop: int) -> Iterator[tuple[int, Tensor, float]]:
        """Yield each image of start to stop that is kept, with its logits (K,) and seconds."""
        with transaction(self._path) as connection:
            rows = connection.execute(
                "SELECT place, seconds, logits FROM logits"  # nosec B608 # a constant, below
                " WHERE key = ? AND place >= ?"
                f" AND place < ? AND sum IS {LOGITS_SUM} ORDER BY place",  # damaged: made again
                (self._key, start, stop),
            ).fetchall()
        for row in rows:
            logits = np.frombuffer(row["logits"], np.float32)
            yield row["place"], torch.from_numpy(logits.copy()), row["seconds"]

    def write(self, places: Sequence[int], logits: Tensor, each: float) -> None:
        """Keep logits (B, K) of these images, which took `each` seconds an image."""
        rows = zip(places, logits.float().numpy(), strict=True)
        with transaction(self._path, write=True) as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO logits"
                " (key, model_key, images_key, place, seconds, logits) VALUES (?, ?, ?, ?, ?, ?)",
                [(self._key, *self._names, place, each, row.tobytes()) for place, row in rows],
            )
            connection.executemany(
                f"{SEALS['logits']} WHERE key = ? AND place = ?",
                [(self._key, place) for place in places],
            )
