from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from lrp.propagation.relevance import relevance
from lrp.propagation.rules import ATTN_LRP, GRADIENT, LRP_QVIT, PRESETS
from lrp.propagation.trace import Trace
from tests.models import build


def sums(values):
    return torch.stack([r.reshape(3, -1).sum(1) for r in values])


def test_lrp_qvit_conserves_relevance_through_every_block(images):
    """Nothing is lost but where a ViT adds constants: at the position embedding, below block 0."""
    for family in ("vit", "deit"):
        found = relevance(Trace(build(family), images, LRP_QVIT), 2)
        torch.testing.assert_close(found.start, torch.ones(3))
        totals = sums(found.blocks.values())
        torch.testing.assert_close(totals, torch.ones_like(totals), rtol=1e-4, atol=1e-4)


def test_lrp_qvit_conserves_relevance_inside_each_mlp(model, images):
    found = relevance(Trace(model.double(), images.double(), LRP_QVIT))
    for name in found.layers:
        if name.endswith("fc1"):
            pair = sums(found.layers[n][0] for n in (name, name[:-1] + "2"))
            torch.testing.assert_close(pair[0], pair[1], rtol=1e-3, atol=1e-6)


def test_attn_lrp_is_gradient_times_input_of_a_locally_linear_twin(images):
    """Re-derive AttnLRP on a ViT by hand: freeze deviations and gates, halve products."""
    model = build("vit", torch.float64)
    x = images.double().requires_grad_()
    expected = torch.autograd.grad(_frozen_vit(model, x)[:, 1].sum(), x)[0] * x
    found = relevance(Trace(model, x, ATTN_LRP), 1)
    torch.testing.assert_close(found.pixels, expected.detach())
    torch.testing.assert_close(found.start, model(x)[:, 1].detach())


def test_constant_attention_hands_all_relevance_to_the_values(images):
    model = build("vit", torch.float64)
    x = images.double().requires_grad_()
    twin = _frozen_vit(model, x, constant=True)[:, 1].sum()
    expected = torch.autograd.grad(twin, x)[0] * x
    found = relevance(Trace(model, x, replace(ATTN_LRP, softmax="constant")), 1)
    torch.testing.assert_close(found.pixels, expected.detach())
    for block in found.blocks:
        assert all(not r.any() for r in found.layers[f"{block}.attn.matmul1"])
        attention, values = found.layers[f"{block}.attn.matmul2"]
        assert not attention.any() and values.any()


def test_stabilised_products_keep_less_the_nearer_they_are_to_zero(images):
    """R_v = v_jk / 2 sum over queries of a_ij / (y_ik + eps sign y_ik) R_ik, in the last block."""
    model, epsilon = build("vit", torch.float64), 0.05
    rules = replace(ATTN_LRP, product="epsilon", epsilon=epsilon)
    trace = Trace(model, images.double(), rules)
    attention, values = trace.operands["blocks.1.attn.matmul2"]
    found = relevance(trace, 1).layers
    mixed = torch.einsum("bhij,bhjd->bhid", attention, values)
    arrived = found["blocks.1.attn.proj"][0].unflatten(2, (2, -1)).transpose(1, 2)
    ratio = arrived / (mixed + epsilon * mixed.sign())
    expected = values / 2 * torch.einsum("bhij,bhid->bhjd", attention, ratio)
    torch.testing.assert_close(found["blocks.1.attn.matmul2"][1], expected.detach())


def _frozen_vit(model, images, constant=False):
    def norm(layer, x):
        scale = (x.var(-1, unbiased=False, keepdim=True) + layer.eps).rsqrt().detach()
        return (x - x.mean(-1, keepdim=True)) * scale * layer.weight + layer.bias

    def half(y):
        return (y + y.detach()) / 2

    tokens = model.patch_embed(images)
    tokens = torch.cat([model.cls_token.expand(len(images), -1, -1), tokens], 1) + model.pos_embed
    for block in model.blocks:
        a = block.attn
        qkv = a.qkv(norm(block.norm1, tokens)).unflatten(-1, (3, a.num_heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        attention = half(torch.einsum("bhid,bhjd->bhij", q * a.scale, k)).softmax(-1)
        if constant:
            mixed = torch.einsum("bhij,bhjd->bihd", attention.detach(), v)
        else:
            mixed = half(torch.einsum("bhij,bhjd->bihd", attention, v))
        tokens = tokens + a.proj(mixed.flatten(2))
        hidden = block.mlp.fc1(norm(block.norm2, tokens))
        tokens = tokens + block.mlp.fc2(hidden * (F.gelu(hidden) / hidden).detach())
    return model.head(norm(model.norm, tokens)[:, 0])


def test_gradient_rules_are_torchs_own_gradient(model, images):
    x = images.clone().requires_grad_()
    expected = torch.autograd.grad(model(x)[:, 0].sum(), x)[0] * x
    found = relevance(Trace(model, images, GRADIENT), 0)
    torch.testing.assert_close(found.pixels, expected.detach(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("rules", PRESETS.values(), ids=lambda r: r.name)
def test_a_batch_gives_the_numbers_of_single_images(model, images, rules):
    """In float32, but in float64 where the identity rule divides by attention scores near zero."""
    if rules.softmax == "identity":
        model, images = model.double(), images.double()
    batch = relevance(Trace(model, images, rules), 1)
    for index in range(len(images)):
        alone = relevance(Trace(model, images[index : index + 1], rules), 1)
        for name, operands in batch.layers.items():
            for together, single in zip(operands, alone.layers[name], strict=True):
                row, scale = together.reshape(3, -1)[index], single.abs().max()
                assert (row - single.flatten()).abs().max() <= 1e-4 * scale, name


def test_targets_share_one_trace_and_differ(model, images):
    trace = Trace(model, images)
    first, second = relevance(trace, 0), relevance(trace, 3)
    torch.testing.assert_close(first.pixels, relevance(Trace(model, images), 0).pixels)
    assert not torch.allclose(first.pixels, second.pixels)
    each = relevance(trace, torch.tensor([0, 3, 0]))
    torch.testing.assert_close(each.pixels[1], second.pixels[1])


def test_the_predicted_class_is_explained_by_default(model, images):
    trace = Trace(model, images)
    assert torch.equal(relevance(trace).target, trace.logits.argmax(1))


@pytest.mark.parametrize("target", [-1, 5])
def test_a_class_the_model_has_not_is_refused(model, images, target):
    with pytest.raises(ValueError, match=f"target {target} is not a class: use 0 to 4"):
        relevance(Trace(model, images), target)


def test_stopping_at_a_block_gives_the_relevance_of_its_tokens(model, images):
    trace = Trace(model, images)
    everything = relevance(trace, 1)
    for block in trace.blocks:
        found = relevance(trace, 1, stop=block)
        assert list(found.blocks) == [block]
        assert found.layers == {}
        assert found.pixels.numel() == 0
        torch.testing.assert_close(found.blocks[block], everything.blocks[block])
    with pytest.raises(ValueError, match=r"no block 'blocks\.99': use one of .*blocks\.0"):
        relevance(trace, 1, stop="blocks.99")
