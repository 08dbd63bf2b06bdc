"""Blocks of small models, learned: what they run on, whether it helps, and what is kept."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lrp.engine.layers import list_layers
from lrp.engine.names import block_of
from lrp.engine.progress import Cancelled, Progress
from quant.calibration import calibration as module
from quant.calibration.calibration import Calibration
from quant.calibration.presets import preset
from quant.calibration.tuning import running as runs
from quant.calibration.tuning.block import BlockTuner, Lesson
from quant.calibration.tuning.running import Running, find_blocks, weigh_tokens
from quant.model.quantized_model import QuantizedModel
from quant.primitives.bits import Allocation, uniform
from tests.models import SIZE, build, random_images

TUNED = "bitlens-tuned:tuned=50,views=1"


def fresh(folder: Path | None = None, family: str = "vit", name: str = TUNED) -> Calibration:
    return Calibration(build(family), random_images(), preset(name), folder)


def bits(calibration: Calibration, width: int = 4) -> Allocation:
    return uniform(list_layers(calibration.model, SIZE), width, width)


def logits(calibration: Calibration, width: int = 4) -> Tensor:
    return QuantizedModel(calibration, bits(calibration, width)).run(random_images())


@pytest.mark.parametrize(
    ("family", "count"), [("vit", 2), ("swin", 4), ("deit3", 2), ("dinov3", 0), ("pit", 3)]
)
def test_blocks_that_run_alone_are_found(family, count):
    calibration = fresh(family=family)
    surveyed = calibration.surveyed()
    found = find_blocks(surveyed, calibration.images[:1])
    assert len(found) == count
    plain = Running(surveyed, {})
    with torch.no_grad():
        for before, after in pairwise(found):
            if before.rpartition(".")[0] == after.rpartition(".")[0]:  # of one stage
                gave = plain.out_of(before, plain.into(before, calibration.images))
                wanted = plain.into(after, calibration.images)
                torch.testing.assert_close(gave, wanted, rtol=1e-4, atol=1e-5)


def test_tokens_count_by_the_curvature_of_the_divergence(monkeypatch):
    calibration = fresh()
    surveyed, images = calibration.surveyed(), calibration.images[:2]
    monkeypatch.setattr(runs, "DRAWS", 4000)
    found = weigh_tokens(surveyed, ["blocks.1"], images, torch.Generator().manual_seed(0))
    plain = Running(surveyed, {})
    output = plain.out_of("blocks.1", plain.into("blocks.1", images))

    def after(x: Tensor) -> Tensor:
        return surveyed.turned.model.forward_head(surveyed.turned.model.norm(x))

    energy = []
    for one in output:
        slopes = torch.autograd.functional.jacobian(after, one[None])[0, :, 0]  # (K, N, C)
        share = after(one[None]).softmax(1)[0]
        fisher = torch.diag(share) - torch.outer(share, share)
        energy.append(torch.einsum("knc,kl,lnc->n", slopes, fisher, slopes))
    wanted = torch.stack(energy)
    torch.testing.assert_close(
        found["blocks.1"][..., 0], wanted / wanted.mean(), rtol=0.1, atol=0.02
    )


def test_a_learned_block_is_nearer_to_what_it_is_to_give_on_images_it_did_not_learn_from():
    model = build("vit")
    calibration = Calibration(model, random_images(24), preset(TUNED))
    allocation, block = bits(calibration, 2), "blocks.0"
    calibration.solve({2})
    layers = {n: calibration.quantized(n, b) for n, b in allocation.items() if block_of(n) == block}
    surveyed = calibration.surveyed()
    plain = Running(surveyed, {})
    inputs = plain.into(block, calibration.images)
    outputs = plain.out_of(block, inputs)
    lesson = Lesson(inputs, outputs, torch.ones_like(outputs[..., :1]), len(inputs))
    learn, judge = lesson.parts()
    assert judge.tolist() == [7, 15, 23] and not set(judge.tolist()) & set(learn.tolist())
    tuner = BlockTuner(block, plain, lesson, torch.Generator().manual_seed(0))
    found = tuner.tune(layers, 100, Progress())

    def off(these: object) -> Tensor:
        gave = Running(surveyed, these).out_of(block, inputs[judge])  # type: ignore[arg-type]
        return (gave - outputs[judge]).square().sum() / len(judge)

    assert found.keys() == layers.keys()
    assert off(found) < 0.97 * off(layers)
    still = tuner.tune(layers, 1, Progress())  # one step of 1e-2 turns no code over
    assert off(still) <= off(layers)


def test_layers_stay_as_they_were_where_nothing_better_is_learned():
    calibration = fresh()
    calibration.solve({8})
    allocation, block = bits(calibration, 8), "blocks.0"
    layers = {n: calibration.quantized(n, b) for n, b in allocation.items() if block_of(n) == block}
    surveyed = calibration.surveyed()
    running = Running(surveyed, layers)
    inputs = running.into(block, calibration.images)
    outputs = running.out_of(block, inputs)  # there is nothing better than what gave this
    lesson = Lesson(inputs, outputs, torch.ones_like(outputs[..., :1]), len(inputs))
    tuner = BlockTuner(block, running, lesson, torch.Generator().manual_seed(0))
    assert tuner.tune(layers, 20, Progress()) is layers


@pytest.mark.parametrize("family", ["vit", "swin"])
def test_what_is_learned_is_kept_and_read_back(tmp_path, family, monkeypatch):
    first = logits(fresh(tmp_path, family))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[0] == "a4.safetensors" and len(names) == 2 and names[1].startswith("learned-")
    monkeypatch.setattr(module, "Tuner", None)
    assert torch.equal(logits(fresh(tmp_path, family)), first)
    base = logits(fresh(tmp_path / "other", family, TUNED.replace("tuned=50", "tuned=0")))
    assert not torch.equal(base, first)
    with pytest.raises(TypeError):
        logits(fresh(tmp_path, family), 5)  # other bits are learned anew


def test_work_that_was_stopped_is_taken_up_and_ends_the_same(tmp_path):
    whole = logits(fresh(tmp_path / "whole"))
    stopped = fresh(tmp_path / "stopped")

    def tell(done: int, total: int, what: str = "", so_far: object = None) -> None:
        if what == "learning, step" and done > total * 0.7:
            raise Cancelled

    with pytest.raises(Cancelled):
        stopped.solve_for(bits(stopped), Progress(tell))
    parts = [path.name for path in (tmp_path / "stopped").glob("learned-*")]
    assert len(parts) == 1 and parts[0].endswith("-part.safetensors")
    heard: list[int] = []

    def listen(done: int, total: int, what: str = "", so_far: object = None) -> None:
        heard.append(done if what == "learning, step" else total)

    again = fresh(tmp_path / "stopped")
    again.solve_for(bits(again), Progress(listen))
    assert min(heard) >= 50  # the first block was not learned again
    assert torch.equal(logits(again), whole)
    assert not list((tmp_path / "stopped").glob("*-part*"))


def test_float_layers_beside_learned_ones_are_left_out(tmp_path):
    calibration = fresh(tmp_path)
    allocation = {n: b for n, b in bits(calibration).items() if block_of(n) == "blocks.1"}
    model = QuantizedModel(calibration, allocation)
    assert model.layers.keys() == allocation.keys()
    assert torch.isfinite(model.run(random_images())).all()
    plain = QuantizedModel(calibration, {}).run(random_images())
    torch.testing.assert_close(plain, calibration.model(random_images()))
