import dataclasses
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

import numpy as np
import pytest
import torch

from quant.evaluation.answers import Answers, Counts
from quant.history import runs, schema
from quant.history.recipe import Recipe, versions
from quant.history.runs import Runs
from quant.primitives.bits import LayerBits
from tests.quant.histories import answers, execute, recipe, write

posix = pytest.mark.skipif(os.name != "posix", reason="processes are forked and killed")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "runs.sqlite3"


@pytest.fixture
def history(path):
    return Runs(path)


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one.columns(), other.columns(), strict=True))


def test_a_run_comes_back_as_it_was_kept(history, path):
    before = datetime.now(UTC)
    begun = history.begin(recipe())
    assert (begun.state, begun.counts, begun.evaluation) == ("running", Counts(), None)
    assert len(begun.answers) == 0
    history.append(begun.id, answers(0, 4), 1.0)
    history.append(begun.id, answers(4, 20), 2.5)
    history.finish(begun.id)
    history.pin(begun.id, True)
    history.note(begun.id, "the first")
    (run,) = Runs(path).listed()
    assert (run.id, run.state, run.pinned, run.note) == (begun.id, "done", True, "the first")
    assert run.seconds == 3.5
    assert before <= run.created <= datetime.now(UTC)
    assert run.recipe == recipe()
    assert run.recipe.allocation["head"] == LayerBits(3, 5)
    assert same(run.answers, answers(0, 20))
    assert [c.dtype for c in run.answers.columns()] == [c.dtype for c in answers(0, 1).columns()]
    assert dataclasses.replace(run.counts, divergence=0) == Counts(20, 15, 18, 20, 15, 15)
    assert run.counts.divergence == pytest.approx(sum(range(20)) / 100)
    assert run.evaluation == run.counts.evaluation(3.5)
    assert run.evaluation.difference == -5 / 20


def test_sums_of_parts_are_those_of_the_whole_to_the_last_bit(history):
    generator = np.random.default_rng(0)
    whole = dataclasses.replace(
        answers(0, 300), divergence=generator.lognormal(-6, 3, 300).astype(np.float32)
    )
    sums = set()
    for number, ends in enumerate(([300], [4, 12, 28, 300], [299, 300], [*range(1, 301)])):
        run = history.begin(recipe(seed=number)).id
        for start, stop in zip([0, *ends], ends, strict=False):
            history.append(run, whole.part(start, stop), 1.0)
        sums.add(history.get(run).counts.divergence)
    assert sums == {whole.counts().divergence}


def test_a_float_run_is_kept_too(history):
    plain = recipe(allocation=None, data="folder", checkpoint="w.pth", calibration="others")
    assert history.get(history.begin(plain).id).recipe == plain


def test_the_same_recipe_goes_on_with_its_run(history):
    one = history.begin(recipe())
    history.append(one.id, answers(0, 10), 1.0)
    history.stop(one.id)
    again = history.begin(recipe(objective="sensitivity", budget="600 kB", checkpoint="elsewhere"))
    assert (again.id, again.state, again.counts.images) == (one.id, "running", 10)
    assert same(again.answers, answers(0, 10))
    assert again.recipe == recipe()
    assert len(history.listed()) == 1


DIFFERENT = [
    {"model_key": "digits-vit-4567"},
    {"images_key": "others"},
    {"images": 499},
    {"preset": "repq-vit"},
    {"preset": "bitlens:clip=3"},
    {"calibration_key": "others"},
    {"calibration_images": 31},
    {"allocation": {"patch_embed.proj": LayerBits(8, 8), "head": LayerBits(5, 3)}},
    {"allocation": None},
    {"device": "cuda"},
    {"versions": {"torch": "2.1"}},
]


@pytest.mark.parametrize("changes", DIFFERENT, ids=lambda c: next(iter(c)))
def test_another_recipe_is_another_run(history, changes):
    one, other, again = (history.begin(r).id for r in (recipe(), recipe(**changes), recipe()))
    assert (other, again) == (one + 1, one)


def test_what_cannot_change_the_answers_makes_no_other_run():
    layers = recipe().allocation
    turned = recipe(allocation=dict(reversed(layers.items())))
    assert turned.key == recipe().key
    assert recipe(preset="bitlens:gelu=codebook").key == recipe().key  # as it is anyway
    float_run = recipe(allocation=None)
    assert float_run.key == recipe(allocation=None, preset="repq-vit", calibration_key="x").key


def test_a_recipe_names_the_versions_that_made_it():
    assert versions()["torch"] == torch.__version__
    assert set(versions()) == {"bitlens", "torch", "timm", "python", "calibration"}
    plain = {f.name: getattr(recipe(), f.name) for f in dataclasses.fields(Recipe)}
    del plain["versions"]
    assert Recipe(**plain).versions == versions()


def test_answers_that_are_there_already_are_not_kept_twice(history):
    run = history.begin(recipe()).id
    history.append(run, answers(0, 10), 1.0, 0)
    history.append(run, answers(4, 14), 1.0, 4)  # another process, at the same run
    history.append(run, answers(2, 8), 1.0, 2)
    history.append(run, answers(14, 20), 1.0, 14)
    found = history.get(run)
    assert same(found.answers, answers(0, 20))
    assert found.counts == history.begin(recipe()).counts
    assert (found.counts.images, found.counts.correct) == (20, 15)
    assert found.seconds == pytest.approx(1 + 0.4 + 1)


def test_answers_do_not_leave_a_gap(history):
    run = history.begin(recipe()).id
    with pytest.raises(ValueError, match="has 0 answers: answer 5 cannot follow"):
        history.append(run, answers(5, 10), 1.0, 5)
    assert history.get(run).counts.images == 0


def test_runs_are_listed_newest_first_and_by_what_they_measure(history):
    one = history.begin(recipe()).id
    other = history.begin(recipe(model_key="m")).id
    third = history.begin(recipe(model_key="m", images_key="i")).id
    assert [run.id for run in history.listed()] == [third, other, one]
    assert [run.id for run in history.listed(model_key="m")] == [third, other]
    assert [run.id for run in history.listed("m", "i")] == [third]
    assert history.listed(images_key="none") == []


def test_a_list_does_not_read_answers(history, path):
    run = history.begin(recipe()).id
    history.append(run, answers(0, 10), 1.0)
    execute(path, "DROP TABLE answers")
    assert history.listed()[0].evaluation.top1 == 0.8
    assert history.get(run).counts.images == 10


def test_a_run_stands_as_it_was_read(history):
    run = history.begin(recipe()).id
    history.append(run, answers(0, 10), 1.0)
    read = history.get(run)
    history.append(run, answers(10, 20), 1.0)
    assert len(read.answers) == 10 == read.counts.images


def test_a_deleted_run_is_gone_with_its_answers(history, path):
    run = history.begin(recipe()).id
    history.append(run, answers(0, 10), 1.0)
    history.delete(run)
    assert history.listed() == []
    assert execute(path, "SELECT count(*) FROM answers") == [(0,)]
    assert history.begin(recipe()).id != run  # a link to the old one never shows another


@pytest.mark.parametrize(
    "ask",
    [
        lambda h: h.get(7),
        lambda h: h.delete(7),
        lambda h: h.append(7, answers(0, 1), 1.0),
        lambda h: h.finish(7),
        lambda h: h.stop(7),
        lambda h: h.pin(7, True),
        lambda h: h.note(7, "x"),
    ],
)
def test_a_run_that_is_not_there_is_named(history, ask):
    with pytest.raises(ValueError, match="there is no run 7 in "):
        ask(history)


def test_a_run_without_a_sign_of_life_is_stopped(history, monkeypatch):
    run = history.begin(recipe()).id
    assert history.get(run).state == "running"
    later = time.time() + runs.SILENCE + 1
    monkeypatch.setattr(runs.time, "time", lambda: later)
    assert history.get(run).state == "stopped"
    history.append(run, Answers.none(), 0.0)  # a sign of life
    assert history.get(run).state == "running"


def test_a_run_of_another_machine_is_judged_by_its_silence(history, monkeypatch):
    run = history.begin(recipe()).id
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    monkeypatch.setattr(runs.os, "getpid", lambda: ended.pid)
    history.append(run, Answers.none(), 0.0)
    assert history.get(run).state == "stopped"  # no such process here
    monkeypatch.setattr(runs.platform, "node", lambda: "elsewhere")
    assert history.get(run).state == "running"


@pytest.fixture(scope="module")
def processes():
    """A way to make processes that have not inherited this one's threads, but its imports."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.quant.history"])
    return context


def begin_together(processes, path, clips, chunks):
    """Begin one writing process for each clip, all at once; return them with their pipes."""
    begun = []
    for clip in clips:
        here, there = processes.Pipe()
        process = processes.Process(target=write, args=(str(path), clip, chunks, there))
        process.start()
        there.close()
        begun.append((process, here))
    for _, pipe in begun:
        assert pipe.recv() == "ready"
    for _, pipe in begun:
        pipe.send("go")
    return begun


def kept_rightly(run):
    counts, expected = run.counts, answers(0, run.counts.images).counts()
    assert counts.divergence == pytest.approx(expected.divergence)
    assert dataclasses.replace(counts, divergence=0) == dataclasses.replace(expected, divergence=0)
    assert same(run.answers, answers(0, counts.images))


@posix
def test_processes_write_at_once(processes, path):
    """Two write the same run, two their own, into a file that none of them found."""
    begun = begin_together(processes, path, (1, 1, 2, 3), 40)
    for process, pipe in begun:
        process.join(300)
        assert process.exitcode == 0
        pipe.close()
    found = Runs(path).listed()
    assert len(found) == 3
    for run in found:
        assert run.state == "done"
        assert run.counts.images >= 400
        kept_rightly(run)


def test_threads_write_at_once(history):
    def write(clip):
        run = history.begin(recipe(preset=f"bitlens:clip={clip}")).id
        for start in range(0, 200, 10):
            history.append(run, answers(start, start + 10), 1.0, start)

    threads = [threading.Thread(target=write, args=(clip,)) for clip in (1, 1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(run.answers) for run in history.listed()] == [200, 200]


@posix
def test_a_killed_process_loses_nothing_it_had_kept(processes, path):
    for round_ in (1, 2, 3):
        ((process, pipe),) = begin_together(processes, path, [1], 100_000)
        for _ in range(20):
            run, kept = pipe.recv()
        assert Runs(path).get(run).state == "running"
        process.kill()
        process.join()
        pipe.close()
        found = Runs(path).get(run)
        assert found.state == "stopped"
        assert found.counts.images >= kept >= 200 * round_
        kept_rightly(found)
    assert execute(path, "PRAGMA integrity_check") == [("ok",)]


VERSION_1 = [
    "CREATE TABLE runs (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE,"
    " created REAL NOT NULL, model_key TEXT NOT NULL, images_key TEXT NOT NULL,"
    " recipe TEXT NOT NULL, state TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL,"
    " beat REAL NOT NULL, seconds REAL NOT NULL DEFAULT 0, images INTEGER NOT NULL DEFAULT 0,"
    " correct INTEGER NOT NULL DEFAULT 0, top5 INTEGER NOT NULL DEFAULT 0,"
    " plain INTEGER NOT NULL DEFAULT 0, both INTEGER NOT NULL DEFAULT 0,"
    " agree INTEGER NOT NULL DEFAULT 0, divergence REAL NOT NULL DEFAULT 0)",
    "CREATE TABLE answers (run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,"
    " start INTEGER NOT NULL, labels BLOB NOT NULL, predicted BLOB NOT NULL,"
    " reference BLOB NOT NULL, top5 BLOB NOT NULL, divergence BLOB NOT NULL,"
    " PRIMARY KEY (run_id, start))",
    "INSERT INTO runs VALUES (5, 'k', 1.7e9, 'digits-vit-0123', 'digits-validation', '{}', 'done',"
    " 'host', 1, 1.7e9, 2.5, 2, 1, 2, 2, 1, 1, 0.25)",
    "INSERT INTO answers VALUES (5, 0, x'0300000004000000', x'0300000009000000',"
    " x'0300000004000000', x'0101', x'0000000000008040')",
    "PRAGMA user_version = 1",
]


def test_a_file_of_version_1_is_brought_up_to_date(path):
    path.parent.mkdir()
    execute(path, *VERSION_1)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE runs SET recipe = ?", (recipe().to_json(),))
    connection.close()
    history = Runs(path)
    (run,) = history.listed()
    assert (run.id, run.state, run.pinned, run.note) == (5, "done", False, "")
    assert (run.counts, run.seconds) == (Counts(2, 1, 2, 2, 1, 1, 0.25), 2.5)
    assert run.created == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert run.answers.predicted.tolist() == [3, 9]
    assert run.answers.divergence.tolist() == [0, 4]
    history.note(5, "still here")
    assert Runs(path).get(5).note == "still here"
    assert execute(path, "PRAGMA user_version") == [(schema.VERSION,)]
    assert execute(path, "PRAGMA journal_mode") == [("wal",)]


def test_a_step_that_fails_leaves_the_file_as_it_was(path, monkeypatch):
    Runs(path).begin(recipe())
    broken = (*schema.MIGRATIONS, ("ALTER TABLE runs ADD COLUMN colour TEXT", "NONSENSE"))
    monkeypatch.setattr(schema, "MIGRATIONS", broken)
    monkeypatch.setattr(schema, "VERSION", len(broken))
    with pytest.raises(ValueError, match="cannot be used"):
        Runs(path)
    monkeypatch.undo()
    assert len(Runs(path).listed()) == 1
    assert "colour" not in [row[1] for row in execute(path, "PRAGMA table_info(runs)")]


def test_a_newer_file_is_refused_and_left_alone(history, path):
    history.begin(recipe())
    execute(path, f"PRAGMA user_version = {schema.VERSION + 1}")
    with pytest.raises(ValueError, match=r"is of version \d+, .*update Bitlens"):
        Runs(path)
    assert execute(path, "SELECT count(*) FROM runs") == [(1,)]


def test_another_programs_file_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "places.sqlite"
    execute(path, "CREATE TABLE places (name TEXT)")
    with pytest.raises(ValueError, match="another program's file"):
        Runs(path)
    assert execute(path, "SELECT name FROM sqlite_master") == [("places",)]


def test_a_file_that_is_none_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "runs.sqlite3"
    path.write_text("these are my notes, and no database at all; " * 20)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"is damaged .*move it away"):
        Runs(path)
    assert path.read_bytes() == before


def test_a_damaged_file_is_named_with_what_to_do(history, path):
    for clip in range(1, 40):
        run = history.begin(recipe(preset=f"bitlens:clip={clip}")).id
        history.append(run, answers(0, 200), 1.0)
    execute(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(path.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)  # all but the first page
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"runs\.sqlite3 is damaged .*\.recover"):
        Runs(path).listed()
    assert path.read_bytes() == content


def test_a_file_moved_away_makes_room_for_a_new_history(history, path):
    history.begin(recipe())
    path.rename(path.with_suffix(".old"))
    assert history.listed() == []
    assert history.begin(recipe()).id == 1
    assert len(Runs(path.with_suffix(".old")).listed()) == 1


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        ("UPDATE answers SET labels = x'010203'", "run 1 .*its answers are damaged"),
        ("UPDATE answers SET top5 = x'01'", "run 1 .*its answers are damaged"),
        ("UPDATE answers SET predicted = reference", "run 1 .*its answers are damaged"),
        ("UPDATE answers SET start = 5", "run 1 .*its answers are damaged"),
        ("UPDATE answers SET labels = 7", "run 1 .*its answers are damaged"),
        ("DELETE FROM answers", "run 1 .*10 of its answers are gone"),
    ],
)
def test_damaged_answers_are_named(history, path, spoil, what):
    history.append(history.begin(recipe()).id, answers(0, 10), 1.0)
    execute(path, spoil)
    with pytest.raises(ValueError, match=what):
        _ = history.get(1).answers


def test_a_damaged_recipe_is_named(history, path):
    history.begin(recipe())
    execute(path, "UPDATE runs SET recipe = '{'")
    with pytest.raises(ValueError, match=r"run 1 .* cannot be read"):
        history.get(1)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be made: choose another BITLENS_HOME"):
        Runs(tmp_path / "file" / "runs.sqlite3")
    with pytest.raises(ValueError, match="cannot be used: unable to open"):
        Runs(tmp_path)
