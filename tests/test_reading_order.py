"""Every folder's `__init__` says what is in it: each of its modules, and nothing that is not."""

import ast
import re
from pathlib import Path

import pytest

PACKAGES = ("assets", "lrp", "quant", "app")
FOLDERS = sorted(
    {
        path.parent.relative_to(Path(__file__).parent.parent).as_posix()
        for package in PACKAGES
        for path in (Path(__file__).parent.parent / package).rglob("*.py")
    }
)


def modules(folder: Path) -> set[str]:
    """What a folder holds: modules, and folders of modules."""
    files = {path.stem for path in folder.glob("*.py")}
    folders = {path.parent.name for path in folder.glob("*/*.py")}
    return (files | folders) - {"__init__", "__main__"}


def named(docstring: str) -> set[str]:
    """The plain names that a docstring has in backticks."""
    return set(re.findall(r"`([a-z_]+)`", docstring))


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_docstring_names_each_module_once_at_least(repository: Path, folder: str) -> None:
    source = (repository / folder / "__init__.py").read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(source)) or ""
    assert named(docstring) == modules(repository / folder)
