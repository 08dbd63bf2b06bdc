"""`python -m quant`, called in process as a user's arguments would call it."""

import gc
import json

import pytest
import torch

from assets.terminal import run
from quant.__main__ import main
from quant.calibration import calibration
from quant.calibration.presets import PRESETS
from quant.calibration.store import Stored
from quant.evaluation.logits import Batched
from quant.model.quantized_model import QuantizedModel

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
    kept = [("calibrations", "a4.safetensors"), ("runs.sqlite3", "runs.sqlite3")]
    assert sorted((p.parts[0], p.name) for p in files) == kept
    second, _ = evaluated(capsys, *bits)
    assert passes == [4]
    assert second["quantized"] == first["quantized"]
    evaluated(capsys, *bits, "--preset", "lrp-qvit")  # another preset, other weights, other images
    assert passes == [4, 4]
    evaluated(capsys, "--preset", "repq-vit", "--weight-bits", "8", "--activation-bits", "4")
    assert passes == [4, 4]
    evaluated(capsys, *bits, "--calibration-images", "9")
    assert passes == [4, 4, 4]


def test_a_spoilt_calibration_is_made_again_and_said(capsys, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("BITLENS_HOME", str(tmp_path))
    bits = ["--preset", "repq-vit", "--weight-bits", "4", "--activation-bits", "4"]
    first, _ = evaluated(capsys, *bits)
    (file,) = tmp_path.rglob("a4.safetensors")
    whole = file.read_bytes()
    file.write_bytes(whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:])
    (tmp_path / "runs.sqlite3").unlink()
    again, _ = evaluated(capsys, *bits)
    assert again["quantized"] == first["quantized"]
    assert f"{file} is damaged" in caplog.text and "made again" in caplog.text
    Stored(file, torch.device("cpu"), bits=4)  # sound again


@pytest.mark.parametrize("named", ["none", "nowhere", "a file"])
def test_without_a_history_no_home_is_needed(capsys, tmp_path, monkeypatch, named):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "a file").touch()
    for name in ("BITLENS_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    if named == "none":
        monkeypatch.setenv("BITLENS_HOME", "~no-such-user/x")
    else:
        monkeypatch.setenv("BITLENS_HOME", str(tmp_path / named / "home"))
    found, _ = evaluated(capsys, *REPQ, "--no-history")
    assert found["run"] is None and found["images"] == 24
    gc.collect()
    assert [path.name for path in tmp_path.iterdir()] == ["a file"]


REPQ = ["--preset", "repq-vit", *W4A4]


@pytest.fixture
def ran(monkeypatch):
    """How many images each quantized batch had."""
    sizes = []
    run = QuantizedModel.run

    def counted(self, images):
        sizes.append(len(images))
        return run(self, images)

    monkeypatch.setattr(QuantizedModel, "run", counted)
    return sizes


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("BITLENS_HOME", str(tmp_path))
    return tmp_path


def history(capsys, *arguments):
    assert main(["runs", *arguments, "--json", "-"]) == 0
    return json.loads(capsys.readouterr().out)


def test_evaluate_stops_when_the_difference_is_known_and_goes_on_when_asked(capsys, home, ran):
    early, progress = evaluated(capsys, *REPQ, "--precision", "45")
    assert early["images"] == sum(ran) < early["images_in_all"] == 24
    width = early["quantized"]["difference_high"] - early["quantized"]["difference_low"]
    assert width / 2 <= 0.45
    assert f"evaluation: {early['images']} of 24, top-1 " in progress
    assert " points (" in progress
    kept = [(r["id"], r["state"], r["evaluation"]["images"]) for r in history(capsys)["runs"]]
    assert kept == [(2, "done", early["images"]), (1, "done", early["images"])]
    whole, _ = evaluated(capsys, *REPQ)
    assert (whole["run"], whole["images"], sum(ran)) == (early["run"], 24, 24)
    again, _ = evaluated(capsys, *REPQ)
    assert sum(ran) == 24  # nothing is run again
    assert again["quantized"] == whole["quantized"]
    apart, _ = evaluated(capsys, *REPQ, "--no-history")
    assert sum(ran) == 48
    assert apart["run"] is None
    assert apart["float"] == whole["float"]
    assert apart["quantized"] == pytest.approx(whole["quantized"], rel=1e-4)
    assert len(history(capsys)["runs"]) == 2


def test_float_runs_once_on_an_image_whatever_is_measured_beside_it(capsys, home, monkeypatch):
    sizes = []
    real = Batched.__call__

    def counted(self, images):
        if self.name == "float":
            sizes.append(len(images))
        return real(self, images)

    monkeypatch.setattr(Batched, "__call__", counted)
    four, _ = evaluated(capsys, *REPQ)
    assert sum(sizes) == 24
    other = ["--preset", "repq-vit", "--weight-bits", "2", "--activation-bits", "4"]
    two, _ = evaluated(capsys, *other)
    assert sum(sizes) == 24
    assert two["float"] == four["float"]
    compare = ["compare", "--model", "digits-vit", "--calibration-images", "8", "--limit", "24"]
    assert main([*compare, "--presets", "repq-vit", "--draws", "1", "--json", "-"]) == 0
    found, _ = answer(capsys)
    assert sum(sizes) == 24
    assert found["configurations"]["float"]["top1"] == four["float"]["top1"]
    assert found["configurations"]["repq-vit W4A4"]["top1"] == four["quantized"]["top1"]
    apart, _ = evaluated(capsys, *other, "--no-history")
    assert sum(sizes) == 48
    assert apart["float"] == two["float"]
    assert apart["quantized"] == pytest.approx(two["quantized"], rel=1e-4)


def test_what_was_measured_before_an_interrupt_is_kept(capsys, home, ran, monkeypatch):
    counted = QuantizedModel.run

    def interrupted(self, images):
        if sum(ran) >= 12:
            raise KeyboardInterrupt
        return counted(self, images)

    with monkeypatch.context() as patched:
        patched.setattr(QuantizedModel, "run", interrupted)
        assert run(main, [*EVALUATE, "--model", "digits-vit", *REPQ]) == 130
    assert capsys.readouterr().err.endswith("bitlens: stopped\n")
    (kept,) = history(capsys)["runs"]
    assert (kept["state"], kept["evaluation"]["images"]) == ("stopped", 12)
    evaluated(capsys, *REPQ)
    assert sum(ran) == 24
    assert history(capsys, "show", "1")["state"] == "done"


def test_the_history_lists_shows_and_compares(capsys, home):
    assert main(["runs"]) == 0
    assert "there are no runs yet" in capsys.readouterr().out
    four, _ = evaluated(capsys, *REPQ)
    other = ["--preset", "repq-vit", "--weight-bits", "2", "--activation-bits", "4"]
    two, _ = evaluated(capsys, *other)
    assert main(["runs"]) == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split()[:3] == ["run", "when", "state"]
    assert [line.split()[0] for line in lines] == ["3", "2", "1"]  # float once for both
    assert all(name in line for name, line in zip(("W2A4", "float", "W4A4"), lines, strict=True))
    assert history(capsys, "--model", "digits-swin") == {"runs": [], "unreadable": []}
    shown = history(capsys, "show", str(four["run"]))
    assert shown["recipe"]["model_key"] == four["weights"]
    for name in ("top1", "difference", "difference_low", "divergence"):
        assert shown["evaluation"][name] == four["quantized"][name]
    assert main(["runs", "show", str(two["run"])]) == 0
    assert "W2 A4" in capsys.readouterr().out


def test_a_run_of_the_history_can_be_repeated(capsys, home, ran):
    first, _ = evaluated(capsys, *REPQ)
    path = home / "run.json"
    assert main(["runs", "--json", str(path), "show", str(first["run"])]) == 0
    assert "W4 A4" in capsys.readouterr().out
    ran.clear()
    again, _ = evaluated(capsys, "--preset", "repq-vit", "--allocation", str(path))
    assert (again["run"], ran) == (first["run"], [])
    assert again["quantized"] == first["quantized"]


def test_two_runs_are_compared_on_their_images(capsys, home):
    for bits in ("2", "8"):
        width = ["--weight-bits", bits, "--activation-bits", "8"]
        evaluated(capsys, "--preset", "repq-vit", *width)
    low, plain, high = (history(capsys, "show", number)["evaluation"] for number in "123")
    found = history(capsys, "compare", "1", "3")
    assert found["images"] == 24
    assert found["difference"] == pytest.approx(low["top1"] - high["top1"])
    assert found["difference_low"] < found["difference"] < found["difference_high"]
    right = sum((c["one"] == c["label"]) - (c["other"] == c["label"]) for c in found["changed"])
    assert right == round(24 * found["difference"])
    assert sum(c["images"] for c in found["classes"]) == 24
    mine = sum(c["images"] * c["top1"] for c in found["classes"])
    assert mine == pytest.approx(24 * low["top1"])
    beside_float = history(capsys, "compare", "1", "2")
    assert beside_float["difference"] == pytest.approx(low["difference"])
    assert beside_float["difference_high"] == pytest.approx(low["difference_high"])
    assert plain["difference"] == 0
    assert main(["runs", "compare", "1", "3"]) == 0
    out = capsys.readouterr().out
    assert f"{len(found['changed'])} images changed their answer" in out
    worst = min(found["classes"], key=lambda c: (c["top1"] - c["other"], c["label"]))
    assert f"class {worst['label']}: {worst['top1']:.1%} in run 1" in out


def test_runs_on_other_images_are_not_compared(capsys, home):
    evaluated(capsys, *REPQ)
    assert main([*EVALUATE[:-4], "--limit", "8", "--model", "digits-vit", *REPQ]) == 0
    capsys.readouterr()
    assert run(main, ["runs", "compare", "1", "3"]) == 2
    assert "runs 1 and 3 measured different images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["show", "7"], "there is no run 7"),
        (["compare", "7", "8"], "there is no run 7"),
    ],
)
def test_a_run_that_is_not_there_is_one_sentence(arguments, sentence, capsys, home):
    assert run(main, ["runs", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1
    assert sentence in captured.err


def test_a_damaged_history_is_said_before_any_work(capsys, home, passes):
    (home / "runs.sqlite3").write_text("no database " * 50)
    for arguments in (["runs"], [*EVALUATE, "--model", "digits-vit", *REPQ]):
        assert run(main, arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "runs.sqlite3 is damaged" in captured.err
        assert len(captured.err.strip().splitlines()) == 1
    assert passes == []
    evaluated(capsys, *REPQ, "--no-history")  # works without


@pytest.mark.parametrize("name", [*PRESETS, "bitlens:gelu=uniform,bias=off", "integer:stream=16"])
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


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "give --weight-bits and --activation-bits, or --allocation"),
        (["--weight-bits", "4"], "give --weight-bits and --activation-bits"),
        (["--weight-bits", "9", "--activation-bits", "4"], "9 bits"),
        ([*W4A4, "--preset", "best"], "no preset 'best': choose from bitlens, bitlens-affine"),
        ([*W4A4, "--preset", "bitlens:gelu=cubic"], "gelu=cubic: choose from uniform"),
        ([*W4A4, "--preset", "integer:stream=4"], "stream=4: choose from off, 8, 16"),
        (["--allocation", "none.json"], "none.json cannot be read"),
        (["--allocation", "x", "--weight-bits", "4"], "not both"),
        ([*W4A4, "--limit", "0"], "0 images"),
        ([*W4A4, "--data", "nowhere"], "nowhere"),
        ([*W4A4, "--calibration-images", "0"], "0 images"),
        ([*W4A4, "--precision", "0"], "--precision 0: use points between 0 and 100"),
        ([*W4A4, "--precision", "nan"], "--precision nan: use points"),
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
        ([], "the following arguments are required: command"),
        (["allocate", "--model", "digits-vit", "--average-bits", "four"], "'four'"),
        (["evaluate", "--model", "digits-vit", "--bits", "4"], "--bits"),
        (["runs", "show"], "the following arguments are required: ID"),
        (["runs", "compare", "1", "two"], "'two'"),
        (["runs", "forget", "1"], "'forget'"),
    ],
)
def test_arguments_that_cannot_be_read_are_one_sentence_too(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    assert len(captured.err.strip().splitlines()) == 1
    assert sentence in captured.err


def test_damage_adds_up_and_names_every_layer(capsys):
    arguments = ["damage", "--model", "digits-vit", *W4A4, "--calibration-images", "8"]
    assert main([*arguments, "--json", "-"]) == 0
    payload, progress = answer(capsys)
    parts = [part for layer in payload["layers"].values() for part in layer.values()]
    assert payload["sum"] == pytest.approx(sum(parts))
    assert payload["sum"] == pytest.approx(payload["measured"], rel=0.02)
    assert (payload["images"], len(payload["layers"])) == (8, 38)
    assert "damage, image: 8 of 8" in progress
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert f"measured {payload['measured']:.4f} on 8 images" in shown


def test_damage_of_nothing_is_refused(capsys):
    arguments = ["--model", "digits-vit", "--weight-bits", "float", "--activation-bits", "float"]
    assert run(main, ["damage", *arguments, "--calibration-images", "4"]) == 2
    assert "quantizes no layer" in capsys.readouterr().err
