"""The locks hold what the requirements ask for, each file by its hash and nobody's address."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LEVELS = ("requirements", "requirements-export", "requirements-dev")
ENTRY = re.compile(r"^(\S.*?)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.M)


def required(path: Path) -> list[Requirement]:
    """The requirements of a file and of those it includes."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("-r "):
            found += required(path.parent / line.removeprefix("-r "))
        elif line:
            found.append(Requirement(line))
    return found


def locked(text: str) -> dict[str, Requirement]:
    """A lock's packages by name; each is one version."""
    entries = [Requirement(entry[1]) for entry in ENTRY.finditer(text)]
    names = [canonicalize_name(entry.name) for entry in entries]
    assert len(set(names)) == len(names)
    return dict(zip(names, entries, strict=True))


def version(entry: Requirement) -> str:
    (specifier,) = entry.specifier
    assert specifier.operator == "==" and "*" not in specifier.version
    return specifier.version


@pytest.mark.parametrize("level", LEVELS)
def test_lock_meets_the_requirements(repository: Path, level: str) -> None:
    """Where this fails: `make lock`."""
    lock = locked((repository / f"{level}.lock").read_text(encoding="utf-8"))
    for requirement in required(repository / f"{level}.txt"):
        entry = lock[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version(entry)), f"{requirement}, locked: {entry}"
        assert entry.marker is None


@pytest.mark.parametrize("level", LEVELS)
def test_every_line_has_a_hash_and_none_an_address(repository: Path, level: str) -> None:
    text = (repository / f"{level}.lock").read_text(encoding="utf-8")
    rest = ENTRY.sub("", text)
    assert [line for line in rest.splitlines() if line and not line.lstrip().startswith("#")] == []
    assert not re.search(r"://|--(extra-)?index|--find-links|--trusted-host", text)


def test_tests_run_on_what_users_get(repository: Path) -> None:
    held = []
    for level in LEVELS:
        lock = locked((repository / f"{level}.lock").read_text(encoding="utf-8"))
        held.append({name: str(entry) for name, entry in lock.items()}.items())
    run, export, dev = held
    assert run <= export <= dev


def test_licences_of_all_that_is_locked_are_listed(repository: Path) -> None:
    """Where this fails: `make lock`."""
    text = (repository / "docs" / "licences.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([\w.-]+) \| ([\w.]+) \| [^|]{2,} \| \w+ \|$", text, re.M))
    lock = locked((repository / "requirements-dev.lock").read_text(encoding="utf-8"))
    here = {"sys_platform": "linux", "platform_machine": "x86_64", "python_full_version": "3.11.0"}
    for name, entry in lock.items():
        if entry.marker is None or entry.marker.evaluate(here):
            assert rows.pop(name, None) == version(entry)
    assert rows == {"package": "version"}  # the head, and nothing that is not locked


def test_copyleft_is_told(repository: Path) -> None:
    text = (repository / "docs" / "licences.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^- ([\w.-]+): ", text, re.M))
    terms = re.findall(r"^\| ([\w.-]+) \| [^|]+ \| ([^|]+) \|", text, re.M)
    terms.remove(("docutils", "Public Domain, BSD License, GNU General Public License (GPL)"))
    assert told == {name for name, stated in terms if "GPL" in stated or "MPL" in stated}
    assert told and not any("GPL" in stated for _, stated in terms)  # AGPL, LGPL: think first
