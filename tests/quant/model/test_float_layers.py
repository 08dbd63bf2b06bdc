"""Replays: against the model, and against full runs with one layer's output replaced."""

from collections import Counter
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from lrp.engine.interpreter import Convolution, Linear
from quant.calibration.calibration import Calibration
from quant.calibration.presets import preset
from quant.model import float_layers as module
from quant.model.float_layers import FloatLayers, Replay, at_once
from tests.models import SMALL, build, random_images
from tests.quant.replaced import Replaced

ODD = ("swinv2", "cait", "siglip", "dinov3")  # constants, talking heads, pooling, rotary and gates


def fresh(family: str, name: str = "bitlens") -> Calibration:
    """A calibration none of whose passes is solved: its survey is all a replay needs."""
    return Calibration(build(family), random_images(), preset(name))


def other(output: Tensor) -> Tensor:
    """An output that is not the layer's own."""
    return output + torch.randn(output.shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("family", [*SMALL, *ODD])
def test_logits_are_the_models(family):
    calibration = fresh(family)
    images = random_images(5)
    replay = Replay(calibration.surveyed(), images)
    torch.testing.assert_close(replay.logits, calibration.model(images), rtol=1e-4, atol=1e-4)
    assert list(replay.outputs) == list(replay.seen) == list(calibration.surveyed().layers)


@pytest.mark.parametrize("family", SMALL)
@pytest.mark.parametrize("name", ["bitlens", "repq-vit"])
def test_layers_are_seen_as_the_rewritten_model_runs_them(family, name):
    calibration = fresh(family, name)
    replay = Replay(calibration.surveyed(), random_images())
    full = Replaced(calibration)
    full.run(random_images())
    for layer, seen in replay.seen.items():
        torch.testing.assert_close(replay.outputs[layer], full.outputs[layer])
        if seen.affine is None:
            first, second = seen.operands
            torch.testing.assert_close(first @ second, replay.outputs[layer])
        elif full.operands[layer][0].dim() == seen.operands[0].dim():
            torch.testing.assert_close(seen.operands, full.operands[layer])
        if seen.affine is not None:  # a convolution's patches are rows as well
            weight, bias = seen.affine
            rows, size = seen.operands[0] @ weight.T + bias, replay.outputs[layer].shape[2:]
            found = seen.form.laid(rows, size)
            torch.testing.assert_close(found, replay.outputs[layer], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", [*SMALL, *ODD])
def test_a_layers_own_output_changes_nothing(family):
    calibration = fresh(family)
    replay = Replay(calibration.surveyed(), random_images())
    for name, output in replay.outputs.items():
        assert torch.equal(replay.changed(name, output), replay.logits), name


@pytest.mark.parametrize("family", SMALL)
def test_another_output_gives_what_a_full_run_with_it_gives(family):
    calibration = fresh(family)
    replay = Replay(calibration.surveyed(), random_images())
    for name, output in list(replay.outputs.items())[::-1]:  # any order will do
        changed = other(output)
        expected = Replaced(calibration, name, lambda *_, y=changed: y).run(random_images())
        found = replay.changed(name, changed)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(found, replay.logits, rtol=1e-3, atol=1e-3), name


class Products(TorchFunctionMode):
    """Counts the products that torch is really asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (F.linear, F.conv2d, torch.conv2d, torch.matmul):
            self.count[func.__name__] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("family", SMALL)
def test_only_layers_behind_the_changed_one_are_computed(family):
    calibration = fresh(family)
    surveyed, layers = calibration.surveyed(), list(calibration.surveyed().layers)
    with Products() as once:
        replay = Replay(surveyed, random_images())
    assert sum(once.count.values()) == len(layers)
    for index, name in enumerate(layers):
        with Products() as again:
            replay.changed(name, replay.outputs[name])
        assert sum(again.count.values()) == len(layers) - 1 - index, name


def test_gradients_are_kept_only_where_asked_for():
    calibration = fresh("swin")
    replay = Replay(calibration.surveyed(), random_images(), gradients=True)
    assert replay.logits.requires_grad
    assert not any(t.requires_grad for seen in replay.seen.values() for t in seen.operands)
    outputs = list(replay.outputs.values())
    found = torch.autograd.grad(replay.logits[:, 2].sum(), outputs)
    # a small step along any layer's output moves the logits as its gradient says
    for (name, output), gradient in zip(replay.outputs.items(), found, strict=True):
        step = 1e-3 * gradient / gradient.norm()
        up, down = (replay.changed(name, output.detach() + s)[:, 2].sum() for s in (step, -step))
        assert not up.requires_grad
        expected = float(2e-3 * gradient.norm())
        assert float(up - down) == pytest.approx(expected, rel=0.05, abs=2e-5), name
    plain = Replay(calibration.surveyed(), random_images())
    assert not plain.logits.requires_grad
    assert not any(output.requires_grad for output in plain.outputs.values())


def test_the_model_the_images_and_what_was_recorded_are_left_as_they_were():
    calibration = fresh("vit")
    images, before = random_images(), calibration.model(random_images())
    replay = Replay(calibration.surveyed(), images)
    outputs = {name: output.clone() for name, output in replay.outputs.items()}
    for name, output in outputs.items():
        replay.changed(name, other(output))
    assert torch.equal(images, random_images())
    assert torch.equal(calibration.model(random_images()), before)
    assert all(torch.equal(replay.outputs[name], output) for name, output in outputs.items())
    assert torch.equal(replay.changed("head", outputs["head"]), replay.logits)


def test_rows_of_a_convolution_and_back():
    output = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5)
    convolution, linear = Convolution((1, 1)), Linear()
    rows = convolution.as_rows(output)
    for image in range(2):
        for place in range(20):
            assert torch.equal(rows[image, place], output[image, :, place // 5, place % 5])
    assert torch.equal(convolution.laid(rows, (4, 5)), output)
    tokens = torch.rand(2, 7, 3)
    assert linear.as_rows(tokens) is tokens
    assert linear.laid(tokens, ()) is tokens


def test_as_many_images_run_at_once_as_there_is_room_for(monkeypatch):
    surveyed, values = fresh("swin").surveyed(), []
    FloatLayers(surveyed, lambda seen, output: values.append(output.numel())).run(random_images(1))
    for room, wanted in ((0, 1), (1.5, 1), (2.5, 2), (99, 6)):
        monkeypatch.setattr(module, "ROOM", int(room * 3 * 4 * sum(values)))
        assert at_once(surveyed, random_images(6), 3) == wanted
