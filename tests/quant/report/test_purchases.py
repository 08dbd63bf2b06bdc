"""The way to an allocation: growing budgets that end at its own bits."""

from dataclasses import replace

import numpy as np
import pytest

from quant.primitives.bits import LayerBits
from quant.primitives.formats import FLOAT
from quant.report.choice import share
from quant.report.purchases import bought, way_to
from quant.report.subject import Subject


def test_the_way_ends_at_the_allocation_and_never_goes_back(subject: Subject) -> None:
    assert subject.losses is not None
    plan = way_to(subject.opened.layers, subject.allocation, subject.losses)
    assert plan.allocation(len(plan.weight) - 1) == subject.allocation
    for bits in (plan.weight, plan.activation):
        assert (np.diff(bits, axis=0) >= 0).all()
        assert (bits[0] == 2).all()


def test_steps_add_up_to_what_the_allocation_costs_and_saves(subject: Subject) -> None:
    losses, allocation = subject.losses, subject.allocation
    assert losses is not None
    steps = bought(subject.opened.layers, way_to(subject.opened.layers, allocation, losses), losses)
    lowest = {name: LayerBits(2, 2) for name in allocation}
    low, own = subject.cost(lowest), subject.cost(allocation)
    assert low is not None
    assert own is not None
    assert sum(s.size for s in steps) == pytest.approx(own.size_bytes - low.size_bytes)
    assert sum(s.bitops for s in steps) == pytest.approx(own.bitops - low.bitops)
    assert sum(s.gain for s in steps) == pytest.approx(losses.of(lowest) - losses.of(allocation))
    assert sum(share(s, steps) for s in steps) == pytest.approx(2)  # size and BitOps, each in all


def test_float_and_16_bits_are_bought_from_the_cheapest_of_their_own(subject: Subject) -> None:
    assert subject.losses is not None
    names = list(subject.allocation)
    allocation = {name: LayerBits(8, 8) for name in names}
    allocation |= {names[0]: LayerBits(4, 8), names[-1]: LayerBits(FLOAT, FLOAT)}
    plan = way_to(subject.opened.layers, allocation, subject.losses)
    assert plan.allocation(len(plan.weight) - 1) == allocation
    assert set(plan.activation[0].tolist()) == {8}
    steps = bought(subject.opened.layers, plan, subject.losses)
    assert {(s.layer, s.before) for s in steps if s.after == FLOAT} == {(names[-1], 8)}
    head = next(la for la in subject.opened.layers if la.name == names[-1])
    size = next(s.size for s in steps if s.layer == names[-1] and s.what == "weights" and
                s.after == FLOAT)  # fmt: skip
    assert size == head.parameters * (32 - 8) / 8


def test_bits_whose_losses_are_not_known_are_refused(subject: Subject) -> None:
    assert subject.losses is not None
    few = replace(subject.losses, widths=(2, 3), weight=subject.losses.weight[:, :2],
                  activation=subject.losses.activation[:, :2])  # fmt: skip
    with pytest.raises(ValueError, match="no losses at"):
        way_to(subject.opened.layers, subject.allocation, few)


def test_the_lowest_bits_are_bought_by_nothing(subject: Subject) -> None:
    assert subject.losses is not None
    lowest = {name: LayerBits(2, 2) for name in subject.allocation}
    assert (
        bought(subject.opened.layers, way_to(subject.opened.layers, lowest, subject.losses)) == []
    )
