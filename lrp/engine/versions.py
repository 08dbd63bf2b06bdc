"""The versions of what computes the numbers."""

import platform
import tomllib
from pathlib import Path

import timm
import torch

PROJECT = Path(__file__).parent.parent.parent / "pyproject.toml"


def versions() -> dict[str, str]:
    """Return the versions of what computed the numbers."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    return {
        "bitlens": project["version"],
        "torch": torch.__version__,
        "timm": timm.__version__,
        "python": platform.python_version(),
    }
