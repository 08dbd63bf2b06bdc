import csv
import io

import pytest

from quant.allocation.allocation_file import to_csv
from quant.allocation.budget import from_average, offer
from quant.allocation.cost import CostModel
from quant.allocation.path import budget_plan
from tests.quant.knapsacks import loss_of, made_up_layers, made_up_losses, spent_by


def test_a_plan_is_written_row_by_row():
    layers = made_up_layers(1)
    losses = made_up_losses(layers, 1)
    averages = [2.0, 3.5, 4.0, 8.0]
    limits = [from_average(layers, average) for average in averages]
    plan = budget_plan(offer(layers, tied=False), losses, limits)
    rows = list(csv.DictReader(io.StringIO(to_csv(plan, CostModel(layers, 100)))))
    assert [float(row["budget"]) for row in rows] == averages
    for number, row in enumerate(rows):
        allocation = plan.allocation(number)
        for name, bits in allocation.items():
            assert int(row[f"{name} weight"]) == bits.weight
            assert int(row[f"{name} activation"]) == bits.activation
        size, work = spent_by(layers, allocation)
        assert float(row["size_bytes"]) == size / 8 + 400
        assert float(row["bitops"]) == work
        total = sum(layer.parameters for layer in layers)
        assert float(row["average_bits"]) == pytest.approx(size / total, abs=1e-6)
        assert float(row["loss"]) == pytest.approx(loss_of(losses, allocation))
        gap = (float(row["loss"]) - float(row["bound"])) / float(row["loss"])
        assert float(row["gap"]) == pytest.approx(gap, abs=1e-9)
