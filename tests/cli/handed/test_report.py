"""`python -m quant report`: a file for what can be told, a sentence for what cannot."""

import argparse
import re
import shlex
from pathlib import Path

import pytest

from assets.home import home
from assets.terminal import run
from quant.__main__ import main
from quant.commands import evaluate
from quant.history.runs import FILE, Runs
from tests.app import runs_made as made
from tests.cli.test_folders import write_digits
from tests.quant.report.parsed import Page

REPORT = ["report", "1", "--out"]


@pytest.fixture
def measured(sensed: Path, small: list[str]) -> Runs:
    """A home with 4 bits (run 1) and float (run 2) of a small model on a few images."""
    bits = ["--weight-bits", "4", "--activation-bits", "4", "--limit", "24"]
    assert main(["evaluate", *small, *bits]) == 0
    return Runs(home() / FILE)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(main, list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_a_run_becomes_one_file(
    measured: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "report.html"
    assert main([*REPORT, str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    page = Page(out.read_text(encoding="utf-8"))
    assert page.faults == []
    assert page.fetched == []
    assert "Not all could be told" not in page.text
    answers = measured.get(1).answers
    row = next(row for row in page.table("configuration") if row["run"] == "1")
    assert row["top-1"] == f"{100 * answers.correct.mean():.1f} %"
    assert len(page.named("img")) == 8 * 3 + 1


def test_its_commands_find_the_same_run_again(
    measured: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "report.html"
    assert main([*REPORT, str(out)]) == 0
    html = out.read_text(encoding="utf-8")
    lines = Page(html).text.split("python -m quant ")
    line = next(line for line in lines if line.startswith("evaluate")).split("python")[0]
    words = re.sub(r"run-1\.json.*", "run-1.json", line)
    parser = argparse.ArgumentParser()
    evaluate.add(parser)
    parser.parse_args(shlex.split(words)[1:])
    monkeypatch.chdir(tmp_path)
    assert main(["runs", "show", "1", "--json", "run-1.json"]) == 0
    assert main(shlex.split(words)) == 0
    assert [found.id for found in measured.listed()] == [2, 1]


@pytest.mark.usefixtures("traced_once")
def test_what_was_exported_of_it_is_told_and_another_run_s_is_not(
    measured: Runs, small: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, compared = tmp_path / "report.html", tmp_path / "compared.json"
    for bits in ("8", "4"):
        widths = ["--weight-bits", bits, "--activation-bits", bits, "--check-images", "8"]
        made_of = [*small, *widths, "--to", "onnx", "--preset", "bitlens"]
        made_of += ["--out", str(tmp_path / f"w{bits}.onnx")]
        assert main(["export", *made_of, "--json", str(compared)]) == 0
        capsys.readouterr()
        told = ["--out", str(out), "--exported", str(compared)]
        if bits == "8":
            assert "export the run's" in refused(capsys, "report", "1", *told)
    assert main(["report", "1", *told]) == 0
    facts = {row["what"]: row["found"] for row in Page(out.read_text()).table("found")}
    size = (tmp_path / "w4.onnx").stat().st_size
    assert facts["file"].startswith(f"{size / 1000:.0f} kB, ")


def test_what_cannot_be_told_of_is_refused_in_one_sentence(
    measured: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made.keep(measured, made.recipe(4, "digits-vit"), made.answers({1}, name="digits-vit"))
    capsys.readouterr()
    out = str(tmp_path / "report.html")
    assert "there is no run 99" in refused(capsys, "report", "99", "--out", out)
    assert "another model" in refused(capsys, "report", "1", "3", "--out", out)
    assert "float model" in refused(capsys, "report", "2", "--out", out)
    assert "number" in refused(capsys, "report", "9" * 30, "--out", out)
    assert not (tmp_path / "report.html").exists()


def test_a_target_that_cannot_be_written_is_told_before_the_work(
    measured: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert "folder" in refused(capsys, *REPORT, str(tmp_path))
    history = str(measured.path)
    assert "kept by Bitlens" in refused(capsys, *REPORT, history)
    assert measured.get(1).answers is not None


def test_the_report_can_go_to_standard_output(
    measured: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main([*REPORT, "-"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("<!DOCTYPE html>")
    assert out.endswith("</html>\n")


def test_names_of_files_and_folders_stay_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BITLENS_HOME", str(tmp_path / "home"))
    root, out = tmp_path / "<img src=x onerror=alert(1)>", tmp_path / "report.html"
    write_digits(root, {n: f"{n}" for n in range(10)})
    hostile = ["<script>alert(1)</script>".replace("/", "\u2044"), "\"onload='x", "\udcff\u202e"]
    pictures = sorted(root.glob("*/*.png"))
    for number, picture in enumerate(pictures):
        picture.rename(picture.with_name(f"{number}{hostile[number % 3]}.png"))
    bits = ["--weight-bits", "2", "--activation-bits", "3", "--calibration-images", "4"]
    assert main(["evaluate", "--model", "digits-swin", *bits, "--data", str(root)]) == 0
    assert main([*REPORT, str(out)]) == 0
    html = out.read_text(encoding="utf-8")
    page = Page(html)
    assert page.faults == page.fetched == []
    assert page.named("script") == []
    assert len(page.named("img")) == 8 * 3 + 1
    assert {"onerror", "onload"} & {name for _, found in page.tags for name in found} == set()
    shown = page.table("strongest tenth shared")
    assert all(row["image"].endswith(".png") for row in shown)
    assert any("<script>" in row["image"] or "onload" in row["image"] for row in shown)


def test_where_images_are_gone_the_report_says_so_and_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BITLENS_HOME", str(tmp_path / "home"))
    runs = Runs(home() / FILE)
    gone = str(tmp_path / "gone")
    made.keep(runs, made.recipe(4, data=gone), made.answers({1, 2}))
    made.keep(runs, made.recipe(8, model_key="other-weights"), made.answers({1}))
    for number, missing in ((1, "The images are not here"), (2, "The model is not here")):
        out = tmp_path / f"{number}.html"
        assert main(["report", str(number), "--out", str(out)]) == 0
        assert missing in capsys.readouterr().out
        page = Page(out.read_text(encoding="utf-8"))
        assert missing in page.text
        assert page.faults == []
        assert page.named("img") == []
