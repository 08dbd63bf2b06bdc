import threading

import pytest
import torch

from lrp.layers import list_layers
from lrp.progress import Cancelled
from lrp.trace import Trace
from quant.calibration import ROWS, calibrate
from tests.models import SIZE, build


def test_every_layer_is_sampled_by_its_kind(model, images):
    found = calibrate(model, images.split(2), 3)
    assert found.images == 3
    for layer in list_layers(model, SIZE):
        kinds = [sample.kind for sample in found.samples[layer.name]]
        if layer.role == "matmul2":
            assert kinds == ["attention", "tensor"]
        elif layer.role == "matmul1":
            assert kinds == ["tensor", "tensor"]
        elif layer.role in ("qkv", "fc1", "reduction"):
            assert kinds == ["channels"]
        else:
            assert kinds == ["tensor"]


def test_samples_are_values_the_layer_saw(model, images):
    found, seen = calibrate(model, [images], 3), Trace(model, images).operands
    for name, samples in found.samples.items():
        for sample, operand in zip(samples, seen[name], strict=True):
            values = operand.detach().flatten().sort().values
            drawn = sample.values.flatten()
            place = torch.searchsorted(values, drawn).clamp(1, len(values) - 1)
            nearest = torch.minimum(
                (values[place] - drawn).abs(), (values[place - 1] - drawn).abs()
            )
            assert nearest.max() < 1e-4 * values.abs().max()
            if sample.kind == "channels":
                assert sample.values.shape[1] == operand.shape[-1]
                assert len(sample.values) <= ROWS


def test_a_seed_fixes_the_sample(model, images):
    first, again, other = (calibrate(model, [images], 3, seed=s) for s in (1, 1, 2))
    name = "patch_embed.proj"
    assert torch.equal(first.samples[name][0].values, again.samples[name][0].values)
    assert not torch.equal(first.samples[name][0].values, other.samples[name][0].values)


def test_progress_and_cancel(model, images):
    seen, stop = [], threading.Event()

    def progress(done, total):
        seen.append((done, total))
        stop.set()

    with pytest.raises(Cancelled):
        calibrate(model, images.split(1), 3, progress=progress, cancel=stop)
    assert seen == [(1, 3)]


def test_values_that_are_not_finite_name_their_layer(images):
    model = build("vit")
    model.blocks[1].mlp.fc1.bias[3] = float("nan")
    with pytest.raises(ValueError, match=r"the input of blocks\.1\.mlp\.fc2 is not finite"):
        calibrate(model, [images], 3)


def test_no_images_are_refused(model):
    with pytest.raises(ValueError, match="no images"):
        calibrate(model, [], 0)
