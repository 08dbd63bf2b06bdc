"""The first thing on the page: a precomputed example, before torch is even imported.

Only Streamlit and the standard library are imported here.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from app.text import Markdown, escape

FOLDER = Path(__file__).parent.parent / "assets" / "example"
HEAVY = "app.work.models"  # imports torch and timm
EXAMPLE_PAIR = 0  # of the first ten pairs, one whose digits are both among the top two


@dataclass(frozen=True)
class Example:
    """What `python -m app.example` wrote: a picture of two digits and the maps of both."""

    model: str
    model_sha256: str
    rules: str
    block: str
    pair: int
    labels: tuple[int, int]
    top: tuple[tuple[str, float], ...]  # (class, probability)

    @classmethod
    def read(cls, folder: Path = FOLDER) -> "Example":
        """Read the example that comes with the repository."""
        fields: dict[str, Any] = json.loads((folder / "example.json").read_text(encoding="utf-8"))
        fields["labels"] = tuple(fields["labels"])
        fields["top"] = tuple((name, share) for name, share in fields["top"])
        return cls(**fields)


def needed() -> bool:
    """Return whether the heavy libraries are still to be imported by this process."""
    spec = getattr(sys.modules.get(HEAVY), "__spec__", None)
    return spec is None or getattr(spec, "_initializing", False)  # another session imports it now


def show() -> None:
    """Show the example."""
    try:
        example = Example.read()
    except FileNotFoundError:  # a clone whose example was not generated yet
        st.caption("Starting …")
        return
    st.header("Where does the decision come from?")
    first, second = example.labels
    st.markdown(
        Markdown(
            "**An example while the models load.** {} was shown this picture of two digits. Asked "
            "about **{}** it points to one of them, asked about **{}** to the other: red speaks "
            "for the class, blue against it."
        ).format(example.model, first, second)
    )
    names = ("picture.png", f"class-{first}.png", f"class-{second}.png")
    captions = ("what the model sees", f"relevance for {first}", f"relevance for {second}")
    for column, name, caption in zip(st.columns(3), names, captions, strict=True):
        column.image(FOLDER / name, caption=escape(caption), width="stretch", alt=caption)
    shares = ", ".join(f"{name} ({100 * share:.1f} %)" for name, share in example.top)
    st.caption(
        escape(f"Most likely classes: {shares}. Rules {example.rules}, tokens of {example.block}.")
    )
