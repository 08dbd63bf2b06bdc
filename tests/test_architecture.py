"""Rules of the house that can be read off the source: who imports whom, how long things are."""

import ast
import io
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

# The house: in each package its floors, from the ground up. A room (a folder, or a module beside
# the folders) imports from itself and from floors below; rooms of one floor do not know each other.
FLOORS: dict[str, list[set[str]]] = {
    "assets": [
        {"errors"},
        {"files", "home"},
        {"outputs"},
        {"terminal"},
        {"pictures"},
        {"models"},
        {"sets"},
        {"train"},
    ],
    "lrp": [
        {"engine"},
        {"propagation"},
        {"maps"},
        {"methods"},
        {"metrics"},
        {"commands"},
        {"__main__"},
    ],
    "quant": [
        {"primitives", "evaluation"},
        {"layers"},
        {"calibration"},
        {"model", "history"},
        {"analysis", "export"},
        {"allocation"},
        {"experiments"},
        {"report"},
        {"commands"},
        {"__main__"},
    ],
    "app": [
        {"public"},
        {"text", "door"},
        {"state", "look", "first_screen"},
        {"components", "example"},
        {"work"},
        {"parts"},
        {"explain", "runs", "lesson", "layers", "budget"},
        {"views"},
    ],
}
ALL = {"*"}
# What a package, or a room of it, may import from other packages.
ELSEWHERE: dict[str, dict[str, set[str]]] = {
    "lrp/commands": {"assets": ALL},
    "lrp/__main__": {"assets": ALL},
    "quant": {"lrp": {"engine"}},
    "quant/model": {"lrp": {"propagation"}},
    "quant/report": {"lrp": {"propagation", "maps", "metrics"}},
    "quant/commands": {"lrp": {"propagation"}, "assets": ALL},
    "quant/__main__": {"assets": ALL},
    "app": {"quant": ALL, "lrp": ALL, "assets": ALL},
}
OURS = set(FLOORS)
MODULES = 12  # in one folder, without its __init__
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


def modules_of(root: Path) -> dict[str, Path]:
    """Every module of ours by its dotted name, without the packages' own `__init__`."""
    paths = (path for path in sources(root, *FLOORS) if path.name != "__init__.py")
    return {".".join(path.relative_to(root).with_suffix("").parts): path for path in paths}


def names_imported(path: Path, root: Path) -> set[str]:
    package = path.relative_to(root).parent.parts
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {name for node in nodes for name in imported(node, package)}


def place_of(name: str) -> tuple[str, str]:
    """The package and the room of a dotted name: "quant.model.watch.Seen" is in quant, model."""
    package, _, rest = name.partition(".")
    return package, rest.partition(".")[0]


def floor_of(package: str, room: str) -> int:
    """The floor of a room; one that no floor lists stands above all."""
    floors = FLOORS[package]
    return next((i for i, rooms in enumerate(floors) if room in rooms), len(floors))


def may_import(package: str, room: str, other: str, wanted: str) -> bool:
    if package == other:
        return room == wanted or floor_of(package, wanted) < floor_of(package, room)
    doors = [ELSEWHERE.get(place, {}) for place in (package, f"{package}/{room}")]
    return any({"*", wanted} & door.get(other, set()) for door in doors)


def import_violations(root: Path) -> list[str]:
    """Imports that go up or aside, or to Streamlit from outside `app`."""
    found = []
    for path in sources(root, *MEASURED, "scripts"):
        place = path.relative_to(root)
        names, package = names_imported(path, root), place.parts[0]
        if package != "app":
            # Its protocol alone is what a visitor's messages are made of.
            foreign = [n for n in names if not n.startswith("streamlit.proto.")]
            found += [
                f"{place} imports streamlit" for n in foreign if n.split(".")[0] == "streamlit"
            ]
        if package not in OURS or (len(place.parts) == 2 and path.name == "__init__.py"):
            continue  # benchmarks import all; a package's __init__ shows what its rooms hold
        targets = {place_of(name) for name in names if name.split(".")[0] in OURS}
        room = place.with_suffix("").parts[1]
        wrong = sorted(t for t in targets if not may_import(package, room, *t))
        found += [f"{place} imports {other}.{wanted}".rstrip(".") for other, wanted in wrong]
    return found


def files_imported(root: Path) -> dict[str, set[str]]:
    """Which modules of ours each module imports, by dotted names."""
    ours = modules_of(root)
    return {
        module: {
            target
            for name in names_imported(path, root)
            for target in (name, name.rpartition(".")[0])
            if target in ours
        }
        for module, path in ours.items()
    }


def circles(arrows: dict[str, set[str]]) -> list[str]:
    """Modules that import themselves by way of others: those left when all others are taken away.

    What imports nothing that is left, and what nothing left imports, is in no circle.
    """
    left = set(arrows)
    while True:
        ends = {m for m in left if not arrows[m] & left}
        ends |= {m for m in left if not any(m in arrows[other] for other in left - {m})}
        ends -= {m for m in left if m in arrows[m]}
        if not ends:
            return sorted(left)
        left -= ends


def full_folders(root: Path) -> list[str]:
    counts = Counter(path.parent for path in sources(root, *MEASURED, "tests"))
    inits = {path.parent for path in sources(root, *MEASURED, "tests") if path.stem == "__init__"}
    return sorted(
        f"{folder.relative_to(root).as_posix()} has {count - (folder in inits)} modules"
        for folder, count in counts.items()
        if count - (folder in inits) > MODULES
    )


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


def test_every_folder_stands_on_a_floor(repository: Path) -> None:
    folders = {
        (package, path.name)
        for package in OURS
        for path in (repository / package).iterdir()
        if path.is_dir() and list(path.rglob("*.py"))
    }
    assert {(p, room) for p, room in folders if floor_of(p, room) == len(FLOORS[p])} == set()


def test_no_file_imports_itself_by_way_of_others(repository: Path) -> None:
    assert circles(files_imported(repository)) == []


def test_no_folder_is_too_full(repository: Path) -> None:
    assert full_folders(repository) == []


@pytest.mark.parametrize(
    ("place", "line", "complaint"),
    [
        ("lrp/engine/a.py", "import quant.cost", "imports quant.cost"),
        ("lrp/engine/a.py", "from assets.models.load import load_model", "imports assets.models"),
        ("lrp/engine/a.py", "import streamlit as st", "imports streamlit"),
        ("lrp/engine/a.py", "from ...assets import models", "imports assets.models"),
        ("lrp/engine/a.py", "from lrp.propagation.trace import Trace", "imports lrp.propagation"),
        ("lrp/engine/a.py", "from ..maps import places", "imports lrp.maps"),
        ("lrp/engine/a.py", "from lrp import Trace", "imports lrp.Trace"),
        ("lrp/maps/a.py", "def f(): import lrp.metrics.deletion", "imports lrp.metrics"),
        ("lrp/metrics/a.py", "import assets", "imports assets"),
        ("lrp/__main__.py", "import app.state", "imports app.state"),
        ("assets/models/a.py", "def f():\n    import lrp.engine", "imports lrp.engine"),
        ("assets/models/a.py", "import assets.sets.selection", "imports assets.sets"),
        ("assets/home.py", "from assets import terminal", "imports assets.terminal"),
        ("quant/model/a.py", "from app.look import charts", "imports app.look"),
        ("quant/model/a.py", "importlib.import_module('assets')", "imports assets"),
        ("quant/model/a.py", "from quant.history.runs import Run", "imports quant.history"),
        ("quant/layers/a.py", "import quant.calibration.store", "imports quant.calibration"),
        ("quant/layers/a.py", "from lrp.propagation.trace import Trace", "imports lrp.propagation"),
        ("quant/commands/a.py", "import app", "imports app"),
        ("quant/commands/a.py", "import lrp.metrics.deletion", "imports lrp.metrics"),
        ("app/budget/a.py", "from app.explain.heatmap import show", "imports app.explain"),
        ("app/work/a.py", "from app.parts import gallery", "imports app.parts"),
        ("bench/speed.py", "from streamlit.testing import v1", "imports streamlit"),
    ],
)
def test_a_forbidden_import_is_found(tmp_path: Path, place: str, line: str, complaint: str) -> None:
    write(tmp_path / place, line)
    assert import_violations(tmp_path) == [f"{place} {complaint}"]


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("app/views/tour.py", "import streamlit, quant, lrp, assets\nfrom app.budget import live"),
        ("quant/model/a.py", "from lrp.propagation.trace import Trace\nfrom . import watch"),
        ("quant/primitives/a.py", "from lrp.engine.layers import Layer"),
        ("quant/__main__.py", "import assets.models"),
        ("quant/commands/evaluate.py", "from assets.home import home"),
        ("lrp/commands/scores.py", "from assets.home import home"),
        ("lrp/maps/a.py", "from ..propagation.trace import Trace"),
        ("lrp/engine/a.py", "import assets_of_others"),
        ("lrp/__init__.py", "from lrp.metrics.deletion import curves"),
        ("bench/speed.py", "import quant, lrp, assets, app"),
    ],
)
def test_an_allowed_import_passes(tmp_path: Path, place: str, line: str) -> None:
    write(tmp_path / place, line)
    assert import_violations(tmp_path) == []


def test_circles_are_found_and_what_hangs_on_them_is_not(tmp_path: Path) -> None:
    write(tmp_path / "lrp/engine/a.py", "from lrp.engine.b import thing")
    write(tmp_path / "lrp/engine/b.py", "def f():\n    from lrp.engine import c")
    write(tmp_path / "lrp/engine/c.py", "import lrp.engine.a")
    write(tmp_path / "lrp/engine/below.py", "x = 1")
    write(tmp_path / "lrp/engine/above.py", "from lrp.engine import a, below")
    found = circles(files_imported(tmp_path))
    assert found == ["lrp.engine.a", "lrp.engine.b", "lrp.engine.c"]


def test_a_folder_of_thirteen_is_found(tmp_path: Path) -> None:
    for number in range(13):
        write(tmp_path / f"lrp/engine/a{number}.py", "")
        write(tmp_path / f"lrp/maps/a{number % 12}.py", "")
    write(tmp_path / "lrp/maps/__init__.py", "")
    assert full_folders(tmp_path) == ["lrp/engine has 13 modules"]


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


def test_text_from_outside_is_escaped(repository: Path) -> None:
    check = [sys.executable, "scripts/check_text.py"]
    found = subprocess.run(check, cwd=repository, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
