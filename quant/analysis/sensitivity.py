"""How far each width of each layer moves the model's answer, as data and as a file: Lambda_i(b)."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lrp.engine.ranks import rank_correlation
from quant.primitives.formats import label

ESTIMATED, MEASURED = "estimated", "measured"
HOW = (ESTIMATED, MEASURED)
SCHEMA = 1  # of the file


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Lambda_i(b): the divergence in nats when one layer's weights, or its input, have b bits.

    Mean Kullback-Leibler divergence of the model's probabilities from float's, all else in float.

    Attributes:
        names: the L layers, in order.
        widths: the W widths.
        weight, activation: (L, W); of an attention product, of its second and its first factor.
        how: "estimated" or "measured".
        images: on how many images.
    """

    names: tuple[str, ...]
    widths: tuple[int, ...]
    weight: np.ndarray
    activation: np.ndarray
    how: str
    images: int

    def write(self, path: Path, key: str = "") -> None:
        """Write a JSON file, in one step; ValueError where it cannot be written.

        Args:
            key: names the calibration that they were found with.
        """
        part = path.with_suffix(f".{os.getpid()}.part")
        facts = {
            "schema": SCHEMA,
            "key": key,
            "how": self.how,
            "images": self.images,
            "widths": self.widths,
        }
        rows = zip(self.names, self.weight.tolist(), self.activation.tolist(), strict=True)
        layers = {name: {"weight": w, "activation": a} for name, w, a in rows}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(_sealed({**facts, "layers": layers}), encoding="utf-8")
            part.replace(path)
        except OSError as error:
            raise ValueError(f"{path} cannot be written: make room or rights for it") from error

    @classmethod
    def read(cls, path: Path, key: str | None = None) -> "Sensitivity":
        """Read what `write` wrote; ValueError for a file that is none, damaged or of another kind.

        Args:
            key: of the calibration that they must be of; None takes any.
        """
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            said, whole = facts.pop("sha256", None), json.loads(_sealed(facts))["sha256"]
            layers = facts["layers"]
            weight, activation = (
                np.array([layer[side] for layer in layers.values()], dtype=float)
                for side in ("weight", "activation")
            )
            version, names, widths = facts["schema"], tuple(layers), tuple(facts["widths"])
            read = cls(names, widths, weight, activation, facts["how"], facts["images"])
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} holds no sensitivities ({error})") from None
        shape = len(names), len(widths)
        if version != SCHEMA or not weight.shape == activation.shape == shape:
            raise ValueError(f"{path} holds sensitivities of another version")
        if said != whole:
            raise ValueError(f"{path} is damaged, or so old that it has no checksum")
        if key is not None and facts["key"] != key:
            raise ValueError(f"{path} holds sensitivities of another calibration")
        return read


def _sealed(facts: dict[str, Any]) -> str:
    """Return facts as JSON, with their SHA-256."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return json.dumps({**facts, "sha256": digest})


def sensitivity_path(folder: Path, how: str, images: int | None = None, of: str = "") -> Path:
    """Return where sensitivities are kept beside a calibration's passes.

    Args:
        of: the target whose widths they are at; "" are 2 to 8 bits.
    """
    parts = ("sensitivity", of, how, "" if images is None else str(images))
    return folder / f"{'-'.join(filter(None, parts))}.json"


def rank_correlations(one: Sensitivity, other: Sensitivity) -> dict[str, dict[str, float | None]]:
    """Compare how two sensitivities rank layers: at each width, and layers and widths together.

    Returns:
        Rank correlations by "weight" and "activation", then by width ("4", "MXFP4") or "pooled".
    """
    return {
        side: {
            **{
                label(width): rank_correlation(first[:, column], second[:, column])
                for column, width in enumerate(one.widths)
            },
            "pooled": rank_correlation(first, second),
        }
        for side, first, second in (
            ("weight", one.weight, other.weight),
            ("activation", one.activation, other.activation),
        )
    }
