"""Rules against einsum and loop replicas in float64."""

import pytest
import torch
import torch.nn.functional as F

from lrp.rules import PRESETS, Rules, attribute, halve, preset, ratio_add, stabilise, z_plus

torch.manual_seed(0)
DOUBLE = {"dtype": torch.float64}


def relevance_of(inputs, output, relevance):
    """R = input * modified gradient, for an output that carries `relevance`."""
    gradients = torch.autograd.grad(output, inputs, relevance / stabilise(output.detach()))
    return [(x * g).detach() for x, g in zip(inputs, gradients, strict=True)]


def z_plus_by_einsum(x, w, r):
    contribution = torch.einsum("nc,kc->nkc", x.clamp_min(0), w.clamp_min(0))
    contribution += torch.einsum("nc,kc->nkc", x.clamp_max(0), w.clamp_max(0))
    return torch.einsum("nkc,nk->nc", contribution / contribution.sum(-1, keepdim=True), r)


def test_z_plus_linear_is_the_einsum_over_positive_contributions():
    x, w, b = (torch.randn(s, **DOUBLE) for s in ((4, 16), (5, 16), (5,)))
    r = torch.randn(4, 5, **DOUBLE)
    x.requires_grad_()
    y = z_plus(x, w, F.linear(x, w, b).detach(), F.linear)
    torch.testing.assert_close(y, F.linear(x, w, b))
    (found,) = relevance_of([x], y, r)
    torch.testing.assert_close(found, z_plus_by_einsum(x.detach(), w, r))
    torch.testing.assert_close(found.sum(1), r.sum(1))


def test_z_plus_convolution_is_the_linear_rule_on_unfolded_patches():
    x, w = torch.randn(2, 3, 8, 8, **DOUBLE), torch.randn(5, 3, 4, 4, **DOUBLE)

    def convolve(x, w):
        return F.conv2d(x, w, stride=4)

    patches = F.unfold(x, 4, stride=4).transpose(1, 2).reshape(-1, 48)  # (B * N, 48)
    r = torch.randn(8, 5, **DOUBLE)
    by_patch = z_plus_by_einsum(patches, w.reshape(5, -1), r).reshape(2, 4, 48)
    expected = F.fold(by_patch.transpose(1, 2), 8, 4, stride=4)
    x.requires_grad_()
    y = z_plus(x, w, convolve(x, w).detach(), convolve)
    r_map = r.reshape(2, 2, 2, 5).permute(0, 3, 1, 2)
    torch.testing.assert_close(relevance_of([x], y, r_map)[0], expected)


def test_halved_product_gives_each_operand_half_by_its_contributions():
    a, b = torch.randn(2, 3, 4, **DOUBLE), torch.randn(2, 4, 5, **DOUBLE)
    r = torch.randn(2, 3, 5, **DOUBLE)
    share = torch.einsum("nij,njk->nijk", a, b)
    share = share / share.sum(2, keepdim=True) * r[:, :, None]
    a.requires_grad_(), b.requires_grad_()
    found_a, found_b = relevance_of([a, b], halve(a @ b), r)
    torch.testing.assert_close(found_a, share.sum(3) / 2)
    torch.testing.assert_close(found_b, share.sum(1) / 2)
    torch.testing.assert_close(found_a.sum() + found_b.sum(), r.sum())


def test_ratio_addition_image_by_image():
    a, b, r = (torch.randn(6, 4, 3, **DOUBLE) for _ in range(3))  # 2 images of 3 windows
    expected_a, expected_b = torch.empty_like(a), torch.empty_like(b)
    for rows in (slice(0, 3), slice(3, 6)):  # as Chefer's Add.relprop, for one image
        share_a, share_b = (t[rows] / (a + b)[rows] * r[rows] for t in (a, b))
        total, sum_a, sum_b = r[rows].sum(), share_a.sum(), share_b.sum()
        weight = sum_a.abs() / (sum_a.abs() + sum_b.abs())
        expected_a[rows] = share_a * weight * total / sum_a
        expected_b[rows] = share_b * (1 - weight) * total / sum_b
    a.requires_grad_(), b.requires_grad_()
    found_a, found_b = relevance_of([a, b], ratio_add(a, b, 2), r)
    torch.testing.assert_close(found_a, expected_a, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found_b, expected_b, rtol=1e-5, atol=1e-7)


def test_identity_hands_relevance_through_unchanged():
    x = torch.randn(7, **DOUBLE).requires_grad_()
    r = torch.randn(7, **DOUBLE)
    y = attribute(x, F.gelu(x))
    torch.testing.assert_close(y, F.gelu(x))
    torch.testing.assert_close(relevance_of([x], y, r)[0], r, rtol=1e-5, atol=1e-7)


def test_epsilon_takes_its_share_and_survives_zero():
    y = torch.tensor([0.0, 2.0, -2.0], **DOUBLE).requires_grad_()
    (gradient,) = torch.autograd.grad(attribute(y, y, 0.5).sum(), y)
    torch.testing.assert_close(gradient, torch.tensor([0.0, 2 / 2.5, 2 / 2.5], **DOUBLE))


def test_presets_are_found_by_name_and_junk_is_refused():
    assert preset("lrp-qvit") is PRESETS["LRP_QVIT"]
    with pytest.raises(ValueError, match="'foo' are unknown: use ATTN_LRP or LRP_QVIT"):
        preset("foo")
    with pytest.raises(ValueError, match="use epsilon or z-plus"):
        Rules("mine", linear="z")
    with pytest.raises(ValueError, match="not be negative"):
        Rules("mine", epsilon=-1)
