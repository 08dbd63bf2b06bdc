"""The rules' equations against einsum and loop replicas in float64."""

import pytest
import torch
import torch.nn.functional as F

from lrp.propagation.equations import (
    absolute_add,
    alpha_beta,
    attribute,
    gamma_rule,
    half_matmul,
    layer_norm,
    magnitude,
    ratio_add,
    stabilise,
)

DOUBLE = {"dtype": torch.float64}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def relevance_of(inputs, output, relevance):
    """R = input * modified gradient, for an output that carries `relevance`."""
    gradients = torch.autograd.grad(output, inputs, relevance / stabilise(output.detach()))
    return [(x * g).detach() for x, g in zip(inputs, gradients, strict=True)]


def contributions(x, w, sign):
    """z_jk = x_j w_jk, of one sign only."""
    z = torch.einsum("nc,kc->nkc", x, w)
    return z.clamp_min(0) if sign > 0 else z.clamp_max(0)


def alpha_beta_by_einsum(x, w, r, alpha):
    positive, negative = contributions(x, w, 1), contributions(x, w, -1)
    share = alpha * positive / positive.sum(-1, keepdim=True)
    share -= (alpha - 1) * negative / negative.sum(-1, keepdim=True)
    return torch.einsum("nkc,nk->nc", share, r)


def gamma_by_einsum(x, w, b, r, gamma):
    """Each output favours the contributions of its own sign."""
    y = torch.einsum("nc,kc->nk", x, w) + b
    found = torch.zeros_like(x)
    for sign in (1, -1):
        favoured = torch.einsum("nc,kc->nkc", x, w) + gamma * contributions(x, w, sign)
        bias = b + gamma * (b.clamp_min(0) if sign > 0 else b.clamp_max(0))
        share = favoured / (favoured.sum(-1) + bias)[..., None]
        found += torch.einsum("nkc,nk->nc", share, r * (y * sign > 0))
    return found


def layer_and_relevance():
    x, w, b = (torch.randn(s, **DOUBLE) for s in ((4, 16), (5, 16), (5,)))
    return x, w, b, torch.randn(4, 5, **DOUBLE)


def signed_rule(rule, apply, x, w, b, spread, parameter):
    found = rule(apply(x, w, b), apply(magnitude(x), w.abs()), spread, parameter)
    torch.testing.assert_close(found, apply(x, w, b))
    return found


@pytest.mark.parametrize("alpha", [1.0, 2.0, 3.5])
def test_alpha_beta_is_the_einsum_over_contributions_of_each_sign(alpha):
    x, w, b, r = layer_and_relevance()
    x.requires_grad_()
    y = signed_rule(alpha_beta, F.linear, x, w, b, b, alpha)
    (found,) = relevance_of([x], y, r)
    torch.testing.assert_close(found, alpha_beta_by_einsum(x.detach(), w, r, alpha))
    torch.testing.assert_close(found.sum(1), r.sum(1))


def test_z_plus_stays_within_rounding_where_hardly_anything_is_positive():
    """Outputs whose positive contributions are 1e-7 of all: float32 sees but noise of them."""
    x, w = torch.rand(4, 64, **DOUBLE), -torch.rand(5, 64, **DOUBLE)
    w[:, 0] = 1e-6
    r, found = torch.rand(4, 5, **DOUBLE), []
    for dtype in (torch.float32, torch.float64):
        inputs = x.to(dtype).requires_grad_()
        y = signed_rule(alpha_beta, F.linear, inputs, w.to(dtype), None, None, 1.0)
        found.append(relevance_of([inputs], y, r.to(dtype))[0].double())
    assert (found[0] - found[1]).abs().max() < 1e-3 * r.sum()
    assert (found[1].sum(1) < 1e-3 * r.sum(1)).all()  # lost, as where nothing is positive at all


@pytest.mark.parametrize("gamma", [0.0, 0.05, 0.25, 3.0])
def test_gamma_is_the_einsum_over_favoured_contributions(gamma):
    x, w, b, r = layer_and_relevance()
    x.requires_grad_()
    y = signed_rule(gamma_rule, F.linear, x, w, b, b, gamma)
    (found,) = relevance_of([x], y, r)
    expected = gamma_by_einsum(x.detach(), w, b, r, gamma)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


def test_gamma_conserves_relevance_without_a_bias_and_goes_over_into_epsilon():
    x, w, _, r = layer_and_relevance()
    x.requires_grad_()
    y = signed_rule(gamma_rule, F.linear, x, w, None, None, 0.25)
    torch.testing.assert_close(relevance_of([x], y, r)[0].sum(1), r.sum(1))
    y = signed_rule(gamma_rule, F.linear, x, w, None, None, 0.0)
    by_epsilon = relevance_of([x], F.linear(x, w), r)[0]
    torch.testing.assert_close(relevance_of([x], y, r)[0], by_epsilon, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("rule", ["z-plus", "gamma"])
def test_convolutions_follow_the_linear_rule_on_unfolded_patches(rule):
    x, w = torch.randn(2, 3, 8, 8, **DOUBLE), torch.randn(5, 3, 4, 4, **DOUBLE)
    b, r = torch.randn(5, **DOUBLE), torch.randn(8, 5, **DOUBLE)

    def convolve(x, w, b=None):
        return F.conv2d(x, w, b, stride=4)

    patches = F.unfold(x, 4, stride=4).transpose(1, 2).reshape(-1, 48)  # (B * N, 48)
    if rule == "z-plus":
        by_patch = alpha_beta_by_einsum(patches, w.reshape(5, -1), r, 1.0)
        rule_of, parameter = alpha_beta, 1.0
    else:
        by_patch = gamma_by_einsum(patches, w.reshape(5, -1), b, r, 0.05)
        rule_of, parameter = gamma_rule, 0.05
    expected = F.fold(by_patch.reshape(2, 4, 48).transpose(1, 2), 8, 4, stride=4)
    x.requires_grad_()
    y = signed_rule(rule_of, convolve, x, w, b, b[:, None, None], parameter)
    r_map = r.reshape(2, 2, 2, 5).permute(0, 3, 1, 2)
    torch.testing.assert_close(relevance_of([x], y, r_map)[0], expected)


@pytest.mark.parametrize("inner", [4, 40])  # the half is taken on either side
def test_halved_product_gives_each_operand_half_by_its_contributions(inner):
    a, b = torch.randn(2, 3, inner, **DOUBLE), torch.randn(2, inner, 5, **DOUBLE)
    r = torch.randn(2, 3, 5, **DOUBLE)
    share = torch.einsum("nij,njk->nijk", a, b)
    share = share / share.sum(2, keepdim=True) * r[:, :, None]
    a.requires_grad_(), b.requires_grad_()
    found_a, found_b = relevance_of([a, b], half_matmul(a, b), r)
    torch.testing.assert_close(found_a, share.sum(3) / 2, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found_b, share.sum(1) / 2, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found_a.sum() + found_b.sum(), r.sum(), rtol=1e-5, atol=1e-7)


def test_absolute_addition_splits_each_element_by_size():
    a, b, r = (torch.randn(4, 3, **DOUBLE) for _ in range(3))
    share = a.abs() / (a.abs() + b.abs())
    a.requires_grad_(), b.requires_grad_()
    found_a, found_b = relevance_of([a, b], absolute_add(a, b), r)
    torch.testing.assert_close(found_a, share * r, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found_a + found_b, r, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("affine", [True, False])
def test_layer_norm_is_linear_with_a_constant_deviation(affine):
    """Its Jacobian by finite differences of the norm with the deviation held."""
    x, r = torch.randn(2, 6, **DOUBLE), torch.randn(2, 6, **DOUBLE)
    weight, bias = torch.randn(2, 6, **DOUBLE) if affine else (None, None)
    deviation = (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    jacobian = (torch.eye(6, **DOUBLE) - 1 / 6)[None] / deviation[..., None]
    jacobian = jacobian if weight is None else weight[:, None] * jacobian
    y = F.layer_norm(x, [6], weight, bias, 1e-5)
    expected = x * torch.einsum("nk,nkc->nc", r / y, jacobian.expand(2, 6, 6))
    x.requires_grad_()
    found = layer_norm(x, [6], weight, bias, 1e-5)
    torch.testing.assert_close(found, y)
    torch.testing.assert_close(relevance_of([x], found, r)[0], expected, rtol=1e-5, atol=1e-7)


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
