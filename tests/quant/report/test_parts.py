"""Parts of a report: their figures are those of the answers and the bits, worked out anew."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from lrp.engine.layers import list_layers
from quant.allocation.allocation_file import from_json
from quant.evaluation.answers import Answers
from quant.evaluation.intervals import paired_interval, wilson
from quant.history.runs import Run, UnreadableError
from quant.primitives.bits import LayerBits
from quant.primitives.formats import FLOAT, HALF, MXFP4
from quant.report import choice, classes, finding, heatmaps, layers, repeat, trade_off
from quant.report.subject import Subject
from tests.app import runs_made as made
from tests.quant.report.parsed import Page


def test_the_finding_is_that_of_the_answers(subject: Subject, run: Run) -> None:
    right, plain = run.answers.correct, run.answers.reference == run.answers.labels
    low, high = wilson(int(right.sum()), 60)
    gap = paired_interval(int((right & ~plain).sum()), int((plain & ~right).sum()), 60)
    said = finding.lead(subject, run)
    assert f"{100 * right.mean():.1f} % ({100 * low:.1f} to {100 * high:.1f} %)" in said
    apart = f"{100 * (right.mean() - plain.mean()):+.1f} points ({100 * gap[0]:+.1f} to "
    assert apart.replace("-", "−") in said
    weights = {la.name: la.parameters for la in subject.opened.layers}
    bits = sum(weights[name] * b.weight for name, b in subject.allocation.items())
    assert said.startswith(f"{bits / sum(weights.values()):.1f}-bit: ")
    assert said.endswith("on 60 images.")


def test_it_is_compared_with_the_uniform_run_of_the_nearest_bitops(subject: Subject) -> None:
    even = finding.uniform_of(subject)
    assert even is not None
    own = subject.cost(subject.allocation)
    costs = {run.id: subject.cost(run.recipe.allocation) for run in subject.every}
    assert own is not None
    apart = {n: abs(costs[n].bitops - own.bitops) for n in (2, 3)}  # type: ignore[union-attr]
    assert even.id == min(apart, key=apart.__getitem__)
    assert finding.uniform_of(replace(subject, run=even, beside=(), others=())) is None


def test_another_run_that_is_damaged_does_no_harm(subject: Subject) -> None:
    def damaged() -> Answers:
        raise UnreadableError("its answers are damaged")

    others = tuple(replace(run, read=damaged) for run in subject.others)
    beside = tuple(replace(run, read=damaged) for run in subject.beside)
    said = finding.section(replace(subject, others=others, beside=beside))
    assert "The nearest uniform bits" in finding.section(subject)
    assert "The nearest uniform bits" not in said


def test_a_float_run_beside_it_is_told_without_a_difference(subject: Subject) -> None:
    plain = next(run for run in subject.every if run.recipe.allocation is None)
    said = finding.lead(subject, plain)
    assert said.startswith("98.3 % (")
    assert "points" not in said


def test_the_strip_has_a_bar_for_each_width_as_high_as_its_bits(subject: Subject) -> None:
    drawn = re.findall(
        r'<rect [^>]*height="([\d.]+)" class="b-(\w)"><title>([^:]+):',
        layers.strip(subject.allocation),
    )
    unit = layers.TALLEST / 8
    found = [(name, int(kind), float(height)) for height, kind, name in drawn]
    expected = [
        (name, bits, pytest.approx(bits * unit, abs=0.06))
        for name, pair in subject.allocation.items()
        for bits in (pair.weight, pair.activation)
    ]
    assert found == expected


def test_formats_are_called_by_their_names(subject: Subject) -> None:
    names = list(subject.allocation)
    allocation = {name: LayerBits(MXFP4, MXFP4) for name in names}
    allocation |= {names[0]: LayerBits(HALF, HALF), names[-1]: LayerBits(FLOAT, FLOAT)}
    recipe = replace(subject.recipe, allocation=allocation)
    formats = replace(subject, run=replace(subject.run, recipe=recipe), beside=())
    page = Page(layers.section(formats))
    rows = page.table("weight bits")
    assert [rows[n]["weight bits"] for n in (0, 1, -1)] == ["16", "MXFP4", "float"]
    assert f"{len(names) - 2} at MXFP4, 1 at 16, 1 at float bits" in page.text
    drawn = {found["class"] for found in page.named("rect")}
    assert drawn == {"b-4", "b-9", "b-f"}
    assert "no losses at 16" in choice.section(formats)
    assert "between MXFP4 and float" in choice.chosen(formats)


def test_many_layers_are_drawn_in_rows(subject: Subject) -> None:
    allocation = {f"blocks.{n}.attn.qkv": LayerBits(4, 4) for n in range(201)}
    one = layers.strip(dict(list(allocation.items())[:67]))
    heights = [float(re.search(r'viewBox="0 0 [\d.]+ ([\d.]+)"', s)[1])  # type: ignore[index]
               for s in (one, layers.strip(allocation))]  # fmt: skip
    assert heights[1] == 3 * heights[0]


def test_the_table_of_layers_is_the_allocation(subject: Subject) -> None:
    rows = Page(layers.section(subject)).table("weight bits")
    assert {r["layer"]: (int(r["weight bits"]), int(r["activation bits"])) for r in rows} == {
        name: (bits.weight, bits.activation) for name, bits in subject.allocation.items()
    }
    known = {layer.name: layer for layer in subject.opened.layers}
    assert [int(r["weights"].replace(",", "") or 0) for r in rows] == [
        known[name].parameters for name in subject.allocation
    ]
    losses = subject.losses
    assert losses is not None
    lost = sum(float(r["loss of weights (mnat)"]) + float(r["loss of activations (mnat)"])
               for r in rows)  # fmt: skip
    assert lost / 1000 == pytest.approx(losses.of(subject.allocation), rel=0.01)


def test_without_sensitivities_it_says_how_to_find_them(bare: Subject) -> None:
    assert "<code>python -m quant sensitivity</code>" in choice.section(bare)


def test_the_dearest_bits_are_those_that_cost_most(subject: Subject) -> None:
    page = Page(choice.section(subject))
    rows = page.table("of all")
    assert len(rows) == choice.DEAREST
    assert page.text.count("dearest") == 2
    assert {row["from"] < row["to"] for row in rows} == {True}


def test_no_run_of_the_front_is_beaten() -> None:
    places = [tuple(pair) for pair in np.random.default_rng(0).integers(0, 9, (60, 2)).tolist()]
    best = trade_off.front(places)
    beaten = {
        (c, a)
        for c, a in places
        if any((d <= c and b >= a and (d, b) != (c, a)) for d, b in places)
    }
    assert set(best) == set(places) - beaten
    assert all(one[0] < other[0] and one[1] < other[1] for one, other in pairwise(best))


def test_every_run_stands_in_the_trade_off(subject: Subject) -> None:
    page = Page(trade_off.section(subject))
    rows = page.table("configuration")
    assert [int(row["run"]) for row in rows][:2] == [4, 3]
    assert {int(row["run"]) for row in rows} == {1, 2, 3, 4}
    marks = [found for found in page.tags if "mark" in found[1].get("class", "").split()]
    assert len([mark for mark in marks if "named" in mark[1]["class"]]) == 2 * 2 + 2  # and a legend
    for run in subject.every:
        row = next(row for row in rows if int(row["run"]) == run.id)
        assert row["top-1"] == f"{100 * run.answers.correct.mean():.1f} %"


def test_classes_are_those_of_the_labels(subject: Subject, run: Run) -> None:
    rows = {row["class"]: row for row in Page(classes.section(subject)).table("points")}
    for label in np.unique(run.answers.labels):
        mine = run.answers.labels == label
        row = rows[subject.class_name(int(label))]
        assert int(row["images"]) == mine.sum()
        float_right = (run.answers.reference == run.answers.labels)[mine].mean()
        assert row["float"] == f"{100 * float_right:.1f} %"
        assert row["quantized"] == f"{100 * run.answers.correct[mine].mean():.1f} %"
    assert "2 of 60 images are answered otherwise" in classes.section(subject).replace(
        "\u00a0", " "
    )


def test_classes_of_few_images_are_not_drawn(subject: Subject) -> None:
    few = run_with(subject, subject.run.answers.part(0, 8))
    page = Page(classes.section(few))
    assert "too few for a chart" in page.text
    assert page.named("svg") == []


def run_with(subject: Subject, answers: Answers) -> Subject:
    run = replace(subject.run, counts=answers.counts(), read=lambda: answers)
    return replace(subject, run=run)


def test_images_that_changed_come_first_the_most_changed_before_others() -> None:
    zeros = np.zeros(12, np.int32)
    predicted = zeros.copy()
    predicted[[3, 7, 9]] = 1
    divergence = np.arange(12, dtype=np.float32)
    answers = Answers(zeros, predicted, zeros, zeros == 0, divergence)
    assert heatmaps.choose(answers) == [9, 7, 3, 0, 1, 2, 4, 5]
    assert heatmaps.choose(answers, 2) == [9, 7]
    assert heatmaps.choose(answers.part(0, 3)) == [0, 1, 2]


def test_the_bits_as_json_are_read_back_and_named_by_their_checksum(subject: Subject) -> None:
    page = Page(repeat.section(subject))
    links = page.named("a")
    assert [link["download"] for link in links] == ["run-4.json", "run-3.json"]
    data = base64.b64decode(links[0]["href"].removeprefix("data:application/json;base64,"))
    loaded = made.model()
    allocation = from_json(json.loads(data), list_layers(loaded.model, loaded.input_size))
    assert allocation == subject.allocation
    named = Page(repeat.checksums(subject)).table("named by")
    assert hashlib.sha256(data).hexdigest() in {row["named by"] for row in named}
    assert subject.recipe.key in {row["named by"] for row in named}


def test_commands_quote_what_a_shell_would_read(subject: Subject) -> None:
    recipe = replace(subject.recipe, data="/my images/$(rm)", checkpoint="a'b.pt")
    run = replace(subject.run, recipe=recipe)
    line = repeat.commands(replace(subject, run=run))[0]
    assert "--data '/my images/$(rm)'" in line
    assert """--checkpoint 'a'"'"'b.pt'""" in line


def test_images_drawn_by_a_seed_are_said_to_be(subject: Subject) -> None:
    run = replace(subject.run, recipe=replace(subject.recipe, seed=2))
    assert "sweep --draws 3" in repeat.section(replace(subject, run=run))
    assert "seed" not in repeat.section(subject)
