"""`python -m quant`, called in process as a user's arguments would call it."""

import json

import pytest

from assets.command_line import run
from quant import calibration
from quant.__main__ import main
from quant.presets import PRESETS

W4A4 = ["--weight-bits", "4", "--activation-bits", "4"]
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


@pytest.fixture
def passes(monkeypatch):
    """The widths of the calibration passes that are run, as they begin."""
    begun = []

    class Counted(calibration.Solver):
        def solve(self, images):
            begun.append(self.bits)
            return super().solve(images)

    monkeypatch.setattr(calibration, "Solver", Counted)
    return begun


def evaluated(capsys, *arguments):
    assert main([*EVALUATE, "--model", "digits-vit", *arguments]) == 0
    return answer(capsys)


def test_a_second_run_reads_the_calibration_back(capsys, passes, tmp_path, monkeypatch):
    monkeypatch.setenv("BITLENS_HOME", str(tmp_path))
    bits = ["--preset", "repq-vit", "--weight-bits", "4", "--activation-bits", "4"]
    first, _ = evaluated(capsys, *bits)
    assert first["preset"] == "repq-vit"
    assert passes == [4]
    files = [p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file()]
    assert [(p.parts[0], p.name) for p in files] == [("calibrations", "a4.safetensors")]
    second, _ = evaluated(capsys, *bits)
    assert passes == [4]
    assert second["quantized"] == first["quantized"]
    evaluated(capsys, *bits, "--preset", "lrp-qvit")  # another preset, other weights, other images
    assert passes == [4, 4]
    evaluated(capsys, "--preset", "repq-vit", "--weight-bits", "8", "--activation-bits", "4")
    assert passes == [4, 4]
    evaluated(capsys, *bits, "--calibration-images", "9")
    assert passes == [4, 4, 4]


def test_a_spoilt_calibration_is_named_with_what_to_do(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("BITLENS_HOME", str(tmp_path))
    bits = ["--preset", "repq-vit", "--weight-bits", "4", "--activation-bits", "4"]
    evaluated(capsys, *bits)
    (file,) = tmp_path.rglob("a4.safetensors")
    file.write_bytes(file.read_bytes()[:1000])
    assert run(main, [*EVALUATE, "--model", "digits-vit", *bits]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"bitlens: {file} is no calibration: delete it" in captured.err


@pytest.mark.parametrize("name", [*PRESETS, "bitlens:gelu=uniform,bias=off"])
def test_every_preset_can_be_asked_for(name, capsys):
    payload, _ = evaluated(capsys, "--preset", name, "--weight-bits", "8", "--activation-bits", "8")
    assert payload["preset"] == name
    assert payload["quantized"]["agreement"] > 0.7


def test_presets_are_compared_over_draws(tmp_path, capsys):
    path = tmp_path / "table.json"
    compare = ["compare", "--model", "digits-vit", "--calibration-images", "4", "--limit", "16"]
    options = ["--presets", "repq-vit", "lrp-qvit:clip=3", "--widths", "W8A8", "W4A8"]
    assert main([*compare, *options, "--draws", "2", "--json", str(path)]) == 0
    captured = capsys.readouterr()
    found = json.loads(path.read_text())["configurations"]
    names = [f"{p} {w}" for p in ("repq-vit", "lrp-qvit:clip=3") for w in ("W8A8", "W4A8")]
    assert list(found) == ["float", *names]
    for name, one in found.items():
        assert one["draws"] == 2
        assert 0 <= one["top1"] <= 1
        assert one["drop"] == pytest.approx(found["float"]["top1"] - one["top1"])
        assert f"| {name} |" in captured.out


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
        ([*W4A4, "--preset", "best"], "no preset 'best': choose from bitlens, bitlens-affine"),
        ([*W4A4, "--preset", "bitlens:gelu=cubic"], "gelu=cubic: choose from uniform"),
        (["--allocation", "none.json"], "none.json cannot be read"),
        (["--allocation", "x", "--weight-bits", "4"], "not both"),
        ([*W4A4, "--limit", "0"], "0 images"),
        ([*W4A4, "--data", "nowhere"], "nowhere"),
        ([*W4A4, "--calibration-images", "0"], "0 images"),
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
        (["--presets", "best"], "no preset 'best': choose from"),
        (["--widths", "W4"], "'W4' is no width"),
        (["--widths", "W4A9"], "9 bits"),
        (["--draws", "0"], "0 draws: use 1 or more"),
    ],
)
def test_a_comparison_that_cannot_be_is_refused(arguments, sentence, capsys):
    assert run(main, ["compare", "--model", "digits-vit", *arguments]) == 2
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
