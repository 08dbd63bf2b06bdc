"""List the licences of the locked packages, as each package states its own.

`make lock` runs it, and it writes docs/licences.md.
"""

import re
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "licences.md"
COPYLEFT = re.compile(r"GPL|MPL|EPL|CDDL|EUPL|CeCILL")
APART = {"docutils"}  # names licences of files that it does not install
LEVELS = {"running": "", "exporting": "-export", "development": "-dev"}
LONGEST = 80  # letters; what is longer is the licence's text
HEAD = """\
# Licences

Bitlens itself is under [Apache-2.0](../LICENSE). It contains none of the packages below: `make run`
installs those of [requirements.lock](../requirements.lock), `make export-tools` those for
exporting, and `make test` also those for development. The licences are what the packages state
themselves; the full texts, also of libraries inside them, come with each package. Packages for
other systems than Linux on x86-64 are not listed. `make lock` writes this page.

**Copyleft**, used unchanged:

{copyleft}

The builds of NumPy, SciPy and scikit-learn hold GCC's run-time libraries (GPL-3.0 with the GCC
Runtime Library Exception, which leaves what uses them free). The GPL that docutils names is that of
an editor mode, which its package does not hold.

**Proprietary:** NVIDIA's CUDA libraries, on which PyTorch's builds for Linux depend, may be used
and passed on under NVIDIA's terms only. PyTorch's builds for CPUs do without them.

| package | version | licence | for |
|---|---|---|---|
"""


def locked(path: Path) -> list[str]:
    """Return the names in a lock."""
    return re.findall(r"^([\w.-]+)==", path.read_text(encoding="utf-8"), re.M)


def licence(of: PackageMetadata) -> str:
    """Return what a package states as its licence: an expression, a name, or its classifiers."""
    for expression in of.get_all("License-Expression") or ():
        return str(expression)
    for name in of.get_all("License") or ():
        if 0 < len(name) <= LONGEST and "\n" not in name:
            return str(name)
    stated = [str(line).split(" :: ") for line in of.get_all("Classifier") or ()]
    return ", ".join(words[-1] for words in stated if words[0] == "License") or "not stated"


def page(root: Path = ROOT) -> str:
    """Return the page, of the packages that are installed here."""
    held = {use: locked(root / f"requirements{end}.lock") for use, end in LEVELS.items()}
    rows, copyleft = [], []
    for name in held["development"]:
        try:
            found = metadata(name)
        except PackageNotFoundError:
            continue  # of another system
        terms = licence(found)
        use = next(use for use, names in held.items() if name in names)
        rows.append(f"| {name} | {found['Version']} | {terms} | {use} |")
        if COPYLEFT.search(terms) and name not in APART:
            copyleft.append(f"- {name}: {terms}")
    return HEAD.format(copyleft="\n".join(copyleft)) + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
