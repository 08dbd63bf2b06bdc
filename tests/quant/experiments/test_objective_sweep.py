import statistics

import numpy as np
import pytest

from quant.allocation.budget import offer
from quant.allocation.cost import CostModel
from quant.allocation.infeasible import Infeasible
from quant.allocation.objectives import RANDOM, UNIFORM, random_losses, reversed_losses
from quant.commands.sweep_report import COLUMNS, cells, explained
from quant.evaluation.clustered import Answered
from quant.experiments.objective_sweep import CHANCE, Trial, by_chance, configurations, summarise
from quant.primitives.bits import uniform
from tests.quant.histories import answers
from tests.quant.knapsacks import loss_of, made_up_layers, made_up_losses, spent_by

LAYERS = made_up_layers(0)
LOSSES = made_up_losses(LAYERS, 0)


def planned(budgets=(3, 4.5), seeds=2, even=True, tied=False):
    spent = [LOSSES, reversed_losses(LOSSES)]
    spent += [random_losses(LOSSES.names, seed) for seed in range(seeds)]
    return configurations(LAYERS, offer(LAYERS, tied=tied), budgets, spent, LOSSES, even)


def test_every_budget_is_spent_by_all_and_uniform_bits_only_where_they_are_whole():
    found = [(one.budget, one.objective) for one in planned()]
    names = ["sensitivity", "reversed", "random-0", "random-1"]
    assert found == [*((3, n) for n in names), (3, UNIFORM), *((4.5, n) for n in names)]
    kinds = {one.kind for one in planned()}
    assert kinds == {"sensitivity", "reversed", RANDOM, UNIFORM}


@pytest.mark.parametrize("tied", [True, False])
def test_none_spends_more_than_uniform_bits(tied):
    for one in planned(budgets=(2, 3, 5), tied=tied):
        size, work = spent_by(LAYERS, one.allocation)
        most, hardest = spent_by(LAYERS, uniform(LAYERS, one.budget, one.budget))
        assert size <= most
        assert work <= hardest


def test_what_is_expected_is_in_one_unit_whatever_bits_were_spent_by():
    for one in planned():
        assert one.expected == pytest.approx(loss_of(LOSSES, one.allocation))
    least = {one.budget: one.expected for one in planned() if one.objective == "sensitivity"}
    assert all(one.expected >= least[one.budget] * (1 - 1e-9) for one in planned())


def test_random_allocations_spread_over_budgets_tied_and_not_by_turns():
    both = offer(LAYERS, tied=False), offer(LAYERS, tied=True)
    found = by_chance(LAYERS, both, (3, 5), 5, LOSSES)
    assert [one.budget for one in found] == [3, 3.5, 4, 4.5, 5]
    assert [one.objective for one in found] == [f"random-{CHANCE + n}" for n in range(5)]
    tied = [all(b.weight == b.activation for b in one.allocation.values()) for one in found]
    assert tied[1] and tied[3]
    assert not all(tied[::2])
    for one in found:
        size, work = spent_by(LAYERS, one.allocation)
        assert size <= one.budget * sum(layer.parameters for layer in LAYERS)
        assert work <= one.budget**2 * sum(layer.macs for layer in LAYERS)
    assert by_chance(LAYERS, both, (3, 5), 0, LOSSES) == []


def test_a_budget_too_low_is_refused():
    choices = offer(LAYERS, locks={"l0": 8})
    with pytest.raises(Infeasible, match="unlock l0"):
        configurations(LAYERS, choices, [2], [LOSSES], LOSSES, True)


def tried(one, draw, start, count=40):
    """A trial whose made-up answers begin at `start`; labels repeat after ten."""
    return Trial(one, draw, Answered(answers(start, start + count), np.arange(count)), None)


def test_rows_are_means_over_draws_and_seeds():
    one, other = planned(budgets=(3,)), planned(budgets=(4.5,))
    trials = [
        tried(configuration, draw, 20 * draw + 40 * (configuration.objective == "random-1"))
        for draw in (0, 1)
        for configuration in (*one, *other)
    ]
    rows = summarise(CostModel(LAYERS, 100), trials)
    assert [(row.budget, row.objective) for row in rows] == [
        *((3, kind) for kind in ("sensitivity", "reversed", "random", "uniform")),
        *((4.5, kind) for kind in ("sensitivity", "reversed", "random")),
    ]
    assert [row.runs for row in rows] == [2, 2, 4, 2, 2, 2, 4]
    random = rows[2]
    seeds = [c for c in one if c.objective.startswith("random")]
    assert random.expected == pytest.approx(statistics.mean(c.expected for c in seeds))
    sizes, work = zip(*(spent_by(LAYERS, c.allocation) for c in seeds), strict=True)
    assert random.size_bytes == pytest.approx(statistics.mean(sizes) / 8 + 400)
    assert random.bitops == pytest.approx(statistics.mean(work))
    total = sum(layer.parameters for layer in LAYERS)
    assert random.weight_bits == pytest.approx(statistics.mean(sizes) / total)
    starts = [0, 40, 20, 60]
    divergences = [statistics.mean(range(s, s + 40)) / 100 for s in starts]
    assert random.divergence == pytest.approx(statistics.mean(divergences))
    assert random.divergence_error == pytest.approx(statistics.stdev(divergences) / 2)
    assert rows[3].to_uniform is None  # itself
    assert all(row.to_uniform is None for row in rows[4:])  # there is none at 4.5 bits
    assert random.top1.value == pytest.approx(0.75)
    assert random.to_uniform.value == 0


def test_activation_bits_count_by_work():
    (found,) = configurations(LAYERS, offer(LAYERS), [3.4], [LOSSES], LOSSES, False)
    (row,) = summarise(CostModel(LAYERS, 0), [tried(found, 0, 0)])
    bits = [found.allocation[layer.name].activation for layer in LAYERS]
    work = sum(layer.macs * b for layer, b in zip(LAYERS, bits, strict=True))
    assert row.activation_bits == pytest.approx(work / sum(layer.macs for layer in LAYERS))
    assert row.top1.error is None
    assert row.divergence_error is None


def test_a_table_has_a_row_for_each_and_says_what_its_intervals_are():
    single = [tried(one, 0, 0) for one in planned(budgets=(3,), seeds=1)]
    rows = summarise(CostModel(LAYERS, 0), single)
    head, *lines = cells(rows)
    assert head == list(COLUMNS)
    assert [line[1] for line in lines] == ["sensitivity", "reversed", "random", "uniform"]
    assert lines[0][head.index("top-1, %")] == "75.0 (59.8 to 85.8)"  # Wilson's of 30 in 40
    assert lines[0][head.index("to uniform, points")].startswith("+0.0 (-8.8 to +8.8)")
    assert lines[3][head.index("to uniform, points")] == ""
    assert "Tango" in explained(rows, 1)
    assert "±" not in explained(rows, 1)
    several = summarise(
        CostModel(LAYERS, 0), [tried(one, d, 20 * d) for d in (0, 1) for one in planned((3,))]
    )
    assert "75.0 ± 0.0" in cells(several)[1][head.index("top-1, %")]
    assert "standard error over draws" in explained(several, 2)
