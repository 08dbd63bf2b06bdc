"""The names that `assets`, `lrp` and `quant` offer: each is there, is told of, costs no start."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = ("assets", "lrp", "quant")


def imported(repository: Path, package: str) -> dict[str, str]:
    """The module that a package's `__init__` takes each of its public names from."""
    tree = ast.parse((repository / package / "__init__.py").read_text(encoding="utf-8"))
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(package):
            found |= {alias.name: node.module for alias in node.names}
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_each_public_name_is_its_module_s_own(repository: Path, package: str) -> None:
    module, homes = importlib.import_module(package), imported(repository, package)
    assert sorted(homes) == sorted(module.__all__)
    for name, home in homes.items():
        assert getattr(module, name) is getattr(importlib.import_module(home), name)
        defined = getattr(getattr(module, name), "__module__", home)
        if inspect.isclass(getattr(module, name)) or inspect.isfunction(getattr(module, name)):
            assert defined == home, f"{name} is taken from {home}, which has it from {defined}"


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_do_not_hide_a_room(repository: Path, package: str) -> None:
    rooms = {path.stem for path in (repository / package).iterdir()}
    assert rooms.isdisjoint(importlib.import_module(package).__all__)


@pytest.mark.parametrize("package", PACKAGES)
def test_each_public_function_and_class_has_a_docstring(package: str) -> None:
    module = importlib.import_module(package)
    told = (getattr(module, name) for name in module.__all__)
    silent = [one for one in told if callable(one) and not (inspect.getdoc(one) or "").strip()]
    assert silent == []


@pytest.mark.parametrize("package", PACKAGES)
def test_the_reference_has_each_public_name_and_no_other(repository: Path, package: str) -> None:
    text = (repository / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    told = re.findall(rf"\b{package}\.(\w+)", text)
    assert sorted(set(told)) == sorted(importlib.import_module(package).__all__)


@pytest.mark.parametrize("package", PACKAGES)
def test_the_reference_calls_each_name_by_its_parameters(repository: Path, package: str) -> None:
    text = (repository / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    module, calls = importlib.import_module(package), rf"`{package}\.(\w+)(?:\.(\w+))?\(([^)]*)\)`"
    for name, method, arguments in re.findall(calls, " ".join(text.split())):
        called = getattr(module, name)
        parameters = list(
            inspect.signature(getattr(called, method) if method else called).parameters
        )
        told = [argument.partition("=")[0].strip() for argument in arguments.split(",")]
        kept = [parameter for parameter in parameters if parameter in told]
        assert told == kept, f"{package}.{name} takes {parameters}"


def test_a_name_that_is_not_public_is_refused() -> None:
    import lrp

    with pytest.raises(AttributeError, match="'lrp' has no attribute 'nothing'"):
        lrp.nothing  # noqa: B018


def test_the_command_line_of_quant_starts_without_captum(repository: Path) -> None:
    program = "import quant.__main__, sys; print('captum' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
