"""`python -m quant allocate`, called in process."""

import csv
import json
from itertools import pairwise

import pytest

from assets.models.load import load_model
from assets.terminal import run
from lrp.engine.layers import list_layers
from quant.__main__ import main
from quant.allocation.objectives import by_sensitivity
from quant.analysis.sensitivity import Sensitivity


@pytest.fixture(scope="module")
def layers():
    loaded = load_model("digits-swin")
    return {la.name: la for la in list_layers(loaded.model, loaded.input_size)}


def allocated(capsys, small, *arguments):
    assert main(["allocate", *small, *arguments, "--json", "-"]) == 0
    return json.loads(capsys.readouterr().out)


def spent(payload, layers):
    """Megabytes of the layers' weights, and 10^9 bit operations, added up layer by layer."""
    bits = payload["layers"]
    size = sum(layers[name].parameters * b["weight"] for name, b in bits.items())
    work = sum(layers[name].macs * b["weight"] * b["activation"] for name, b in bits.items())
    return size / 8e6, work / 1e9


def test_an_allocation_goes_from_one_command_to_the_other(tmp_path, capsys, small, sensed):
    path = tmp_path / "allocation.json"
    locks = ["--lock", "head.fc=8", "patch_embed.proj=W3A7"]
    assert main(["allocate", *small, "--average-bits", "4.5", *locks, "--json", str(path)]) == 0
    assert "proven best" in capsys.readouterr().out
    allocation = json.loads(path.read_text())
    assert allocation["layers"]["head.fc"] == {"weight": 8, "activation": 8}
    assert allocation["layers"]["patch_embed.proj"] == {"weight": 3, "activation": 7}
    assert (allocation["objective"], allocation["preset"]) == ("sensitivity", "bitlens")
    evaluate = ["evaluate", *small, "--limit", "8", "--allocation", str(path), "--json", "-"]
    assert main(evaluate) == 0
    payload = json.loads(capsys.readouterr().out)
    assert payload["configuration"] == "allocation"
    assert payload["size_bytes"] == allocation["size_bytes"]
    assert payload["bitops"] == allocation["bitops"]


def test_average_bits_limit_size_and_bit_operations(capsys, small, sensed, layers):
    found = allocated(capsys, small, "--average-bits", "4")
    size, work = spent(found, layers)
    weights = sum(la.parameters for la in layers.values())
    assert size <= 4 * weights / 8e6
    assert work <= 16 * sum(la.macs for la in layers.values()) / 1e9
    assert found["uniform"]["size_bytes"] - found["size_bytes"] == pytest.approx(
        weights * 4 / 8 - size * 1e6
    )
    widths = {(b["weight"], b["activation"]) for b in found["layers"].values()}
    assert any(weight != activation for weight, activation in widths)


def test_the_loss_is_that_of_the_kept_sensitivities_and_proven_least(capsys, small, sensed):
    found = allocated(capsys, small, "--average-bits", "3")
    (path,) = sensed.rglob("sensitivity-estimated.json")
    losses = by_sensitivity(Sensitivity.read(path))
    rows = dict(zip(losses.names, zip(losses.weight, losses.activation, strict=True), strict=True))
    loss = sum(
        rows[name][0][bits["weight"] - 2] + rows[name][1][bits["activation"] - 2]
        for name, bits in found["layers"].items()
    )
    assert found["loss"] == pytest.approx(loss)
    assert found["bound"] <= found["loss"]
    assert found["gap"] == pytest.approx(0, abs=1e-6)


def test_all_limits_hold_together(capsys, small, sensed, layers):
    limits = ["--size-mb", "0.16", "--gbitops", "0.3"]
    by_size = allocated(capsys, small, *limits[:2])
    by_work = allocated(capsys, small, *limits[2:])
    both = allocated(capsys, small, *limits)
    assert spent(by_size, layers)[0] <= 0.16
    assert spent(by_size, layers)[1] > 0.3
    assert spent(by_work, layers)[0] > 0.16
    assert spent(by_work, layers)[1] <= 0.3
    size, work = spent(both, layers)
    assert size <= 0.16 and work <= 0.3
    assert both["loss"] >= max(by_size["loss"], by_work["loss"])
    assert by_size["limits"]["bitops"] is None
    tight = allocated(capsys, small, *limits, "--average-bits", "2")
    assert {b["weight"] for b in tight["layers"].values()} == {2}


def test_widths_are_those_of_the_menu_tied_where_asked(capsys, small, sensed):
    menu = ["--average-bits", "4", "--menu", "2", "4", "8"]
    apart = allocated(capsys, small, *menu)
    tied = allocated(capsys, small, *menu, "--tied", "--lock", "head.fc=5")
    assert {w for b in apart["layers"].values() for w in b.values()} <= {2, 4, 8}
    assert tied["layers"].pop("head.fc") == {"weight": 5, "activation": 5}
    assert all(b["weight"] == b["activation"] in (2, 4, 8) for b in tied["layers"].values())


def test_objectives_spend_bits_by_other_losses(capsys, small, tmp_path, monkeypatch, sensed):
    product = allocated(
        capsys, small, "--average-bits", "4", "--objective", "lrp-x-sensitivity", "--images", "2"
    )
    assert product["objective"] == "lrp-x-sensitivity"
    monkeypatch.setenv("BITLENS_HOME", str(tmp_path / "empty"))
    lrp = allocated(capsys, small, "--average-bits", "4", "--objective", "lrp")
    assert (lrp["objective"], lrp["preset"]) == ("lrp", None)
    assert not (tmp_path / "empty").exists()  # scores need no calibration
    assert lrp["layers"] != product["layers"]


def test_a_plan_is_the_whole_path_of_budgets(capsys, small, sensed, tmp_path, layers):
    path = tmp_path / "plan.csv"
    found = allocated(capsys, small, "--average-bits", "4", "--plan", str(path))
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [float(row["budget"]) for row in rows] == pytest.approx(
        [2 + 0.05 * step for step in range(121)], abs=1e-6
    )
    columns = [f"{name} {side}" for name in layers for side in ("weight", "activation")]
    bits = [[int(row[column]) for column in columns] for row in rows]
    for below, above in pairwise(bits):
        assert all(low <= high for low, high in zip(below, above, strict=True))
    assert set(bits[0]) == {2}
    four = rows[40]
    assert float(four["bound"]) <= found["loss"] * (1 + 1e-6)
    assert float(four["loss"]) >= found["loss"] * (1 - 1e-6)
    assert all(float(row["loss"]) >= float(row["bound"]) for row in rows)


def test_other_limits_hold_on_a_whole_plan(capsys, small, sensed, tmp_path, layers):
    path = tmp_path / "plan.csv"
    arguments = ["--size-mb", "0.3", "--lock", "head.fc=8", "--plan", str(path)]
    assert main(["allocate", *small, *arguments, "--json", "-"]) == 0
    payload = json.loads(capsys.readouterr().out)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len(rows) == 121
    others = payload["size_bytes"] - 1e6 * spent(payload, layers)[0]
    assert all(float(row["size_bytes"]) - others <= 0.3e6 for row in rows)
    assert {row["head.fc weight"] for row in rows} == {"8"}
    assert main(["allocate", *small, "--plan", str(path)]) == 0  # a plan needs no budget
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "no budget: give --average-bits, --size-mb or --gbitops, or --plan"),
        (["--average-bits", "9"], "average bits 9.0: use 2 to 8"),
        (["--average-bits", "4", "--lock", "head.fc"], "--lock head.fc: use LAYER=BITS"),
        (["--average-bits", "4", "--lock", "head.fc=W4"], "'W4' is no width"),
        (["--average-bits", "4", "--lock", "head.fc=W4A9"], "9 bits"),
        (["--average-bits", "4", "--lock", "tail=4"], "cannot lock 'tail'"),
        (["--average-bits", "4", "--lock", "head.fc=8", "head.fc=2"], "head.fc is locked more"),
        (["--average-bits", "4", *["--lock", "head.fc=8"] * 2], "head.fc is locked more than once"),
        (["--average-bits", "4", "--menu", "1", "4"], "1 bits"),
        (["--average-bits", "4", "--images", "5"], "--images 5 of 4 calibration images"),
        (["--average-bits", "4", "--rules", "none"], "none"),
        (["--average-bits", "2", "--lock", "head.fc=8"], "unlock head.fc (8 bits), or raise"),
        (["--size-mb", "0.1"], "size: 2 bits in every layer need 2 bits a weight"),
        (["--gbitops", "0.01"], "BitOps: 2 bits in every layer need"),
        (["--gbitops", "0"], "--gbitops 0: use more than 0"),
        (["--size-mb", "nan"], "--size-mb nan: use more than 0"),
        (["--plan", "plan.csv", "--size-mb", "0.1"], "raise the budget"),
    ],
)
def test_a_budget_that_cannot_be_is_refused_before_any_work(arguments, sentence, capsys, small):
    assert run(main, ["allocate", *small, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1
    assert sentence in captured.err


def test_a_plan_that_cannot_be_written_is_said(capsys, small, sensed, tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "plan.csv"
    assert run(main, ["allocate", *small, "--plan", str(path)]) == 2
    assert f"{path} cannot be written" in capsys.readouterr().err


def test_a_target_has_its_own_widths_at_their_price(capsys, small, sensed, layers):
    """INT8 with an average of 12 bits: what costs most stays in float, within the budget."""
    found = allocated(capsys, small, "--target", "int8", "--average-bits", "12")
    pairs = {(b["weight"], b["activation"]) for b in found["layers"].values()}
    assert pairs == {(8, 8), (32, 32)} and found["target"] == "int8"
    size, work = spent(found, layers)
    assert size <= 12 * sum(la.parameters for la in layers.values()) / 8e6
    assert work <= 144 * sum(la.macs for la in layers.values()) / 1e9
    assert found["file_bytes"] > found["size_bytes"]


def test_a_loss_that_is_accepted_is_measured_to_be_kept(capsys, small, sensed):
    found = allocated(capsys, small, "--at-most-nats", "0.1", "--limit", "24", "--no-history")
    told = found["accepted"]
    kept = [one for one in told["tried"] if one["accepted"]]
    assert 1 <= len(told["tried"]) <= 8 and kept
    assert all(one["evaluation"]["divergence"] <= 0.1 for one in kept)
    least = min(one["size_bytes"] for one in kept)
    assert found["size_bytes"] == least
    assert (told["most"], told["unit"]) == (0.1, "nats")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--target", "tpu", "--average-bits", "8"], "no target 'tpu': choose from any, int8"),
        (["--target", "int8", "--average-bits", "4"], "average bits 4.0: use 8 to 32"),
        (["--target", "int8", "--menu", "4", "--average-bits", "8"], "INT8 has 8, float only"),
        (["--target", "mx", "--lock", "head.fc=8", "--average-bits", "5"], "MXFP4, MXFP6, FP8"),
        (["--lock", "head.fc=MXFP5", "--average-bits", "5"], "is no width"),
        (["--at-most-points", "0"], "a loss of 0 points: use more than 0"),
        (["--at-most-nats", "nan"], "a loss of nan nats: use more than 0"),
        (["--at-most-points", "1", "--average-bits", "4"], "--average-bits is what"),
    ],
)
def test_what_a_target_or_a_loss_cannot_be_is_said(arguments, sentence, capsys, small):
    assert run(main, ["allocate", *small, *arguments]) == 2
    said = capsys.readouterr().err
    assert sentence in said and len(said.strip().splitlines()) == 1
