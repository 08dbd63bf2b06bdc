"""`make` on machines where something is missing, in a clone whose requirements are empty."""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

# A Python of which its caller believes that it is version 3.8, or that it lacks ensurepip.
OLD = "import sys; sys.version_info = (3, 8, 1); exec(sys.argv.pop(1))"
BARE = 'import sys; sys.modules["ensurepip"] = None; exec(sys.argv.pop(1))'


def make(clone: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run make there, with none of the variables of a make that runs these tests."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    # No install in these tests may reach for the network.
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    return subprocess.run(
        ["make", *arguments],
        cwd=clone,
        env=kept | pip | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def sentence(outcome: subprocess.CompletedProcess[str]) -> str:
    """The one line, besides make's own, with which a call failed."""
    assert outcome.returncode != 0
    lines = [line for line in outcome.stderr.splitlines() if not line.startswith("make")]
    assert len(lines) == 1, outcome.stderr
    assert lines[0].startswith("bitlens: ")
    assert lines[0].endswith(".")
    assert "Traceback" not in outcome.stdout
    return lines[0]


def copy_to(repository: Path, clone: Path) -> Path:
    clone.mkdir()
    shutil.copy(repository / "Makefile", clone)
    shutil.copytree(repository / "scripts", clone / "scripts")
    (clone / "requirements.txt").write_text("# nothing\n")
    (clone / "requirements-export.txt").write_text("-r requirements.txt\n")
    (clone / "requirements-dev.txt").write_text("-r requirements-export.txt\n")
    return clone


def interpreter(path: Path, command: str) -> str:
    """Write an executable at `path` that runs a shell command on its arguments."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(0o755)
    return str(path)


def pretending(preface: str) -> str:
    """The shell command of a Python whose `-c` runs after `preface`."""
    return f"shift; exec '{sys.executable}' -c '{preface}' \"$@\""


@pytest.fixture
def clone(repository: Path, tmp_path: Path) -> Path:
    """A clone without .venv, in a folder with a space in its name."""
    return copy_to(repository, tmp_path / "a clone")


@pytest.fixture(scope="module")
def ready(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone whose .venv was made by make itself."""
    clone = copy_to(repository, tmp_path_factory.mktemp("ready") / "a clone")
    outcome = make(clone, "setup", PYTHON=sys.executable)
    assert outcome.returncode == 0, outcome.stderr
    return clone


@pytest.mark.parametrize("target", ["run", "test", "lint", "bench"])
def test_missing_python(clone: Path, target: str) -> None:
    said = sentence(make(clone, target, "PYTHON=/no/such/python"))
    assert "/no/such/python" in said and "3.11" in said
    assert not (clone / ".venv").exists()


def test_old_python(clone: Path, tmp_path: Path) -> None:
    old = interpreter(tmp_path / "bin" / "python", pretending(OLD))
    said = sentence(make(clone, "run", f"PYTHON={old}"))
    assert old in said and "3.11" in said


def test_no_python_at_all(clone: Path, tmp_path: Path) -> None:
    for name in ("python3", "python3.13", "python3.12", "python3.11"):
        interpreter(tmp_path / "bin" / name, "exit 127")  # as a pyenv shim without a version
    said = sentence(make(clone, "run", PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}"))
    assert "no Python 3.11" in said and "python3.12" in said


def test_python_without_ensurepip(clone: Path, tmp_path: Path) -> None:
    bare = interpreter(tmp_path / "bin" / "python", pretending(BARE))
    assert "apt install python3-venv" in sentence(make(clone, "run", f"PYTHON={bare}"))


def test_failing_venv(clone: Path, tmp_path: Path) -> None:
    command = f'[ "$1" = -c ] && exec \'{sys.executable}\' "$@"; echo no disk >&2; exit 1'
    broken = interpreter(tmp_path / "bin" / "python", command)
    assert ".venv-install.log" in sentence(make(clone, "run", f"PYTHON={broken}"))
    assert "no disk" in (clone / ".venv-install.log").read_text()


def test_broken_shims_are_passed_over(clone: Path, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    interpreter(tmp_path / "bin" / "python3", "exit 127")
    interpreter(tmp_path / "bin" / "python3.13", pretending(OLD))
    good = f"echo \"$@\" >>'{calls}'; exec '{sys.executable}' \"$@\""
    interpreter(tmp_path / "bin" / "python3.12", good)
    assert make(clone, "setup", PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}").returncode == 0
    assert "-m venv" in calls.read_text()
    assert (clone / ".venv" / ".installed-run").exists()


def test_second_call_installs_nothing(ready: Path) -> None:
    stamp = ready / ".venv" / ".installed-run"
    before = stamp.stat().st_mtime_ns
    os.utime(ready / "requirements.txt")  # a newer file with the same text, as after a checkout
    outcome = make(ready, "setup", "PYTHON=/no/such/python")
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "", "")
    assert stamp.stat().st_mtime_ns == before


def test_failed_install(ready: Path) -> None:
    requirements = ready / "requirements.txt"
    text = requirements.read_text()
    requirements.write_text("bitlens-is-not-on-any-index\n")
    try:
        for _ in range(2):  # the second call may not take the first for done
            said = sentence(make(ready, "run"))
            assert "bitlens-is-not-on-any-index" in said and ".venv-install.log" in said
        assert "No matching distribution" in (ready / ".venv-install.log").read_text()
    finally:
        requirements.write_text(text)
    assert make(ready, "setup").returncode == 0
    assert (ready / ".venv" / ".installed-run").read_text() == text


def wheel(folder: Path, version: str) -> str:
    """Write a wheel of a package `thing` without code; return its hash."""
    info, path = f"thing-{version}.dist-info", folder / f"thing-{version}-py3-none-any.whl"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("thing.py", "")
        file.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: thing\nVersion: {version}\n"
        )
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("level", ["run", "export", "dev"])
@pytest.mark.parametrize(
    ("locked", "told", "installed"),
    [
        ("1.0", "", "1.0"),
        ("1.0", "LOCKED=no", "1.1"),
        ("0.9", "", "1.1"),  # a version that cannot be had
        (None, "", "1.1"),
    ],
)
def test_tested_versions(
    ready: Path, tmp_path: Path, level: str, locked: str | None, told: str, installed: str
) -> None:
    """What the lock says is installed, or else, in a sentence, what the requirements allow."""
    here = shutil.copytree(ready, tmp_path / "a clone", symlinks=True)
    hashes = {version: wheel(tmp_path / "wheels", version) for version in ("1.0", "1.1")}
    name = "requirements" if level == "run" else f"requirements-{level}"
    (here / f"{name}.txt").write_text("thing>=0.5\n")
    if locked:
        line = f"thing=={locked} --hash=sha256:{hashes.get(locked, 64 * '0')}\n"
        (here / f"{name}.lock").write_text(line)
    targets = {"run": ["setup"], "export": ["export-tools"], "dev": ["test", "ARGS=--version"]}
    make(
        here, *targets[level], *filter(None, [told]), PIP_FIND_LINKS=(tmp_path / "wheels").as_uri()
    )
    libraries = here / ".venv" / "lib"
    assert [path.name for path in libraries.rglob("thing-*")] == [f"thing-{installed}.dist-info"]
    assert (here / ".venv" / f".installed-{level}").exists()


def test_unavailable_lock_is_said_once(ready: Path, tmp_path: Path) -> None:
    here = shutil.copytree(ready, tmp_path / "a clone", symlinks=True)
    (here / "requirements.lock").write_text(f"thing==3 --hash=sha256:{64 * '0'}\n")
    outcome = make(here, "setup")
    assert (outcome.returncode, outcome.stderr) == (0, "")
    said = [line for line in outcome.stdout.splitlines() if "cannot be installed here" in line]
    assert len(said) == 1 and "thing==3" in said[0] and "requirements.txt" in said[0]
    assert make(here, "setup").stdout == ""
    (here / "requirements.lock").write_text("")  # another lock is tried anew
    assert "installing requirements.txt" in make(here, "setup").stdout


def test_another_file_than_the_tested_one_is_refused(ready: Path, tmp_path: Path) -> None:
    here = shutil.copytree(ready, tmp_path / "a clone", symlinks=True)
    wheel(tmp_path / "wheels", "1.0")
    (here / "requirements.lock").write_text(f"thing==1.0 --hash=sha256:{64 * '0'}\n")
    links = (tmp_path / "wheels").as_uri()
    assert "not the one that was tested" in sentence(make(here, "setup", PIP_FIND_LINKS=links))
    assert not list((here / ".venv" / "lib").rglob("thing*"))
    assert make(here, "setup", "LOCKED=no", PIP_FIND_LINKS=links).returncode == 0


def test_what_a_lock_lacks_is_added(ready: Path, tmp_path: Path) -> None:
    here = shutil.copytree(ready, tmp_path / "a clone", symlinks=True)
    wheel(tmp_path / "wheels", "1.0")
    (here / "requirements.txt").write_text("thing\n")
    (here / "requirements.lock").write_text("# of an older requirements.txt\n")
    make(here, "setup", PIP_FIND_LINKS=(tmp_path / "wheels").as_uri())
    assert list((here / ".venv" / "lib").rglob("thing-1.0.dist-info"))


def test_taken_port(ready: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        said = sentence(make(ready, "run", f"PORT={port}"))
    assert f"port {port}" in said and "make run PORT=8502" in said


@pytest.mark.parametrize("port", ["eighty", "0", "70000", "-1"])
def test_nonsense_port(ready: Path, port: str) -> None:
    assert f"PORT={port} is not a port" in sentence(make(ready, "run", f"PORT={port}"))
