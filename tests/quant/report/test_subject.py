"""What a report is about: which runs go together, and which are refused in one sentence."""

from pathlib import Path

import pytest

from quant.history.runs import FILE, Runs
from quant.report import subject as subjects
from quant.report.subject import Subject, gather, kind_of, name_of
from tests.app import runs_made as made
from tests.quant import histories


def test_the_first_quantized_run_is_told_of_in_full(history: Runs) -> None:
    found = gather(history, [1, 4, 3, 4])
    assert found.run.id == 4
    assert [run.id for run in found.named] == [4, 1, 3]
    assert [run.id for run in found.others] == [2]


def test_of_many_other_runs_the_newest_are_told_of(
    history: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subjects, "MOST_OTHERS", 1)
    assert [run.id for run in gather(history, [2]).others] == [4]


def test_runs_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    runs = Runs(tmp_path / FILE)
    made.keep(runs, made.recipe(4), made.answers({1}))
    made.keep(runs, made.recipe(4, "digits-vit"), made.answers({1}, name="digits-vit"))
    other = made.recipe(4, images_key="others")
    made.keep(runs, other, made.answers({1}))
    made.keep(runs, made.recipe(None), made.answers(set()))
    runs.begin(histories.recipe())
    for numbers, said in (
        ([1, 2], "run 2 is of another model than run 1"),
        ([1, 3], "runs 1 and 3 measured different images"),
        ([4], "run 4 is of the float model: name one that is quantized"),
        ([5], "run 5 has answered no image yet"),
        ([1, 99], "there is no run 99"),
    ):
        with pytest.raises(ValueError, match=said) as raised:
            gather(runs, numbers)
        assert "\n" not in str(raised.value)


def test_without_the_model_nothing_is_counted(bare: Subject) -> None:
    assert bare.cost(bare.allocation) is None
    assert bare.losses is None
    assert bare.class_name(3) == "class 3"


def test_names_say_how_bits_were_chosen(history: Runs) -> None:
    names = {run.id: name_of(run.recipe) for run in history.listed()}
    assert names == {1: "float", 2: "uniform 8 bits", 3: "uniform 4 bits",
                     4: "sensitivity 4.00 bit"}  # fmt: skip
    from_file = made.recipe(4, objective="file", budget="<b>")
    assert name_of(from_file) == "bits of the file <b>"
    assert kind_of(made.recipe(4, objective="random-3")) == "random"
