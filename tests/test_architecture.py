"""Rules of the house that can be read off the source: who imports whom, how long things are."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

OURS = {"app", "quant", "lrp", "assets"}
ALLOWED = {
    "app": {"app", "quant", "lrp", "assets"},
    "quant": {"quant", "lrp"},
    "lrp": {"lrp"},
    "assets": {"assets"},
}
ENTRY_POINTS = ("quant/__main__.py", "quant/commands/", "lrp/__main__.py")  # may import assets
MEASURED = ("app", "quant", "lrp", "assets", "bench")
FILE_LINES, LONG, LONGEST, LONG_SHARE = 300, 20, 40, 0.10
SILENT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def sources(root: Path, *folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (root / folder).rglob("*.py"))


def imported(node: ast.AST, package: tuple[str, ...]) -> list[str]:
    """Dotted names that `node`, in a file of `package`, imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = list(package[: len(package) - node.level + 1]) if node.level else []
        base += node.module.split(".") if node.module else []
        return [".".join([*base, alias.name]) for alias in node.names]
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = ast.unparse(node.func).rpartition(".")[2]
        return [str(node.args[0].value)] if called in {"import_module", "__import__"} else []
    return []


def packages_imported(path: Path, root: Path) -> set[str]:
    package = path.relative_to(root).parent.parts
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {name.split(".")[0] for node in nodes for name in imported(node, package)}


def import_violations(root: Path) -> list[str]:
    found = []
    for path in sources(root, *MEASURED, "scripts"):
        place = path.relative_to(root).as_posix()
        folder = place.split("/")[0]
        allowed = ALLOWED.get(folder, OURS) | (
            {"assets"} if place.startswith(ENTRY_POINTS) else set()
        )
        wrong = (packages_imported(path, root) & OURS) - allowed
        if folder != "app":
            wrong |= packages_imported(path, root) & {"streamlit"}
        found += [f"{place} imports {name}" for name in sorted(wrong)]
    return found


def code_lines(source: str) -> set[int]:
    """Numbers of the lines that hold code: neither blank nor only a comment."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    spans = (range(t.start[0], t.end[0] + 1) for t in tokens if t.type not in SILENT)
    return {line for span in spans for line in span}


def function_lengths(path: Path, root: Path) -> Iterator[tuple[str, int]]:
    """Name each function of a file with its lines of code, the docstring left out."""
    source = path.read_text(encoding="utf-8")
    code = code_lines(source)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DEFINITIONS):
            lines = code & set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
            if ast.get_docstring(node, clean=False) is not None:
                first = node.body[0]
                lines -= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
            yield f"{path.relative_to(root).as_posix()}:{node.name}", len(lines)


def long_files(root: Path) -> list[str]:
    lengths = {
        path.relative_to(root).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in sources(root, *MEASURED)
    }
    return [f"{name} has {count} lines" for name, count in lengths.items() if count > FILE_LINES]


def long_functions(root: Path, limit: int) -> tuple[list[str], int]:
    """Functions over `limit` lines of code, and how many functions there are in all."""
    lengths = [item for path in sources(root, *MEASURED) for item in function_lengths(path, root)]
    return [f"{name} has {count} lines" for name, count in lengths if count > limit], len(lengths)


@pytest.mark.parametrize("package", sorted(OURS))
def test_each_package_is_there_to_be_read(repository: Path, package: str) -> None:
    assert sources(repository, package)


def test_imports_flow_one_way(repository: Path) -> None:
    assert import_violations(repository) == []


def test_no_file_is_too_long(repository: Path) -> None:
    assert long_files(repository) == []


def test_no_function_is_far_too_long(repository: Path) -> None:
    assert long_functions(repository, LONGEST)[0] == []


def test_few_functions_are_long(repository: Path) -> None:
    long, total = long_functions(repository, LONG)
    assert len(long) <= LONG_SHARE * total, "\n".join(long)


@pytest.mark.parametrize(
    ("place", "line", "complaint"),
    [
        ("lrp/rules.py", "import quant.cost", "lrp/rules.py imports quant"),
        ("lrp/rules.py", "from assets.models import load_model", "lrp/rules.py imports assets"),
        ("lrp/rules.py", "import streamlit as st", "lrp/rules.py imports streamlit"),
        ("lrp/sub/rules.py", "from ...assets import models", "lrp/sub/rules.py imports assets"),
        ("assets/models.py", "def f():\n    import lrp", "assets/models.py imports lrp"),
        ("quant/plan.py", "from app import charts", "quant/plan.py imports app"),
        ("quant/plan.py", "importlib.import_module('assets')", "quant/plan.py imports assets"),
        ("quant/__main__.py", "import app", "quant/__main__.py imports app"),
        ("quant/commands/a.py", "import app", "quant/commands/a.py imports app"),
        ("quant/sub/commands/a.py", "import assets", "quant/sub/commands/a.py imports assets"),
        ("lrp/commands/a.py", "import assets", "lrp/commands/a.py imports assets"),
        ("bench/speed.py", "from streamlit.testing import v1", "bench/speed.py imports streamlit"),
    ],
)
def test_a_forbidden_import_is_found(tmp_path: Path, place: str, line: str, complaint: str) -> None:
    write(tmp_path / place, line)
    assert import_violations(tmp_path) == [complaint]


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("app/views/tour.py", "import streamlit, quant, lrp, assets"),
        ("quant/plan.py", "from lrp.scores import ContributionScores\nfrom . import cost"),
        ("quant/__main__.py", "import assets.models"),
        ("quant/commands/evaluate.py", "from assets.home import home"),
        ("lrp/sub/rules.py", "from ..trace import Trace"),
        ("lrp/rules.py", "import assets_of_others"),
        ("bench/speed.py", "import quant, lrp, assets, app"),
    ],
)
def test_an_allowed_import_passes(tmp_path: Path, place: str, line: str) -> None:
    write(tmp_path / place, line)
    assert import_violations(tmp_path) == []


def test_lengths_count_code_only(tmp_path: Path) -> None:
    signature = "@cache\ndef f(\n    x: int,\n) -> str:\n"
    docstring = '    """One.\n\n    Two.\n    """\n\n'
    body = '    # why\n    text = """a\n    b"""\n\n    return text\n'
    path = write(tmp_path / "lrp/a.py", signature + docstring + body)
    assert list(function_lengths(path, tmp_path)) == [("lrp/a.py:f", 6)]


def test_what_is_too_long_is_found(tmp_path: Path) -> None:
    def function(lines: int) -> str:
        return f"def f{lines}():\n" + "    x = 1\n" * (lines - 1)

    write(tmp_path / "app/a.py", function(40) + function(41))
    write(tmp_path / "app/b.py", "x = 1\n" * 300)
    write(tmp_path / "bench/c.py", "x = 1\n" * 301)
    assert long_functions(tmp_path, LONGEST) == (["app/a.py:f41 has 41 lines"], 2)
    assert long_files(tmp_path) == ["bench/c.py has 301 lines"]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
