"""What the history survives: rows that are damaged or newer, read-only places, older files."""

import dataclasses
import json
import os
import shutil
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest

from quant.history import schema
from quant.history.database import UnwritableError
from quant.history.runs import Runs, unread
from tests.quant.histories import answers, execute, make_older, recipe

NOBODY = 65534
posix = pytest.mark.skipif(os.name != "posix", reason="of users and their rights")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.sqlite3"


def filled(path, runs=3):
    history = Runs(path)
    for clip in range(1, runs + 1):
        run = history.begin(recipe(preset=f"bitlens:clip={clip}")).id
        history.append(run, answers(0, 10), 1.0)
        history.finish(run)
    return history


@pytest.fixture
def open_folder():
    """A folder that other users can get at, as pytest's own cannot be."""
    folder = Path(mkdtemp(prefix="bitlens-test-"))
    folder.chmod(0o777)
    yield folder
    folder.chmod(0o777)
    shutil.rmtree(folder)


@contextmanager
def read_only(folder):
    """Nothing in a folder can be written; root, who could all the same, is another user."""
    root = os.geteuid() == 0
    places = [folder, *folder.iterdir()]
    for place in places:
        place.chmod(0o555 if place.is_dir() else 0o444)
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        for place in places:
            place.chmod(0o777)


def newer(text):
    return json.dumps({**json.loads(text), "colour": "blue"})


SPOILT = {
    "a recipe that is none": "UPDATE runs SET recipe = '{' WHERE id = 2",
    "a recipe of a list": "UPDATE runs SET recipe = '[]' WHERE id = 2",
    "other bits": "UPDATE runs SET recipe = replace(recipe, '[3, 5]', '[3, 4]') WHERE id = 2",
    "a count that is off by one": "UPDATE runs SET correct = correct + 1 WHERE id = 2",
    "a divergence that is off": "UPDATE runs SET divergence = divergence * 1.0001 WHERE id = 2",
    "no count": "UPDATE runs SET images = 'many' WHERE id = 2",
    "another model": "UPDATE runs SET model_key = 'another' WHERE id = 2",
    "an unknown state": "UPDATE runs SET state = 'paused' WHERE id = 2",
    "a time there is not": "UPDATE runs SET created = 1e300 WHERE id = 2",
    "bytes that are no text": "UPDATE runs SET recipe = CAST(x'ff80' AS TEXT) WHERE id = 2",
}


@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT)
def test_a_row_that_cannot_be_read_hides_no_other(path, spoilt):
    history = filled(path)
    execute(path, spoilt)
    runs, unreadable = history.sorted_out()
    assert ([run.id for run in runs], unreadable) == ([3, 1], [2])
    assert [len(run.answers) for run in history.listed()] == [10, 10]
    with pytest.raises(ValueError, match=r"run 2 in .* cannot be read"):
        history.get(2)
    assert unread(unreadable).startswith("1 run could not be read: 2;")


def test_a_run_of_a_newer_program_hides_no_other(path):
    history = filled(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.create_function("newer", 1, newer)
        connection.create_function("checksum", -1, schema.checksum)
        connection.execute("UPDATE runs SET recipe = newer(recipe) WHERE id = 2")
        connection.execute(f"UPDATE runs SET sum = {schema.RUN_SUM}")
    runs, unreadable = history.sorted_out()
    assert ([run.id for run in runs], unreadable) == ([3, 1], [2])


def test_a_note_that_is_no_text_is_read_as_far_as_it_goes(path):
    history = filled(path)
    execute(path, "UPDATE runs SET note = CAST(x'4fff4b' AS TEXT) WHERE id = 2")
    assert history.get(2).note == "O\ufffdK"
    assert len(history.listed()) == 3


def test_a_damaged_page_hides_only_the_runs_on_it(path):
    history = filled(path, 60)
    execute(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    data = path.read_bytes()
    pages = [data[i : i + 4096] for i in range(0, len(data), 4096)]
    leaves = [i for i, page in enumerate(pages) if page[0] == 13 and b'"model"' in page]
    middle = leaves[len(leaves) // 2]
    spoilt = b"\xff" * 4096
    path.write_bytes(b"".join([*pages[:middle], spoilt, *pages[middle + 1 :]]))
    runs, unreadable = history.sorted_out()
    assert runs and unreadable
    assert sorted([run.id for run in runs] + unreadable) == list(range(1, 61))
    assert all(len(run.answers) == 10 for run in runs)


@pytest.mark.parametrize(
    "spoilt",
    [
        "UPDATE runs SET correct = 9",
        "UPDATE runs SET recipe = '{'",
        "UPDATE answers SET predicted = labels",
        "DELETE FROM answers",
    ],
)
def test_a_damaged_run_begins_anew_and_says_so(path, spoilt, caplog):
    history = Runs(path)
    run = history.begin(recipe()).id
    history.append(run, answers(0, 10), 1.0)
    history.note(run, "mine")
    execute(path, spoilt)
    again = history.begin(recipe())
    assert (again.id, again.counts.images, len(again.answers), again.note) == (run, 0, 0, "mine")
    assert again.recipe == recipe()
    assert "begins anew" in caplog.text
    history.append(run, answers(0, 10), 1.0)
    assert history.get(run).counts == answers(0, 10).counts()


def test_answers_do_not_follow_on_a_damaged_row(path):
    history = Runs(path)
    run = history.begin(recipe()).id
    history.append(run, answers(0, 10), 1.0)
    execute(path, "UPDATE runs SET correct = 9")
    with pytest.raises(ValueError, match="its row is damaged"):
        history.append(run, answers(10, 20), 1.0)


@posix
@pytest.mark.parametrize("left", ["closed", "with a log", "of version 3", "of version 2"])
def test_what_cannot_be_written_can_be_read(open_folder, left):
    path = open_folder / "runs.sqlite3"
    if left == "with a log":  # as a kill leaves it
        elsewhere = open_folder.parent / f"{open_folder.name}-b"
        elsewhere.mkdir()
        try:
            filled(elsewhere / "runs.sqlite3", 2)
            with closing(sqlite3.connect(elsewhere / "runs.sqlite3")) as held:
                held.execute("SELECT * FROM runs").fetchone()
                filled(elsewhere / "runs.sqlite3")
                for end in ("", "-wal"):
                    shutil.copy(f"{elsewhere}/runs.sqlite3{end}", open_folder)
        finally:
            shutil.rmtree(elsewhere)
        assert path.with_name("runs.sqlite3-wal").stat().st_size
    else:
        filled(path)
    if left.startswith("of version"):
        make_older(path, int(left[-1]))
    before = {file.name: file.read_bytes() for file in open_folder.iterdir()}
    with read_only(open_folder):
        history = Runs(path)
        assert [run.id for run in history.listed()] == [3, 2, 1]
        many = [10, 20, 20] if left == "with a log" else [10, 10, 10]
        assert [len(run.answers) for run in history.listed()] == many
        with pytest.raises(UnwritableError, match="make room or rights for it"):
            history.check_writable()
        for change in (lambda: history.note(1, "x"), lambda: history.begin(recipe())):
            with pytest.raises(ValueError, match=r"runs\.sqlite3 cannot be used"):
                change()
    assert {file.name: file.read_bytes() for file in open_folder.iterdir()} == before


@posix
def test_a_read_only_place_without_a_history_has_no_runs(open_folder):
    with read_only(open_folder):
        history = Runs(open_folder / "runs.sqlite3")
        assert history.listed() == []
        with pytest.raises(UnwritableError):
            history.check_writable()
    assert list(open_folder.iterdir()) == []


@pytest.mark.parametrize("version", [2, 3])
def test_an_older_file_is_copied_before_it_is_changed(path, version):
    filled(path)
    make_older(path, version)
    old = execute(path, "SELECT * FROM runs")
    assert len(Runs(path).listed()) == 3
    copy = path.with_name(f"runs.sqlite3.v{version}.bak")
    assert execute(copy, "PRAGMA user_version") == [(version,)]
    assert execute(copy, "SELECT * FROM runs") == old
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name, copy.name]
    assert [len(run.answers) for run in Runs(path).listed()] == [10, 10, 10]


def test_without_room_for_a_copy_nothing_is_changed(path):
    filled(path)
    make_older(path, 3)
    path.with_name("runs.sqlite3.v3.part").mkdir()
    history = Runs(path)
    assert len(history.listed()) == 3
    with pytest.raises(ValueError, match="there is no room for a copy"):
        history.check_writable()
    assert execute(path, "PRAGMA user_version") == [(3,)]


def test_sums_are_of_all_that_a_run_says(path):
    history = filled(path, 1)
    (run,) = history.listed()
    for name, value in dataclasses.asdict(run.counts).items():
        execute(path, f"UPDATE runs SET {name} = {name} + 1")
        assert history.listed() == []
        execute(path, f"UPDATE runs SET {name} = {value!r}")
        assert len(history.listed()) == 1


def test_each_byte_of_an_answer_counts(path):
    history = filled(path, 1)
    generator = np.random.default_rng(0)
    (stored,) = execute(path, "SELECT divergence FROM answers")
    for _ in range(20):
        changed = bytearray(stored[0])
        changed[generator.integers(len(changed))] ^= 1 << int(generator.integers(8))
        execute(path, f"UPDATE answers SET divergence = x'{changed.hex()}'")
        with pytest.raises(ValueError, match="its answers are damaged"):
            _ = history.get(1).answers
