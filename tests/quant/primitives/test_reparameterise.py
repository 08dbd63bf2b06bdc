"""Scale reparameterisation against RepQ-ViT's own order of operations."""

import pytest
import torch
import torch.nn.functional as F

from quant.primitives.qparams import QParams, fake_quantize
from quant.primitives.reparameterise import reparameterise

DOUBLE = {"dtype": torch.float64}


def channels(bits: int = 4) -> QParams:
    scale = torch.tensor([0.1, 0.12, 0.11, 0.09, 3.0, 0.1, 0.1, 0.13], **DOUBLE)
    zero_point = torch.tensor([7.0, 8.0, 6.0, 7.0, 7.0, -30.0, 7.0, 8.0], **DOUBLE)
    return QParams(scale, zero_point, bits)


def folded(q, linear, x):
    """Transform x as the LayerNorm would, then the next layer's weights."""
    s, z = q.tensor.scale, q.tensor.zero_point
    r1, r2 = q.channels.scale / s, q.channels.zero_point - z
    moved = (x + q.channels.scale * r2) / r1
    return moved, linear.weight * r1, linear.bias - linear.weight @ (q.channels.scale * r2)


@pytest.mark.parametrize("clip", [None, 1.0, 2.0])
def test_without_rounding_it_changes_nothing(clip):
    torch.manual_seed(0)
    linear, x = torch.nn.Linear(8, 5).double().requires_grad_(False), torch.randn(20, 8, **DOUBLE)
    q = reparameterise(channels(), clip)
    moved, weight, bias = folded(q, linear, x)
    torch.testing.assert_close(F.linear(moved, weight, bias), linear(x))
    torch.testing.assert_close(q.transform(x), moved)
    torch.testing.assert_close(q.transform.weight(linear.weight), weight)
    torch.testing.assert_close(q.transform.bias(linear.weight, linear.bias), bias)


def test_one_scale_quantizes_the_moved_input_as_the_channels_own_would():
    torch.manual_seed(0)
    x = torch.randn(50, 8, **DOUBLE)
    q = reparameterise(channels(), None)
    factor = q.channels.scale / q.tensor.scale
    shift = q.channels.scale * (q.channels.zero_point - q.tensor.zero_point)
    back = fake_quantize(q.transform(x), q.tensor) * factor - shift
    torch.testing.assert_close(back, fake_quantize(x, channels()))


def test_only_outlier_channels_are_clipped():
    plain, clipped = reparameterise(channels(), None), reparameterise(channels(), 2.0)
    assert plain.clipped == 0
    same = plain.channels.scale == clipped.channels.scale
    assert same.tolist() == [True] * 4 + [False] + [True] * 3
    moved = plain.channels.zero_point != clipped.channels.zero_point
    assert moved.tolist() == [False] * 5 + [True] + [False] * 2
    assert clipped.clipped == 2
    scale = channels().scale
    assert clipped.channels.scale[4] == scale.mean() + 2 * scale.std(correction=0)
    assert (clipped.channels.scale > 0).all()


def test_clipping_inflates_the_weight_columns_less():
    weight = torch.ones(1, 8, **DOUBLE)
    plain, clipped = (reparameterise(channels(), k).transform.weight(weight) for k in (None, 1.0))
    assert clipped.max() < plain.max()


@pytest.mark.parametrize("clip", [0, -1.0, float("nan")])
def test_a_clip_that_is_not_positive_is_refused(clip):
    with pytest.raises(ValueError, match="positive number"):
        reparameterise(channels(), clip)
