import pytest

from quant.evaluation.stream import Step
from quant.history.record import record
from quant.history.runs import Runs
from tests.quant.histories import answers, recipe


@pytest.fixture
def history(tmp_path):
    return Runs(tmp_path / "runs.sqlite3")


def steps(*ends, begun=None):
    """Steps that answer up to each end, from what is known, and take a second an image."""

    def made(known, seconds):
        start = len(known)
        if begun is not None:
            begun.append(start)
        if start:
            yield Step("made up", "", 20, known, start, seconds)
        for end in ends:
            seconds += float(end - start)
            yield Step("made up", "", 20, answers(0, end), start, seconds)
            start = end

    return made


def test_every_step_is_kept_as_it_comes(history):
    found = []
    for state in record(history, recipe(), steps(4, 12, 20)):
        kept = history.get(state.run)
        assert (kept.state, kept.counts) == ("running", state.answers.counts())
        found.append((len(state.answers), len(state.new), state.seconds))
    assert found == [(4, 4, 4), (12, 8, 12), (20, 8, 20)]
    run = history.get(state.run)
    assert (run.state, run.seconds) == ("done", 20)
    assert run.evaluation == state.evaluation


def test_a_run_that_was_left_goes_on_where_it_was(history):
    for state in record(history, recipe(), steps(4, 12, 20)):
        if len(state.answers) == 12:
            break
    assert history.get(state.run).state == "stopped"
    begun = []
    last = list(record(history, recipe(), steps(20, begun=begun)))[-1]
    assert begun == [12]
    assert last.seconds == 20
    assert history.get(state.run).state == "done"
    assert len(history.get(state.run).answers) == 20


def test_a_run_that_fails_is_stopped_with_what_it_had(history):
    def failing(known, seconds):
        yield from steps(4)(known, seconds)
        raise ValueError("the machine is tired")

    with pytest.raises(ValueError, match="tired"):
        list(record(history, recipe(), failing))
    (run,) = history.listed()
    assert (run.state, run.counts.images) == ("stopped", 4)


def test_a_run_deleted_meanwhile_is_heard_of(history):
    states = record(history, recipe(), steps(4, 12))
    history.delete(next(states).run)
    with pytest.raises(ValueError, match="there is no run"):
        list(states)


def test_without_a_history_nothing_is_kept():
    found = list(record(None, recipe(), steps(4, 12)))
    assert [(s.run, len(s.answers), s.seconds) for s in found] == [(None, 4, 4), (None, 12, 12)]
