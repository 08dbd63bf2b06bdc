"""What bandit looks for, and the places where it is told not to."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

# The tests a mark names, and why it may be there: on the line, or on the one before it.
MARK = re.compile(r"# nosec (B\d{3})( # \w.*)?$")
FOLDERS = ("app", "assets", "lrp", "quant", "scripts")


def sources(repository: Path) -> list[Path]:
    return [path for folder in FOLDERS for path in (repository / folder).rglob("*.py")]


def test_marks_name_a_test_and_a_reason(repository: Path) -> None:
    marks = 0
    for path in sources(repository):
        lines = path.read_text(encoding="utf-8").splitlines()
        for before, line in zip(["", *lines], lines, strict=False):
            if "# nosec" not in line:
                continue
            marks += 1
            found = MARK.search(line)
            assert found, f"{path}: {line}"
            assert found[2] or f"# {found[1]}" in before, f"{path}: {line}"
    assert marks  # the pattern still finds them


def test_lint_finds_a_weakness(repository: Path, tmp_path: Path) -> None:
    """The very command of `make lint`, with its configuration, on a file that has one."""
    pytest.importorskip("bandit")
    makefile = (repository / "Makefile").read_text(encoding="utf-8")
    options = re.search(r"^bandit = \$\(python\) -m bandit (.*)$", makefile, re.M)
    assert options and set(FOLDERS) <= set(options[1].split())
    (tmp_path / "bad.py").write_text("import subprocess\nsubprocess.run('ls', shell=True)\n")
    command = [sys.executable, "-m", "bandit", "-q", "-r", str(tmp_path)]
    found = subprocess.run(
        [*command, "-c", str(repository / "pyproject.toml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 1 and "B602" in found.stdout
