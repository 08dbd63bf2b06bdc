"""`python -m quant sweep`, called in process."""

import json
from argparse import Namespace
from collections import Counter

import pytest
from PIL import Image
from scipy.stats import spearmanr

from assets.models.load import load_model
from assets.sets.image_set import load_images
from assets.terminal import run
from quant.__main__ import main
from quant.allocation.objectives import foretelling
from quant.analysis.sensitivity import Sensitivity
from quant.commands.shared.options import draw
from quant.history.runs import Runs
from quant.model.quantized_model import QuantizedModel

FEW = ["--budgets", "3", "4.5", "--objectives", "sensitivity", "lrp", "--seeds", "2"]
NONE = ["--budgets", "3", "--objectives", "sensitivity", "--controls"]


@pytest.fixture
def ran(monkeypatch):
    """How many images each quantized batch had."""
    sizes = []
    real = QuantizedModel.run

    def counted(self, images):
        sizes.append(len(images))
        return real(self, images)

    monkeypatch.setattr(QuantizedModel, "run", counted)
    return sizes


def swept(capsys, small, *arguments, limit=16):
    assert main(["sweep", *small, "--limit", str(limit), *arguments, "--json", "-"]) == 0
    return json.loads(capsys.readouterr().out)


def test_objectives_and_controls_are_measured_on_the_same_images(capsys, small, sensed, ran):
    found = swept(capsys, small, *FEW)
    names = ["sensitivity", "lrp", "reversed", "random"]
    rows = {(row["budget"], row["objective"]): row for row in found["rows"]}
    assert list(rows) == [*((3, n) for n in [*names, "uniform"]), *((4.5, n) for n in names)]
    assert rows[3, "random"]["runs"] == 2
    assert sum(ran) == 11 * 16
    assert {trial["evaluation"]["images"] for trial in found["trials"]} == {16}
    even = next(t for t in found["trials"] if t["objective"] == "uniform")
    for trial in found["trials"]:
        scale = trial["budget"] / 3
        assert trial["bitops"] <= even["bitops"] * scale**2
        if trial["budget"] == 3:
            assert trial["size_bytes"] <= even["size_bytes"]
        row = rows[trial["budget"], trial["objective"].split("-")[0]]
        if row["runs"] == 1:
            for key in ("low", "high"):
                assert row["top1"][key] == trial["evaluation"][f"top1_{key}"]
                assert row["to_float"][key] == trial["evaluation"][f"difference_{key}"]
            assert row["divergence"] == pytest.approx(trial["evaluation"]["divergence"])
            assert row["size_bytes"] == trial["size_bytes"]


def test_differences_to_uniform_bits_are_those_of_the_history(capsys, small, sensed):
    found = swept(capsys, small, *FEW)
    runs = {t["objective"]: t["run"] for t in found["trials"] if t["budget"] == 3}
    for row in found["rows"]:
        if row["budget"] == 4.5 or row["objective"] == "uniform":
            assert row["to_uniform"] is None
        elif row["runs"] == 1:
            pair = [str(runs[row["objective"]]), str(runs["uniform"])]
            assert main(["runs", "compare", *pair, "--json", "-"]) == 0
            compared = json.loads(capsys.readouterr().out)
            for key, name in (("value", "difference"), ("low", "difference_low")):
                assert row["to_uniform"][key] == compared[name]
    kept = Runs(sensed / "runs.sqlite3").listed()
    assert Counter(one.state for one in kept) == {"done": 12}  # float too
    assert {"W3A3", "3 bit", "4.5 bit"} <= {one.recipe.budget for one in kept}


def test_expected_losses_are_sums_of_sensitivities_and_ranked(capsys, small, sensed):
    found = swept(capsys, small, *FEW)
    (path,) = sensed.rglob("sensitivity-estimated.json")
    losses = foretelling(Sensitivity.read(path))
    rows = dict(zip(losses.names, zip(losses.weight, losses.activation, strict=True), strict=True))
    for trial in found["trials"]:
        expected = sum(
            rows[name][0][bits["weight"] - 2] + rows[name][1][bits["activation"] - 2]
            for name, bits in trial["layers"].items()
        )
        assert trial["expected"] == pytest.approx(expected)
    expected = [trial["expected"] for trial in found["trials"]]
    drops = [-trial["evaluation"]["difference"] for trial in found["trials"]]
    divergences = [trial["evaluation"]["divergence"] for trial in found["trials"]]
    ranks = found["rank_correlation"]
    assert ranks["runs"] == 11
    assert ranks["drop"] == pytest.approx(spearmanr(expected, drops).statistic)
    assert ranks["divergence"] == pytest.approx(spearmanr(expected, divergences).statistic)
    assert found["prediction"]["runs"] == 11


def test_a_table_is_printed(capsys, small, sensed):
    assert main(["sweep", *small, "--limit", "8", *FEW]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    table = [line.split(" | ") for line in lines if line.startswith("|")]
    assert {len(row) for row in table if row[0] != "|" and "---" not in row[0]} == {12}
    assert [row[1] for row in table[2:]].count("lrp") == 2
    assert table[2][1] == "float"
    assert any("Tango" in line for line in lines)
    assert any("Rank correlation of expected loss over 11" in line for line in lines)
    assert "draw 1, 6 of 11, uniform 3 bits: 8 of 8, top-1" in captured.err


def test_what_was_measured_before_an_interrupt_is_not_measured_again(
    capsys, small, sensed, ran, monkeypatch
):
    counted = QuantizedModel.run

    def interrupted(self, images):
        if sum(ran) >= 16 + 4:
            raise KeyboardInterrupt
        return counted(self, images)

    arguments = ["sweep", *small, "--limit", "16", *NONE, "reversed", "uniform"]
    with monkeypatch.context() as patched:
        patched.setattr(QuantizedModel, "run", interrupted)
        assert run(main, arguments) == 130
    assert capsys.readouterr().err.endswith("bitlens: stopped\n")
    assert sum(ran) == 20
    first = swept(capsys, small, *NONE, "reversed", "uniform")
    assert sum(ran) == 3 * 16
    assert swept(capsys, small, *NONE, "reversed", "uniform") == first
    assert sum(ran) == 3 * 16
    apart = swept(capsys, small, *NONE, "--no-history")
    assert sum(ran) == 4 * 16
    assert apart["trials"][0]["run"] is None


def test_a_sweep_goes_on_with_what_evaluate_began(capsys, small, sensed, ran):
    bits = ["--weight-bits", "3", "--activation-bits", "3"]
    assert main(["evaluate", *small, "--limit", "16", *bits, "--json", "-"]) == 0
    before = json.loads(capsys.readouterr().out)
    found = swept(capsys, small, *NONE, "uniform")
    assert found["trials"][1]["run"] == before["run"]
    assert sum(ran) == 32


def test_several_draws_are_pooled(capsys, small, sensed):
    found = swept(capsys, small, *NONE, "uniform", "--draws", "2", "--preset", "repq-vit")
    assert [trial["draw"] for trial in found["trials"]] == [0, 0, 1, 1]
    spent, even = found["rows"]
    tops = [trial["evaluation"]["top1"] for trial in found["trials"]]
    assert spent["top1"]["value"] == pytest.approx((tops[0] + tops[2]) / 2)
    assert spent["top1"]["error"] == pytest.approx(abs(tops[0] - tops[2]) / 2)
    gain = (tops[0] + tops[2] - tops[1] - tops[3]) / 2
    assert spent["to_uniform"]["value"] == pytest.approx(gain)
    assert even["runs"] == 2


def test_a_precision_stops_each_configuration(capsys, small, sensed, ran):
    found = swept(capsys, small, *NONE, "--precision", "45", limit=64)
    (trial,) = found["trials"]
    assert trial["evaluation"]["images"] == sum(ran) < 64
    low, high = (trial["evaluation"][f"difference_{end}"] for end in ("low", "high"))
    assert (high - low) / 2 <= 0.45
    assert found["float"]["value"] >= trial["evaluation"]["top1"] - 1e-9


def test_random_allocations_check_what_is_predicted(capsys, small, sensed):
    arguments = ["--budgets", "2", "4", *NONE[2:], "uniform", "--random-allocations", "5"]
    found = swept(capsys, small, *arguments)
    assert [one["budget"] for one in found["random_allocations"]] == [2, 2.5, 3, 3.5, 4]
    check = found["prediction"]
    assert check["runs"] == 4 + 5 == found["rank_correlation"]["runs"]
    measured = [t["evaluation"] for t in (*found["trials"], *found["random_allocations"])]
    for name, inside in (("top1", "inside"), ("divergence", "divergence_inside")):
        held = []
        for one, evaluation in zip(check["foretold"], measured, strict=True):
            assert one[name]["measured"] == pytest.approx(evaluation[name])
            assert one[name]["low"] <= one[name]["predicted"] <= one[name]["high"]
            held.append(one[name]["low"] <= one[name]["measured"] <= one[name]["high"])
        assert check[inside] == pytest.approx(sum(held) / 9)
    errors = [abs(o["top1"]["predicted"] - o["top1"]["measured"]) for o in check["foretold"]]
    assert check["error"] == pytest.approx(sum(errors) / 9)
    assert len(found["rows"]) == 4  # they have no rows of their own
    assert main(["sweep", *small, "--limit", "16", *arguments]) == 0
    assert f"{check['inside']:.0%} are inside their 95 % band" in capsys.readouterr().out


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Thirty pictures of ten classes."""
    root = tmp_path_factory.mktemp("pictures")
    for number in range(30):
        place = root / str(number % 10)
        place.mkdir(exist_ok=True)
        Image.new("RGB", (32, 32), (8 * number, 0, 0)).save(place / f"{number}.png")
    return root


def sets(options, loaded, number, measured_seed=0):
    found = draw(options, loaded, number, measured_seed)
    return found.calibrating, found.measured


def drawn(folder, number, calibration=6, limit=None, skip=0):
    loaded = load_model("digits-swin")
    options = Namespace(
        data=str(folder), calibration=None, calibration_images=calibration, limit=limit, skip=skip
    )
    found = sets(options, loaded, number)
    if (number, skip) == (0, 0):
        alone = sets(options, loaded, 0, None)
        assert [one.key for one in found] == [one.key for one in alone]
    return tuple(list(one.indices) for one in found)


def test_all_draws_measure_the_same_images_but_those_they_calibrate_on(folder):
    calibration, measured = drawn(folder, 0)
    assert sorted(calibration + measured) == list(range(30))
    for number in (1, 2):
        other, left = drawn(folder, number)
        assert other != calibration
        assert left == [image for image in measured if image not in other]


def test_what_is_skipped_is_what_a_limit_measures(folder):
    chosen = {image for number in range(3) for image in drawn(folder, number, limit=10)[1]}
    assert len(chosen) == 10
    for number in range(3):
        held = drawn(folder, number, skip=10)[1]
        assert held
        assert not chosen & set(held)
    assert drawn(folder, 0, skip=10, limit=5)[1] == drawn(folder, 0)[1][10:15]


def test_bundled_images_calibrate_apart_from_those_measured(small):
    loaded = load_model("digits-swin")
    options = Namespace(data=None, calibration=None, calibration_images=4, limit=8, skip=2)
    (one, first), (other, second) = (sets(options, loaded, number) for number in (0, 1))
    assert one.key != other.key
    assert first.key == second.key
    order = sets(Namespace(**{**vars(options), "limit": None, "skip": 0}), loaded, 0)[1].indices
    assert first.indices == order[2:10]
    assert len(load_images(None, loaded)) == len(order)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--budgets", "9"], "average bits 9.0: use 2 to 8"),
        (["--budgets", "2", "--lock", "head.fc=8"], "unlock head.fc (8 bits)"),
        (["--draws", "0"], "--draws 0: use 1 or more"),
        (["--seeds", "0"], "--seeds 0: use 1 or more"),
        (["--random-allocations", "-1"], "--random-allocations -1: use 0 or more"),
        (["--skip", "99999"], "--skip 99999 of"),
        (["--skip", "-1"], "--skip -1 of"),
        (["--limit", "0"], "a limit of 0 images"),
        (["--precision", "0"], "--precision 0: use points between 0 and 100"),
        (["--images", "5"], "--images 5 of 4 calibration images"),
        (["--preset", "best"], "no preset 'best'"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused_before_any_work(arguments, sentence, capsys, small):
    assert run(main, ["sweep", *small, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1
    assert sentence in captured.err


def test_a_draw_that_leaves_nothing_to_measure_is_refused(folder):
    _, measured = drawn(folder, 0, calibration=28)
    with pytest.raises(ValueError, match="draw 2 calibrates on all images"):
        drawn(folder, 1, calibration=28)
    assert len(measured) == 2
