"""What it takes to repeat a run: commands, versions, checksums, and its bits as JSON."""

import hashlib
import json
import shlex
from dataclasses import asdict
from typing import Any

from quant.allocation.allocation_file import SCHEMA
from quant.allocation.cost import Cost
from quant.history.recipe import versions
from quant.history.runs import Run
from quant.report.drawing.elements import Html, data_url, join, table, tag
from quant.report.subject import Subject


def run_to_json(run: Run, spent: Cost | None) -> dict[str, Any]:
    """Describe a run; `allocation_file.from_json` reads the bits of one that has any."""
    recipe, evaluation = run.recipe, run.evaluation
    description = {
        "model": recipe.model,
        "run": run.id,
        "created": run.created.isoformat(timespec="seconds"),
        "state": run.state,
        "note": run.note,
        "evaluation": None if evaluation is None else asdict(evaluation),
        "recipe": {k: v for k, v in json.loads(recipe.to_json()).items() if k != "allocation"},
    }
    if spent is not None:
        costs = asdict(spent)
        description |= {name: costs[name] for name in ("size_bytes", "bitops", "average_bits")}
    if recipe.allocation is None:
        return description
    layers = {layer: bits.plain() for layer, bits in recipe.allocation.items()}
    how = {"preset": recipe.preset, "objective": recipe.objective}
    return {"schema": SCHEMA, **description, **how, "layers": layers}


def file_of(run: Run) -> str:
    """Return the name of the file that a run's bits are downloaded as."""
    return f"run-{run.id}.json"


def commands(subject: Subject) -> list[str]:
    """Return the commands that measure the named runs again, and write the report anew."""
    lines = [_evaluate(run) for run in subject.named]
    numbers = " ".join(str(run.id) for run in subject.named)
    return [*lines, f"python -m quant report {numbers} --out report.html"]


def _evaluate(run: Run) -> str:
    recipe = run.recipe
    given = {
        "--model": recipe.model,
        "--checkpoint": recipe.checkpoint,
        "--data": recipe.data,
        "--calibration": recipe.calibration,
        "--calibration-images": recipe.calibration_images,
        "--limit": recipe.images,
        "--preset": recipe.preset,
        "--device": recipe.device,
        "--allocation": file_of(run),
    }
    if recipe.allocation is None:
        given |= {"--preset": None, "--allocation": None, "--weight-bits": 8,
                  "--activation-bits": 8}  # fmt: skip
    words = [f"{option} {shlex.quote(str(v))}" for option, v in given.items() if v is not None]
    return " ".join(["python -m quant evaluate", *words])


def section(subject: Subject) -> Html:
    """Return the commands, and what has to be said of them."""
    said = (
        "Save the bits below beside you, then run, from the folder of Bitlens. A run that this "
        "machine's history has is found there and not computed again."
    )
    seed = subject.recipe.seed
    odd = (
        f"These images were drawn with seed {seed}, as `python -m quant sweep --draws {seed + 1}` "
        "does; the commands draw with seed 0."
    )
    return join(
        [
            tag("p", said),
            tag("pre", tag("code", "\n".join(commands(subject)))),
            tag("p", odd, class_="note") if seed else None,
            tag("p", *_downloads(subject), class_="downloads"),
        ]
    )


def _downloads(subject: Subject) -> list[Html]:
    links = []
    for run in subject.named:
        if run.recipe.allocation is not None:
            url = data_url(payload(subject, run).encode(), "application/json")
            links.append(tag("a", f"Bits of run {run.id} (JSON)", href=url, download=file_of(run)))
    return links


def payload(subject: Subject, run: Run) -> str:
    """Return a run with its bits as JSON."""
    return json.dumps(run_to_json(run, subject.cost(run.recipe.allocation)), indent=2)


def checksums(subject: Subject) -> Html:
    """Return versions then and now, and what names weights, images and bits."""
    now, recipe = versions(), subject.recipe
    tools = [
        [tool, recipe.versions.get(tool, "–"), now.get(tool, "–")]
        for tool in dict.fromkeys([*recipe.versions, *now])
    ]
    digest = hashlib.sha256(payload(subject, subject.run).encode()).hexdigest()
    named = [
        ["weights", recipe.model_key],
        ["images measured", recipe.images_key],
        ["images that calibrate", recipe.calibration_key],
        ["the run: all of these, the bits and the versions", recipe.key],
        [f"{file_of(subject.run)}, SHA-256", digest],
    ]
    return join(
        [
            table(["what", "when it was measured", "when this was written"], tools, words=3),
            table(["what", "named by"], [[what, tag("code", key)] for what, key in named], words=2),
        ]
    )
