"""`python -m quant doctor`: a sound home, and each fault by its name."""

import json
import os

import pytest

from assets.terminal import run
from quant.__main__ import main
from quant.history.runs import FILE, Runs
from tests.quant.histories import answers, execute, make_older, recipe


@pytest.fixture
def kept(sensed):
    history = Runs(sensed / FILE)
    for seed in (0, 1):
        number = history.begin(recipe(seed=seed)).id
        history.append(number, answers(0, 10), 1.0)
    return sensed


def doctor(capsys, *arguments):
    code = run(main, ["doctor", *arguments, "--json", "-"])
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    return code, {one["what"]: one["fault"] for one in found["found"] if one["fault"]}


def everything(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_sound_home_is_sound_and_left_as_it_is(capsys, kept):
    before = everything(kept)
    assert doctor(capsys) == (0, {})
    assert run(main, ["doctor", "--home", str(kept)]) == 0
    assert capsys.readouterr().out.endswith(f"{kept} is sound\n")
    assert everything(kept) == before
    make_older(kept / FILE, 3)
    before = everything(kept)
    assert doctor(capsys) == (0, {})
    assert everything(kept) == before


def test_each_fault_is_named_and_what_is_made_again_can_be_deleted(capsys, kept):
    passes = sorted(kept.rglob("a*.safetensors"))
    flipped, foreign = passes[0], passes[1]
    content = flipped.read_bytes()
    flipped.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    foreign.write_bytes(passes[2].read_bytes())
    (losses,) = kept.rglob("sensitivity-*.json")
    losses.write_text("{")
    left = losses.with_name("tmp123.part")
    left.touch()
    execute(kept / FILE, "UPDATE runs SET correct = 9 WHERE id = 1")
    execute(kept / FILE, "UPDATE answers SET predicted = labels WHERE run_id = 2")
    code, faults = doctor(capsys)
    assert code == 1
    assert set(faults) == {str(p) for p in (flipped, foreign, losses, left, kept / FILE)}
    assert "damaged" in faults[str(flipped)]
    assert "another calibration or width" in faults[str(foreign)]
    assert "run 1 cannot be read" in faults[str(kept / FILE)]
    assert "answers of run 2 are damaged" in faults[str(kept / FILE)]
    assert run(main, ["doctor", "--repair"]) == 1
    assert "4 files were deleted" in capsys.readouterr().out
    assert not any(path.exists() for path in (flipped, foreign, losses, left))
    assert set(doctor(capsys)[1]) == {str(kept / FILE)}


def test_a_history_that_is_none_is_a_fault(capsys, kept):
    (kept / FILE).write_bytes(os.urandom(5000))
    code, faults = doctor(capsys)
    assert code == 1 and "is damaged" in faults[str(kept / FILE)]


def test_a_home_that_is_not_there_is_wrong_input(capsys, tmp_path):
    assert run(main, ["doctor", "--home", str(tmp_path / "none")]) == 2
    assert "is no folder" in capsys.readouterr().err
