"""A run as a file: its allocation, what it found, and all that is needed to repeat it. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from quant.allocation.allocation_file import SCHEMA
from quant.allocation.cost import Cost
from quant.history.runs import Run


def run_to_json(run: Run, spent: Cost | None) -> dict[str, Any]:
    """Describe a run; `allocation_file.from_json` reads the bits of one that has any."""
    recipe, found = run.recipe, run.evaluation
    told = {
        "model": recipe.model,
        "run": run.id,
        "created": run.created.isoformat(timespec="seconds"),
        "state": run.state,
        "note": run.note,
        "evaluation": None if found is None else asdict(found),
        "recipe": {k: v for k, v in json.loads(recipe.to_json()).items() if k != "allocation"},
    }
    if spent is not None:
        told |= {"size_bytes": spent.size_bytes, "bitops": spent.bitops}
        told |= {"average_bits": spent.average_bits}
    if recipe.allocation is None:
        return told
    layers = {layer: asdict(bits) for layer, bits in recipe.allocation.items()}
    how = {"preset": recipe.preset, "objective": recipe.objective}
    return {"schema": SCHEMA, **told, **how, "layers": layers}
