"""`python -m quant`, called in process as a user's arguments would call it."""

import json

import pytest

from assets.command_line import run
from quant.__main__ import main

EVALUATE = ["evaluate", "--calibration-images", "8", "--limit", "24", "--json", "-"]


def answer(capsys):
    captured = capsys.readouterr()
    return json.loads(captured.out), captured.err


@pytest.mark.parametrize("model", ["digits-vit", "digits-deit", "digits-swin"])
def test_evaluate_reports_float_and_quantized_on_the_same_images(model, capsys):
    arguments = [*EVALUATE, "--model", model, "--weight-bits", "8", "--activation-bits", "8"]
    assert main(arguments) == 0
    payload, progress = answer(capsys)
    assert payload["images"] == 24
    assert payload["calibration_images"] == 8
    found = payload["quantized"]
    assert 0 <= found["top1_low"] <= found["top1"] <= found["top1_high"] <= 1
    assert found["top1"] <= found["top5"]
    assert found["agreement"] > 0.7
    assert set(payload["float"]) >= {"top1", "top5"}
    assert set(payload["seconds"]) == {"calibration", "float", "quantized"}
    assert payload["size_bytes"] > 0
    assert "evaluation: 24 of 24" in progress


def test_an_allocation_goes_from_one_command_to_the_other(tmp_path, capsys):
    path = tmp_path / "allocation.json"
    arguments = ["allocate", "--model", "digits-vit", "--images", "8", "--average-bits", "4.5"]
    locks = ["--lock", "head=8", "blocks.0.mlp.fc1=3", "--lock", "blocks.1.mlp.fc2=5"]
    assert main([*arguments, *locks, "--json", str(path)]) == 0
    assert "gap" in capsys.readouterr().out
    allocation = json.loads(path.read_text())
    for name, bits in (("head", 8), ("blocks.0.mlp.fc1", 3), ("blocks.1.mlp.fc2", 5)):
        assert allocation["layers"][name] == {"weight": bits, "activation": bits}
    assert allocation["size_bytes"] <= allocation["uniform"]["size_bytes"]
    assert allocation["bitops"] <= allocation["uniform"]["bitops"]
    assert main([*EVALUATE, "--model", "digits-vit", "--allocation", str(path)]) == 0
    payload, _ = answer(capsys)
    assert payload["configuration"] == "allocation"
    assert payload["size_bytes"] == allocation["size_bytes"]
    assert payload["bitops"] == allocation["bitops"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "give --weight-bits and --activation-bits, or --allocation"),
        (["--weight-bits", "4"], "give --weight-bits and --activation-bits"),
        (["--weight-bits", "9", "--activation-bits", "4"], "9 bits"),
        (["--allocation", "none.json"], "none.json cannot be read"),
        (["--allocation", "x", "--weight-bits", "4"], "not both"),
        (["--weight-bits", "4", "--activation-bits", "4", "--limit", "0"], "0 images"),
        (["--weight-bits", "4", "--activation-bits", "4", "--data", "nowhere"], "nowhere"),
        (["--weight-bits", "4", "--activation-bits", "4", "--calibration-images", "0"], "0 images"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_two(arguments, sentence, capsys):
    assert run(main, ["evaluate", "--model", "digits-vit", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1
    assert sentence in captured.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--average-bits", "9"], "average bits 9.0: use 2 to 8"),
        (["--average-bits", "4", "--lock", "head"], "--lock head: use LAYER=BITS"),
        (["--average-bits", "4", "--lock", "tail=4"], "cannot lock 'tail'"),
        (["--average-bits", "2", "--lock", "blocks.0.mlp.fc1=8"], "raise the budget or unlock"),
    ],
)
def test_a_budget_that_cannot_be_is_refused_before_any_work(arguments, sentence, capsys):
    assert run(main, ["allocate", "--model", "digits-vit", *arguments]) == 2
    captured = capsys.readouterr()
    assert len(captured.err.strip().splitlines()) == 1
    assert sentence in captured.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "the following arguments are required: command"),
        (["allocate", "--model", "digits-vit", "--average-bits", "four"], "'four'"),
        (["evaluate", "--model", "digits-vit", "--bits", "4"], "--bits"),
    ],
)
def test_arguments_that_cannot_be_read_are_one_sentence_too(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    assert len(captured.err.strip().splitlines()) == 1
    assert sentence in captured.err
