"""What docs say is there: links, anchors, files, modules and names; and no line is too wide."""

import argparse
import importlib
import re
from pathlib import Path

import pytest

import lrp.__main__
import quant.__main__
from lrp.methods.catalogue import METHODS
from scripts import draw_rooms

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCES = [
    path for folder in ("app", "lrp", "quant", "assets") for path in (ROOT / folder).rglob("*.py")
]
COMMANDS = {"lrp": lrp.__main__.COMMANDS, "quant": quant.__main__.COMMANDS}
WIDE = 120
INVENTED = {"app/views/sizes.py", "app/sizes/"}  # by the how-to that tells how to add them


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose(text: str) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


def anchors(text: str) -> set[str]:
    """What GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", prose(text), re.M)
    plain = (re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", title.lower())) for title in headings)
    return {title.strip().replace(" ", "-") for title in plain}


def links(text: str) -> list[str]:
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", prose(text)) if "://" not in link]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for link in links(page.read_text(encoding="utf-8")):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text("utf-8"))):
            lost.append(link)
    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_page_is_linked_from_the_readme_or_is_it(page: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = {(ROOT / link.partition("#")[0]).resolve() for link in links(readme)}
    assert page in targets | {ROOT / "README.md"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_lines_are_at_most_so_wide_but_for_tables(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    wide = [line for line in lines if len(line) > WIDE and not line.startswith("|")]
    assert wide == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_in_backticks_are_there(page: Path) -> None:
    spans = re.findall(r"`([^`\n]+)`", prose(page.read_text(encoding="utf-8")))
    paths = {
        s
        for s in spans
        if re.fullmatch(r"(app|lrp|quant|assets|tests|bench|scripts|docs)/[\w./]*", s)
    }
    assert {path for path in paths - INVENTED if not (ROOT / path).exists()} == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_dotted_names_in_backticks_can_be_imported(page: Path) -> None:
    spans = re.findall(r"`([^`\n]+)`", prose(page.read_text(encoding="utf-8")))
    dotted = {m[0] for s in spans if (m := re.match(r"(?:app|lrp|quant|assets)(?:\.\w+)+", s))}
    assert {name for name in dotted if not importable(name)} == set()


def importable(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def test_what_sources_say_of_docs_is_there() -> None:
    told = {
        (name_of(path), link)
        for path in SOURCES
        for link in re.findall(r"docs/[\w./-]+\.md", path.read_text(encoding="utf-8"))
    }
    assert {(place, link) for place, link in told if not (ROOT / link).exists()} == set()


def commands(text: str) -> list[tuple[str, str]]:
    """The commands in a page's blocks, a line each, and in its backticks: package, and the rest."""
    blocks = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)).replace("\\\n", " ")
    inline = [span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", prose(text))]
    return re.findall(r"python -m (lrp|quant) ([^#\n]+)", "\n".join([blocks, *inline]))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_have_the_options_that_are_told_of(page: Path) -> None:
    for package, line in commands(page.read_text(encoding="utf-8")):
        name, *words = line.split()
        parser = argparse.ArgumentParser()
        COMMANDS[package][name].add(parser)
        options = {word for word in words if re.fullmatch(r"--[a-z-]+", word)}
        assert options <= set(parser._option_string_actions), line


def test_the_reference_has_every_method(repository: Path) -> None:
    text = (repository / "docs/reference/relevance.md").read_text(encoding="utf-8")
    assert {name for name in METHODS if f"`{name}`" not in text} == set()


def test_the_picture_of_the_rooms_is_drawn_from_the_floors() -> None:
    picture = draw_rooms.PICTURE.read_text(encoding="utf-8")
    assert picture == draw_rooms.draw(draw_rooms.floors())
    rooms = re.findall(r'class="name"[^>]*>(\w+)<', picture)
    folders = {
        path.parent.name for package in draw_rooms.ORDER for path in (ROOT / package).glob("*/*.py")
    }
    assert folders <= set(rooms)
